"""What the visitor sees: numbered steps, the commands that were run, and what they said."""

from __future__ import annotations

import shlex
import signal
import sys
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

    Attributes:
        stop_asked: the number of the signal that asked for a stop, or 0.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._step = 0
        self.stop_asked = 0

    def go_on(self) -> None:
        """Go on, unless a stop was asked for; asked often, since Python drops what a finalizer raises.

        Raises:
            KeyboardInterrupt: by Ctrl-C.
            SystemExit: by another signal, with the shell's status for it.
        """
        if self.stop_asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.stop_asked:
            sys.exit(128 + self.stop_asked)

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self.go_on()
        self._step += 1
        self.heading(f"{self._step}/{self._steps}  {title}")

    def heading(self, title: str) -> None:
        """A line that stands out, after an empty one."""
        self._write("")
        self._write(title, "bold")

    def say(self, text: str) -> None:
        """A paragraph, folded to 78 columns."""
        self._write(
            textwrap.fill(" ".join(text.split()), _WIDTH, initial_indent="  ", subsequent_indent="  ")
        )

    def command(self, *words: str, piped_from: Sequence[str] = ()) -> None:
        """A command as the visitor would type it, folded so that no option is parted from its value."""
        self.go_on()
        lines = _fold("$ ", words)
        if piped_from:
            # Redirections are for the visitor's shell to read, so they are not quoted.
            lines = [*_fold("$ ", piped_from, quoted=False), *_fold("    | ", words)]
        self._write(" \\\n".join(f"  {line}" for line in lines), "cyan")

    def output(self, text: str) -> None:
        """What a command printed, folded to 78 columns; the verdict stands out."""
        for line in text.splitlines():
            indent = " " * (len(line) - len(line.lstrip()) + 6)
            folded = _wrap(line, initial_indent="    ", subsequent_indent=indent)
            styled = Text("\n".join(folded))
            for word, style in _VERDICTS.items():
                if line.startswith(word):
                    styled.stylize(style, 4, 4 + len(word))
            self._console.print(styled, soft_wrap=True)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Two columns: a thing and what it is."""
        width = max(len(left) for left, _ in pairs)
        for left, right in pairs:
            folded = _wrap(
                right, initial_indent=f"    {left:<{width}}  ", subsequent_indent=" " * (width + 6)
            )
            styled = Text("\n".join(folded))
            styled.stylize("cyan", 4, 4 + len(left))
            self._console.print(styled, soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table of its own."""
        self._console.print(table)

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show what is going on; the callable changes the text. A terminal gets one line that moves."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            self._write(f"  ({text})")
            yield lambda _: self.go_on()
            return
        with self._console.status(Text(text)) as status:

            def tell(now: str) -> None:
                self.go_on()
                status.update(Text(now))

            yield tell

    def _write(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)


def verdict_text(name: str) -> Text:
    """A verdict as the table shows it."""
    return Text(name.upper(), _VERDICTS.get(name.upper(), ""))


def _fold(start: str, words: Sequence[str], *, quoted: bool = True) -> list[str]:
    groups: list[str] = []
    for word in words[1:]:
        text = shlex.quote(word) if quoted else word
        if groups and groups[-1].startswith("-") and " " not in groups[-1] and not text.startswith("-"):
            groups[-1] += f" {text}"
        else:
            groups.append(text)
    lines = [start + words[0]]
    for group in groups:
        if len(lines[-1]) + len(group) > _WIDTH - 6:
            lines.append(" " * (len(start) + 4) + group)
        else:
            lines[-1] += f" {group}"
    return lines


def _wrap(text: str, *, initial_indent: str, subsequent_indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
