"""A small part of `python -m tests.fault.live_readers`."""

from __future__ import annotations

from pathlib import Path

from tests.fault.live_readers import TOOLS, read_live
from tests.fault.live_writers import LIVES
from tests.integration.agents import tmpfs


def test_nobody_is_accused(tmp_path: Path) -> None:
    """Two logs that never rest: each reader has a verdict, and none says that anybody changed anything."""
    with tmpfs() as runtime:
        readers, logs = read_live(tmp_path, runtime, LIVES[:2], verifications=30, copies=8, commands=5)
    for tally in readers.tallies.values():
        assert not tally.alarms
    assert readers.verifications.count() == 32
    assert set(readers.copies.verdicts) == set(TOOLS)
    assert readers.commands.count() == 5
    for log in logs:
        assert log.done["entries"]
