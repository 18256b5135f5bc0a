from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.step_guard import StepGuard
from tests.fault.story import Clock


def test_a_step_left_half_way_was_the_last(tmp_path: Path) -> None:
    """Its length is seen while it lasts; after one that failed there is no other."""
    clock = Clock()
    guard = StepGuard(tmp_path, clock)
    with guard.step():
        clock.elapsed += 7_000
        assert (guard.seconds, guard.failed) == (7.0, False)
    assert guard.seconds == 0
    with pytest.raises(KeyboardInterrupt), guard.step():
        raise KeyboardInterrupt
    assert guard.failed
    with pytest.raises(StorageError, match="an earlier write to"), guard.step():
        pytest.fail("taken")
