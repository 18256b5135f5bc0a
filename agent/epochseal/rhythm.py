"""When a heartbeat, the end of an epoch or the end of a segment is due, and for how long it has been."""

from __future__ import annotations

from epochseal.calls import Clock
from epochseal.chain import Pace
from epochseal.lines import EndReason


class Rhythm:
    """The times of one sealer, in seconds of its clock.

    Args:
        clock: where time comes from.
        pace: heartbeat and length of an epoch.
        segment_age: how old a segment may become, in ms; None for any age.

    Attributes:
        due: why the running epoch is to end, None while it is not.
    """

    def __init__(self, clock: Clock, pace: Pace, segment_age: int | None) -> None:
        self._clock = clock
        self._heartbeat = pace.heartbeat / 1000
        self._interval = pace.interval / 1000
        self._segment_age = None if segment_age is None else segment_age / 1000
        self._due_since = self._block = self._epoch = self._segment = 0.0
        self.due: EndReason | None = None

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been due to end."""
        return self._clock.monotonic() - self._due_since if self.due else 0.0

    @property
    def epoch_age(self) -> float:
        """For how long the epoch has been running."""
        return self._clock.monotonic() - self._epoch

    @property
    def heartbeat_due(self) -> bool:
        """Whether the log has been silent for a heartbeat."""
        return self._clock.monotonic() - self._block >= self._heartbeat

    def moments(self) -> list[float]:
        """When something of this will be due."""
        moments = [self._block + self._heartbeat]
        if self.due is None:
            moments.append(self._epoch + self._interval)
            if self._segment_age is not None:
                moments.append(self._segment + self._segment_age)
        return moments

    def tick(self) -> None:
        """Notice that an epoch or a segment has had its time."""
        now = self._clock.monotonic()
        if self._segment_age is not None and now - self._segment >= self._segment_age:
            self.end_epoch("segment")
        if now - self._epoch >= self._interval:
            self.end_epoch("interval")

    def end_epoch(self, reason: EndReason) -> None:
        """The epoch is due to end; a segment's end counts for more than any other reason but the first."""
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

    def resume(self, epoch_time: int, segment_time: int) -> None:
        """An epoch goes on that an earlier process began; both times are in ms since 1970."""
        # An agent that is restarted again and again must not stretch its epoch: the time before counts.
        now, wall = self._clock.monotonic(), self._clock.now()
        self._epoch = now - min(max(wall - epoch_time, 0) / 1000, self._interval)
        self._segment = now - max(wall - segment_time, 0) / 1000
        self._block = now
