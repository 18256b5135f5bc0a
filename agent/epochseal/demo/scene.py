"""What every step of the story shares: the stage, the directory, the commands and the verifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from epochseal.demo.sealing import Checker, Done, run
from epochseal.demo.stage import DemoError, Stage

BOTH_KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor")
PUBLIC_KEY = ("--checkpoint-key", "file:keys/auditor")


class Scene:
    """A stage and the directory that the story happens in.

    Attributes:
        checker: the verifier, once `keygen` has made its keys.
    """

    def __init__(self, stage: Stage, directory: Path) -> None:
        self.stage = stage
        self.dir = directory
        self.copies = directory / "copies"
        self.checker: Checker

    def show(self, *words: str, status: int = 0, saying: Callable[[Done], str] | None = None) -> None:
        """Show a command, run it, show what it said.

        Args:
            words: the arguments of `epochseal`.
            status: how it must end.
            saying: what to show of it; the main lines of a verdict where it is not given.

        Raises:
            DemoError: it ended in another way.
        """
        self.stage.command("epochseal", *words)
        done = run(self.dir, *words)
        self.stage.output((saying or _main_lines)(done))
        expect(done, status, words)

    def show_piped(self, stdin: bytes, *words: str, saying: Callable[[Done], str]) -> None:
        """Show a command with its input, run it, show what it said.

        Raises:
            DemoError: it failed.
        """
        self.stage.command("epochseal", *words, piped_from=("…",))
        done = run(self.dir, *words, stdin=stdin)
        self.stage.output(saying(done))
        expect(done, 0, words)

    def run(self, *words: str, stdin: bytes = b"") -> None:
        """Run a command that the text tells of, without showing it.

        Raises:
            DemoError: it failed.
        """
        expect(run(self.dir, *words, stdin=stdin), 0, words)


def expect(done: Done, status: int, words: tuple[str, ...]) -> None:
    """Raise `DemoError` when a command ended with another status."""
    if done.returncode != status:
        command = f"epochseal {' '.join(words[:2])}"
        raise DemoError(f"{command} ended with {done.returncode}, not {status}: {done.stderr.strip()}")


def whole(done: Done) -> str:
    """All that a command said."""
    return f"{done.stdout}{done.stderr}(exit status {done.returncode})"


def _main_lines(done: Done) -> str:
    """A verdict without what the reader has seen in the one before."""
    known = ("  origin", "  signed", "  last sealed", "  tree", "  the log alone")
    return "\n".join(line for line in whole(done).splitlines() if not line.startswith(known))
