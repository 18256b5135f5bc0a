"""The loop that drives a sealer: read what has arrived, commit it together, acknowledge, turn epochs."""

from __future__ import annotations

import logging
import secrets
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from epochseal.errors import EpochsealError, StorageError, Unavailable
from epochseal.format.seal_lines import SourceMark
from epochseal.polling import is_readable
from epochseal.sealing.backend_calls import LOOK_SECONDS
from epochseal.sealing.blocks import LINE_ROOM, longest_line
from epochseal.sealing.limits import Piece, Room
from epochseal.sealing.sealer import Sealer
from epochseal.sealing.source_positions import position_commits
from epochseal.service.signals import Signals
from epochseal.sources.source import Source

CLOSE_SECONDS = 10.0
"""At a clean stop the last checkpoint is waited for this long; without it the log is closed all the same."""

_log = logging.getLogger(__name__)

_BURST_SECONDS = 0.01
"""For so long commits follow each other before time and the backend are looked at again."""
_AT_ONCE_SECONDS = 0.001
"""Who is acknowledged and sends the next entry within so long is in time for the same burst."""

_LOOKS = 64
"""So often it is looked, without a pause, whether there is something, before that is waited for."""


def jitter() -> float:
    """A number from 0 to 1, another one each time, so that many agents do not act as one."""
    return secrets.randbelow(1024) / 1024


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Milliseconds since 1970, as `calls.Clock` asks."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back, and go on while the machine sleeps."""
        # A secret that waits for its signature is given up after a minute, and a night is longer than that.
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class CommitLoop:
    """Some sources into one sealed log."""

    def __init__(
        self,
        sealer: Sealer,
        sources: Sequence[Source],
        signals: Signals,
        *,
        commit_interval: float,
        acknowledge: Callable[[int], None],
    ) -> None:
        self._sealer = sealer
        self._sources = list(sources)
        self._signals = signals
        self._commit_interval = commit_interval
        self._acknowledge = acknowledge
        self._waiting_since: float | None = None
        self._look_at = 0.0
        self._closing = Closing(sealer)
        self._stated: int | None = None
        self._poll = select.poll()
        self._polled: dict[int, Source] = {}

    def run(self) -> int:
        """Seal until all sources end or a stop is asked for, then close the log; the bytes left unsealed.

        Raises:
            EntryTooLongError: an entry is beyond the limit; what came before it is sealed, the log closed.
            StorageError: the disk failed; nothing more was acknowledged, the log is left as after a crash.
            EpochsealError: the backend refused, or there is nobody any more to ask it; what was acknowledged
                is sealed and the log is closed.
        """
        try:
            while not self._signals.stop_asked and not self._ended() and not self._sealer.calls.gone:
                self._round(60.0)
            self._drain()
        except StorageError as exc:
            self._sealer.counters.failed(exc)
            raise
        except BaseException as exc:
            self._sealer.counters.failed(exc)
            # Closing may fail as well, often for the same reason: the first error is the one to report. A log
            # that takes no entries yet has nothing to close, and a backend that refused is not asked again.
            if self._sealer.live:
                with suppress(EpochsealError):
                    self._closing.close()
            raise
        self._closing.close()
        if gone := self._sealer.calls.gone:
            error = Unavailable(f"{gone}: the log was closed", "start again: it goes on with the next epoch")
            self._sealer.counters.failed(error)
            raise error
        return sum(source.buffered for source in self._sources)

    def _ended(self) -> bool:
        return all(source.ended for source in self._sources)

    def _round(self, longest: float) -> None:
        """Do what time asks for, wait, commit what came; and go on like that while more comes at once."""
        self._state_positions()
        self._sealer.tick()
        for source in self._sources:
            source.tick()
        self._wait(longest)
        burst_until = time.monotonic() + _BURST_SECONDS
        while self._commit_ready() and time.monotonic() < burst_until and self._wait_for_more():
            pass

    def _wait(self, longest: float) -> None:
        sealer = self._sealer
        timeout = min([longest, sealer.wait_seconds(), *(source.wait_seconds() for source in self._sources)])
        others = [self._signals.fileno(), *sealer.calls.wait_descriptors()]
        if (courier := sealer.calls.fileno()) is not None:
            others.append(courier)
            timeout = min(timeout, LOOK_SECONDS)
        readers = self._readers()
        poll = _poll_of([*others, *readers])
        if self._has_entry() and sealer.turns.room().entries:
            timeout = min(timeout, self._left_to_collect())
        found = [descriptor for descriptor, _ in poll.poll(timeout * 1000)]
        for descriptor in found:
            if descriptor == courier:
                sealer.take_answer()
            elif (reader := readers.get(descriptor)) is not None:
                reader.ready(descriptor)
            elif descriptor == self._signals.fileno() and self._signals.take_hangup():
                sealer.request_next_epoch("segment")
        # Not after each of many commits a second: what its end would show at once is polled above.
        if time.monotonic() >= self._look_at or any(descriptor in others for descriptor in found):
            self._look_at = time.monotonic() + LOOK_SECONDS
            sealer.calls.look()
        self._poll, self._polled = poll, readers

    def _wait_for_more(self) -> bool:
        """Whether clients that were just answered send on at once; what came is read.

        Nothing else is done between such commits: not what time asks for, as they are over soon, and nothing
        that a signal, the backend or another source may want, for whose descriptors this ends. Nor does a
        source wait that has more to read by itself.
        """
        if self._readers() != self._polled:
            return False
        for source in self._sources:
            if source.wait_seconds() < _AT_ONCE_SECONDS:
                return False
        # Who waits for its acknowledgement sends on within microseconds. To sleep and be woken costs more.
        for _ in range(_LOOKS):
            if found := self._poll.poll(0):
                break
        else:
            found = self._poll.poll(_AT_ONCE_SECONDS * 1000)
        for descriptor, _ in found:
            if descriptor not in self._polled:
                return False
        for descriptor, _ in found:
            self._polled[descriptor].ready(descriptor)
        return bool(found)

    def _readers(self) -> dict[int, Source]:
        return {descriptor: source for source in self._sources for descriptor in source.descriptors()}

    def _has_entry(self) -> bool:
        for source in self._sources:  # noqa: SIM110  # asked thrice a commit: `any` takes three times as long
            if source.has_entry:
                return True
        return False

    def _left_to_collect(self) -> float:
        """Seconds until what has arrived is committed: none if a block is full."""
        if any(source.full_block for source in self._sources):
            return 0.0
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        return max(0.0, self._waiting_since + self._commit_interval - now)

    def _commit_ready(self) -> bool:
        """Commit what has waited for long enough; whether that was all that is there."""
        committed = False
        while self._has_entry():
            if self._left_to_collect() > 0 or not self._commit():
                return False
            self._waiting_since, committed = None, True
        return committed

    def _commit(self) -> bool:
        """Commit what the sources have, as far as there is room; whether that was anything."""
        sealer = self._sealer
        self._state_positions()
        room = sealer.turns.room()
        if not room.entries:
            return False
        pieces, givers = self._take(room)
        if not pieces:
            sealer.turns.entry_does_not_fit()
            sealer.tick()
            return False
        first = sealer.entries
        data = [source.piece_bytes() for source, _ in givers]
        sealer.commit(data[0] if len(data) == 1 else memoryview(b"".join(data)), pieces)
        for source, entries in givers:
            source.done(first)
            first += entries
        # The next commit begins with another source: a busy one must not keep the others waiting.
        self._sources.append(self._sources.pop(0))
        self._acknowledge(sealer.entries)
        return True

    def _state_positions(self) -> None:
        """At the start, and in each new segment before anything else: what came before may expire."""
        sealer = self._sealer
        if self._stated == sealer.counters.segment or not sealer.live:
            return
        self._stated = sealer.counters.segment
        positions = [position for source in self._sources for position in source.positions()]
        for pieces in position_commits(positions) if positions else ():
            sealer.commit(memoryview(b""), pieces)

    def _take(self, room: Room) -> tuple[list[Piece], list[tuple[Source, int]]]:
        pieces: list[Piece] = []
        givers: list[tuple[Source, int]] = []
        entries, size, first = room.entries, room.size, room.first
        # For one more line there is room if there is some for another one as long as the longest so far.
        lines, longest = LINE_ROOM, 0
        for source in self._sources:
            before, given = len(pieces), 0
            while lines > longest and entries and size > 0:
                piece = source.cut_piece(entries, size, first)
                if piece is None:
                    break
                pieces.append(piece)
                line = longest_line(piece.src.name, piece.src.file)
                lines, longest = lines - line, max(longest, line)
                entries, size, first = entries - piece.entries, size - piece.size, 0
                given += piece.entries
                if not source.has_entry:
                    break
            if len(pieces) > before:
                givers.append((source, given))
        return pieces, givers

    def _drain(self) -> None:
        """After a stop: what was written before it is sealed, in bounded time."""
        for source in self._sources:
            source.finish()
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self._ended() and (left := deadline - time.monotonic()) > 0:
            self._round(min(left, 0.05))
            self._commit_all()
        self._state_losses()

    def _state_losses(self) -> None:
        """After the time of a stop: what still comes, or lies unsealed, is a gap where nothing keeps it."""
        for source in self._sources:
            if not self._sealer.live or source.ended or not (size := source.perishable):
                continue
            _log.error(
                "%s: more came than could be sealed within %d s after the stop: %d bytes or more are missing",
                source.name,
                CLOSE_SECONDS,
                size,
            )
            mark = SourceMark(source.name, 0, gap=1)
            self._sealer.commit(memoryview(b""), [Piece(0, 0, mark)])

    def _commit_all(self) -> None:
        while self._has_entry() and self._commit():
            pass


class Closing:
    """The last steps of a sealer, in bounded time: a start under way, the end of the log, its checkpoint."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._deadline: float | None = None

    def start(self) -> None:
        """Let the time run."""
        self._deadline = time.monotonic() + CLOSE_SECONDS

    def close(self) -> None:
        """Wait for a start under way, end the log, wait for the last checkpoint.

        A turn under way is not waited for: the running epoch ends with the log.
        """
        sealer = self._sealer
        if self._deadline is None:
            self.start()
        while not sealer.live and self.step():
            pass
        sealer.close_log()
        while sealer.checkpoints and self.step():
            pass

    def step(self) -> bool:
        """Let the backend go on; whether there is anything to wait for, and time left."""
        sealer = self._sealer
        left = CLOSE_SECONDS if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0 or sealer.calls.gone:
            return False
        sealer.tick()
        if (courier := sealer.calls.fileno()) is None:
            if sealer.calls.failures == 0 or sealer.wait_seconds() > left:
                return False
            time.sleep(min(left, 0.05))
            return True
        if is_readable(courier, min(left, 1.0)):
            sealer.take_answer()
        else:
            sealer.calls.look()
        return True


def _poll_of(descriptors: Sequence[int]) -> select.poll:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return poll
