"""When a heartbeat, the end of an epoch or the end of a segment is due, and for how long it has been."""

from __future__ import annotations

from collections.abc import Callable

from epochseal.format.seal_lines import EndReason
from epochseal.sealing.backend_calls import Clock
from epochseal.sealing.chain import Pace

PATIENCE = 8.0
"""For so many seconds an epoch that is full waits for a slow backend; then it runs on past its limit."""
_SPREAD = 0.1
"""The part of an epoch by which it may end early."""


class DueTimes:
    """The times of one sealer, in seconds of its clock.

    Args:
        clock: where time comes from.
        pace: heartbeat and length of an epoch.
        segment_age: how old a segment may become, in ms; None for any age.
        jitter: gives a number from 0 to 1. Epochs end before their time by up to a tenth of it: logs that
            were started together would otherwise all ask the backend at the same second, again and again.

    Attributes:
        due: why the running epoch is to end, None while it is not.
    """

    def __init__(
        self, clock: Clock, pace: Pace, segment_age: int | None, jitter: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._heartbeat = pace.heartbeat / 1000
        self._interval = pace.interval / 1000
        self._segment_age = None if segment_age is None else segment_age / 1000
        self._draw()
        self._due_since = self._block = self._epoch = self._segment = 0.0
        self.due: EndReason | None = None

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been due to end."""
        return self._clock.monotonic() - self._due_since if self.due else 0.0

    @property
    def patient(self) -> bool:
        """Whether the end of the epoch has been due for a short time only."""
        return self.overdue_seconds < PATIENCE

    @property
    def epoch_age(self) -> float:
        """For how long the epoch has been running."""
        return self._clock.monotonic() - self._epoch

    @property
    def heartbeat_due(self) -> bool:
        """Whether the log has been silent for a heartbeat."""
        return self._clock.monotonic() - self._block >= self._heartbeat

    def moments(self) -> list[float]:
        """The moments at which something will be due, in seconds of the clock."""
        moments = [self._block + self._heartbeat]
        if self.due is None:
            moments.append(self._epoch + self._interval - self._early)
            if self._segment_age is not None:
                moments.append(self._segment + self._segment_age - self._segment_early)
        elif self.patient:
            moments.append(self._due_since + PATIENCE)
        return moments

    def tick(self) -> None:
        """Notice that an epoch or a segment has had its time."""
        now = self._clock.monotonic()
        if self._segment_age is not None and now - self._segment >= self._segment_age - self._segment_early:
            self.set_due("segment")
        if now - self._epoch >= self._interval - self._early:
            self.set_due("interval")

    def set_due(self, reason: EndReason) -> None:
        """Say that the epoch is due to end, and why.

        The first reason stands. Only `segment` takes the place of another one: a new segment begins with the
        next epoch, and that must not be forgotten because the epoch was due before.
        """
        if self.due is None:
            self._due_since = self._clock.monotonic()
        if self.due is None or reason == "segment":
            self.due = reason

    def sealed(self) -> None:
        """A block stands in the log."""
        self._block = self._clock.monotonic()

    def new_segment(self) -> None:
        """A segment begins."""
        self._segment = self._clock.monotonic()

    def new_epoch(self) -> None:
        """An epoch begins."""
        self._epoch = self._block = self._clock.monotonic()
        self.due = None
        self._draw()

    def resume(self, epoch_time: int, segment_time: int) -> None:
        """An epoch goes on that an earlier process began; both times are in ms since 1970."""
        # The time before this process counts: otherwise an agent that is restarted again and again would
        # never end its epoch.
        now, wall = self._clock.monotonic(), self._clock.now()
        self._epoch = now - min(max(wall - epoch_time, 0) / 1000, self._interval)
        self._segment = now - max(wall - segment_time, 0) / 1000
        self._block = now

    def _draw(self) -> None:
        self._early = self._interval * _SPREAD * self._jitter()
        # A tenth of an epoch is enough to spread the calls, so a segment of many hours ends no earlier than
        # by that.
        self._segment_early = min(self._early, _SPREAD * (self._segment_age or 0))
