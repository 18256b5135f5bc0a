"""Turns epochs: when the running one has to end, what fits in it until then, and how the next one begins.

An epoch that is due goes on until the key of the next one is there. Then, in one step: its `end` line; a new
pair of files, if the segment ends with it; the `epoch` line of the next.
"""

from __future__ import annotations

from epochseal.errors import BackendError
from epochseal.keys import Issued
from epochseal.sealing.backend_calls import BackendCalls, Clock
from epochseal.sealing.chain import EpochStart, Pace
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.counters import Counters
from epochseal.sealing.due_times import DueTimes
from epochseal.sealing.limits import NO_ROOM, UNBOUNDED_ROOM, Limits, Room
from epochseal.sealing.line_writer import LineWriter
from epochseal.storage.segments import segment_stem


class EpochTurns:
    """The epochs of one log.

    Args:
        lines: writes them.
        checkpoints: gets the checkpoint over each start and over the end of each segment.
        calls: knows what the secret was asked for with, and whether the backend answers.
        clock: where time comes from.
        pace: what every epoch line promises.
        limits: where epochs and segments end.
        counters: counts epochs.

    Attributes:
        due_times: when what is due by time.
    """

    def __init__(
        self,
        lines: LineWriter,
        checkpoints: Checkpoints,
        calls: BackendCalls,
        clock: Clock,
        *,
        pace: Pace,
        limits: Limits,
        counters: Counters,
    ) -> None:
        self._lines, self._checkpoints, self._calls = lines, checkpoints, calls
        self._clock, self._pace, self._limits, self._counters = clock, pace, limits, counters
        self.due_times = DueTimes(clock, pace, limits.segment_age, calls.jitter)
        self._full = False

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been running past its end because the backend gives no key."""
        return self.due_times.overdue_seconds if self._lines.running else 0.0

    @property
    def late(self) -> bool:
        """Whether that is longer than its epoch line allows: no entry may be sealed any more."""
        return self.overdue_seconds * 1000 > self._pace.max_overdue

    def room(self) -> Room:
        """What may be committed at this moment; beyond the limits only while the backend is down or slow."""
        if not self._lines.live or self.late:
            return NO_ROOM
        if self.due_times.due and (self._calls.issue_failures or not self.due_times.patient):
            return UNBOUNDED_ROOM
        return NO_ROOM if self._full else self._limits.room(self._lines.chain)

    def entry_does_not_fit(self) -> None:
        """Say that the next entry does not fit in what `room` offered: there is none until the next epoch."""
        self.due_times.set_due(self._limits.limit_in_the_way(self._lines.chain))
        self._full = True

    def tick(self) -> None:
        """Notice that the running epoch or segment has had its time, its entries or its bytes."""
        self.due_times.tick()
        if (reason := self._limits.reached(self._lines.chain)) is not None:
            self.due_times.set_due(reason)

    def turn(self, issued: Issued) -> None:
        """End the running epoch, if one runs, and begin the next with the secret that is in the mailbox.

        Raises:
            ConfigError: the secret is by a key that the log has left.
            StorageError: a file cannot be written.
        """
        lines, reason, old = self._lines, self.due_times.due, self._lines.segment
        new_segment = reason == "segment" or self._limits.segment_is_full(lines.chain)
        with lines.guard.step():
            if lines.running and reason is not None:
                lines.end_epoch("segment" if new_segment else reason)
                lines.link = "carry"
                if new_segment and old is not None:
                    self._checkpoints.add(lines.chain.checkpoint(), old)
            self._begin(issued, new_segment=new_segment or old is None)

    def _begin(self, issued: Issued, *, new_segment: bool) -> None:
        lines, calls = self._lines, self._calls
        context, asked = calls.context, calls.asked
        if context is None or asked is None:
            raise BackendError("a secret arrived that was not asked for")
        self._checkpoints.last_signer.check_epoch_key(issued.key_id)
        now = self._clock.now()
        segment = lines.chain.segment + 1 if new_segment else lines.chain.segment
        start = EpochStart(
            lines.link, issued, context, asked, tuple(calls.abandoned), segment, self._pace, now
        )
        if new_segment:
            self._begin_segment(segment_stem(segment, now))
        self._full = False
        self.due_times.new_epoch()
        calls.secret_used()
        checkpoint = lines.begin_epoch(start)
        self._counters.began(segment)
        self._checkpoints.add(checkpoint, lines.open_segment())

    def _begin_segment(self, stem: str) -> None:
        old = self._lines.begin_segment(stem)
        self.due_times.new_segment()
        if old is not None:
            self._checkpoints.retire(old)
