"""How far a long verification is: bytes, rate and time left on stderr, where a person is looking at it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from epochseal.foreign_text import visible

_SECONDS = 0.1
_NARROWEST = 70


def _can_draw() -> bool:
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    import shutil

    # Narrower, the bar would be broken words.
    return shutil.get_terminal_size().columns >= _NARROWEST


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told the bytes done and the bytes in all; without a terminal it does nothing."""
    if not _can_draw():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # Drawn from the calls alone: worker processes are forked meanwhile, and a thread would not survive that.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task, drawn = bar.add_task(visible(name), total=None), 0.0

        def show(done: int, total: int) -> None:
            nonlocal drawn
            bar.update(task, completed=done, total=total)
            if done >= total or time.monotonic() - drawn >= _SECONDS:
                bar.refresh()
                drawn = time.monotonic()

        yield show
