"""Commits a second, without what brings the entries: a real sealer whose log is on tmpfs, keys in files."""

from __future__ import annotations

import resource
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.service.commit_loop import SystemClock
from tests.fault.story import Story, running_host

_ENTRY = b"x" * 249 + b"\n"
_ROUNDS = 5


def commit_rate(blocks: int, commits: int) -> float:
    """Commits a CPU-second of so many blocks each, with one entry of 250 bytes; the median of five rounds."""
    with TemporaryDirectory(dir="/dev/shm") as folder, running_host(Path(folder)) as host:
        story = Story(host, Path(folder) / "log", None, clock=SystemClock())  # type: ignore[arg-type]  # a real one
        story.start()
        sealer = story.running
        data, offset, seconds = memoryview(_ENTRY * blocks), 0, []
        for _ in range(_ROUNDS):
            before = resource.getrusage(resource.RUSAGE_SELF)
            for _ in range(commits):
                pieces = []
                for _ in range(blocks):
                    offset += len(_ENTRY)
                    pieces.append(Piece(len(_ENTRY), 1, SourceMark("stdin", offset)))
                sealer.commit(data, pieces)
            after = resource.getrusage(resource.RUSAGE_SELF)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        sealer.close_log()
        story.pump()
        sealer.release()
    return commits / statistics.median(seconds)
