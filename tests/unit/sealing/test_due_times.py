from __future__ import annotations

import random
from itertools import pairwise

import pytest

from epochseal.sealing.chain import Pace
from epochseal.sealing.due_times import DueTimes


class Clock:
    """A clock that a test sets, in seconds."""

    seconds = 1000.0

    def now(self) -> int:
        """Wall clock in ms."""
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 100.0), (0.5, 95.0), (1.0, 90.0)])
def test_an_epoch_ends_up_to_a_tenth_early(jitter: float, seconds: float) -> None:
    """Never after its interval, and never more than a tenth of it before."""
    clock = Clock()
    due_times = DueTimes(clock, Pace(interval=100_000), None, lambda: jitter)
    due_times.new_epoch()
    clock.seconds += seconds - 0.001
    due_times.tick()
    assert due_times.due is None
    assert clock.seconds + 0.001 == pytest.approx(max(due_times.moments()))
    clock.seconds += 0.002
    due_times.tick()
    assert due_times.due == "interval"


@pytest.mark.parametrize(("age", "seconds"), [(3_600_000, 3590.0), (50_000, 45.0)])
def test_a_segment_ends_early_by_no_more_than_an_epoch(age: int, seconds: float) -> None:
    """A segment of hours is not cut by minutes, a short one by a tenth."""
    clock = Clock()
    due_times = DueTimes(clock, Pace(interval=100_000), age, lambda: 1.0)
    due_times.new_epoch()
    due_times.new_segment()
    clock.seconds += seconds - 0.001
    due_times.new_epoch()
    due_times.tick()
    assert due_times.due is None
    clock.seconds += 0.002
    due_times.tick()
    assert due_times.due == "segment"


def test_logs_that_start_together_part() -> None:
    """Of 100 logs that begin at one moment, hardly two turn at the same second, and they never meet again."""
    source = random.Random(7)
    ends = []
    for _ in range(100):
        clock = Clock()
        due_times = DueTimes(clock, Pace(interval=300_000), None, source.random)
        turns = []
        for _ in range(20):
            due_times.new_epoch()
            clock.seconds = max(due_times.moments())
            turns.append(clock.seconds)
        assert all(270.0 <= later - earlier <= 300.0 for earlier, later in pairwise(turns))
        ends.append(turns)
    for turn in (0, 19):
        seconds = [int(turns[turn]) for turns in ends]
        assert max(seconds.count(second) for second in set(seconds)) <= 12
        assert len(set(seconds)) >= 25
