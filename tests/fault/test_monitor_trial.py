"""A sample of `make monitor-trial`: tamperings of a live log and an old one, and a monitor that is killed."""

from __future__ import annotations

from dataclasses import replace

from tests.fault.monitor_trial import CHANGED, try_tamperings


def test_nothing_is_missed_and_nothing_invented() -> None:
    """Each is told though the monitor is killed, and ends when a person has seen it."""
    life = replace(CHANGED[0], slowness=1.0, stalls=False)
    found = try_tamperings(1, 1, 1, (life,), (), 19)
    assert sum(map(len, found.told.values())) == 2
    assert found.faults == []
    assert found.kills == 1
