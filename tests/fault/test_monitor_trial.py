"""A sample of `make monitor-trial`: a tampering of a live log, and a monitor that is killed over it."""

from __future__ import annotations

from tests.fault.monitor_trial import try_tamperings


def test_nothing_is_missed_and_nothing_invented() -> None:
    """One that is told though the monitor was killed before, and ends when a person has seen it."""
    found = try_tamperings(1, 1)
    assert (len(found.live), found.missed, found.invented) == (1, [], [])
    assert found.kills == 2
