"""A sample of `make monitor-trial`: a byte of an old log, beside a live one, and a monitor that is killed."""

from __future__ import annotations

from dataclasses import replace

from tests.fault.monitor_trial import CHANGED, try_tamperings
from tests.fault.trial_counts import Found


def test_nothing_is_missed_and_nothing_invented() -> None:
    """It is told though the monitor is killed, and ends when a person has seen it."""
    life = replace(CHANGED[0], slowness=1.0, stalls=False, seconds=(0.2, 0.5))
    found = Found()
    try_tamperings(found, 0.5, 1, 1, (), (life,), 19)
    assert [len(seconds) for seconds in found.told.values()] == [1]
    assert found.faults == []
    assert found.kills == 1
