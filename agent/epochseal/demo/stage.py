"""What the visitor sees: numbered steps, the commands that were run, and what they said."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from epochseal.errors import EpochsealError

_WIDTH = 78
_VERDICTS = {
    "VERIFIED": "bold green",
    "TAMPERED": "bold red",
    "INCOMPLETE": "bold yellow",
    "UNTRUSTED": "bold yellow",
    "EMPTY": "bold yellow",
}


class DemoError(EpochsealError):
    """Something did not go as the story promises: an attack was missed, or a command ended in another way."""


class Stage:
    """Writes the story; plain text where the output is no terminal.

    Args:
        console: where to.
        steps: how many steps there will be.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._step = 0

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._step += 1
        self._write("")
        self._write(f"{self._step}/{self._steps}  {title}", "bold")

    def say(self, text: str) -> None:
        """A paragraph, folded to 78 columns."""
        self._write(textwrap.fill(" ".join(text.split()), _WIDTH, initial_indent="  ", subsequent_indent="  "))

    def command(self, *words: str, piped_from: Sequence[str] = ()) -> None:
        """A command as the visitor would type it, folded between words."""
        line = f"$ {shlex.join(words)}"
        if piped_from:
            # Redirections are for the visitor's shell to read, so they are not quoted.
            line = f"$ {' '.join(piped_from)} | {shlex.join(words)}"
        folded = textwrap.wrap(line, _WIDTH - 2, break_long_words=False, break_on_hyphens=False, subsequent_indent="      ")
        self._write("\n".join(f"  {part} \\" for part in folded[:-1]) + ("\n" if folded[1:] else "") + f"  {folded[-1]}", "cyan")

    def output(self, text: str) -> None:
        """What a command printed, folded to 78 columns; the verdict stands out."""
        for line in text.splitlines():
            indent = " " * (len(line) - len(line.lstrip()) + 4)
            folded = textwrap.wrap(
                line, _WIDTH, initial_indent="    ", subsequent_indent=f"{indent}  ", break_on_hyphens=False,
                replace_whitespace=False, drop_whitespace=True,
            )  # fmt: skip  # one call
            styled = Text("\n".join(folded))
            for word, style in _VERDICTS.items():
                if line.startswith(word):
                    styled.stylize(style, 4, 4 + len(word))
            self._console.print(styled, soft_wrap=True)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Two columns: a thing and what it is."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(max_width=_WIDTH - 24, overflow="fold")
        for left, right in pairs:
            table.add_row(Text(f"    {left}"), Text(right))
        self._console.print(table)

    def table(self, table: Table) -> None:
        """A table of its own."""
        self._console.print(table)

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show what is going on; the callable changes the text. A terminal gets one line that moves."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            self._write(f"  ({text})")
            yield lambda _: None
            return
        with self._console.status(Text(text)) as status:
            yield lambda now: status.update(Text(now))

    def _write(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)


def verdict_text(name: str) -> Text:
    """A verdict as the table shows it."""
    return Text(name.upper(), _VERDICTS.get(name.upper(), ""))
