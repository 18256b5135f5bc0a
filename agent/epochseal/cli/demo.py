"""`epochseal demo`: a whole story on this machine in under a minute."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import open_rich_console
from epochseal.cli.options import LOGDIR
from epochseal.errors import ConfigError
from epochseal.foreign_text import visible

if TYPE_CHECKING:
    from epochseal.demo import Stage

_MIN_WIDTH = 80


@click.command()
@click.option(
    "--keep", type=LOGDIR, metavar="DIR", help="Work in DIR, new or empty, and leave everything there."
)
def demo(keep: Path | None) -> None:
    """Show on this machine what epochseal does, in under a minute.

    Makes keys, seals the log of a real web server while it is being visited, verifies it; then edits,
    deletes, inserts, reorders, truncates and rolls back copies of it, and shows what was detected and where;
    then kills the agent with SIGKILL and starts it again. Needs no privileges and no network, and leaves
    nothing behind.

    \b
    Example:
      epochseal demo --keep story
      cd story && epochseal inspect logs

    Exit status: 0 everything went as it must, 6 an attack was missed or the machine cannot run the demo.
    """
    from epochseal.demo import STEPS, Stage, tell

    began = time.monotonic()
    console = open_rich_console()
    console.width = max(console.width, _MIN_WIDTH)
    stage = Stage(console, STEPS)
    with _stopping(stage), _workplace(keep) as directory:
        tell(stage, directory)
        took = f"Told in {time.monotonic() - began:.0f} seconds."
        if keep is not None:
            stage.say(f"{took} Everything is kept in {keep}; go on from there:")
            stage.command("cd", str(keep))
            stage.command("epochseal", "inspect", "logs")
        else:
            stage.say(f"{took} Nothing is left of it; to look at the files yourself:")
            stage.command("epochseal", "demo", "--keep", "story")


@contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="epochseal-demo-") as directory:
            yield Path(directory)
        return
    if (shown := visible(str(keep.absolute()))) != str(keep.absolute()):
        hint = "name a directory whose whole path can be seen: it stands in every command of the story"
        raise ConfigError(f"{shown} holds characters that cannot be seen", hint)
    if keep.exists() and any(keep.iterdir()):
        raise ConfigError(f"{keep} is not empty", "name a directory that is new or empty")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


@contextmanager
def _stopping(stage: Stage) -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C unwind the demo, so that its programs and files go with it."""

    def stop(number: int, _frame: FrameType | None) -> None:
        stage.stop_asked = number
        stage.go_on()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
