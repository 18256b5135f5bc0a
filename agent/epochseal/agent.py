"""The loop that drives a sealer: read what has arrived, commit it together, acknowledge, turn epochs."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from epochseal.errors import BackendError, StorageError
from epochseal.sealer import MAX_BLOCKS, Piece, Sealer
from epochseal.sources.stream import StreamSource

CLOSE_SECONDS = 10.0
"""At a clean stop the last checkpoint is waited for this long; without it the log is closed all the same."""
_DRAIN_BYTES = 64 << 20


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Milliseconds since 1970, as `sealer.Clock` asks."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class StopSignal:
    """SIGTERM and SIGINT as something to poll: the first one asks for a clean close."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.asked = False

    def fileno(self) -> int:
        """Readable once a stop was asked for."""
        return self._read

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """Handle the signals inside of the block."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            os.write(self._write, b"s")


class Agent:
    """One source into one sealed log."""

    def __init__(
        self, sealer: Sealer, source: StreamSource, stop: StopSignal, *, commit_interval: float,
        acknowledge: Callable[[int], None],
    ) -> None:  # fmt: skip  # one argument a line would hide that these belong together
        self._sealer = sealer
        self._source = source
        self._stop = stop
        self._commit_interval = commit_interval
        self._acknowledge = acknowledge
        self._waiting_since: float | None = None

    def run(self) -> int:
        """Seal until the source ends or a stop is asked for, then close the log; bytes that could not be sealed.

        Raises:
            EntryTooLongError: an entry is beyond the limit; what came before it is sealed and the log is closed.
            StorageError: the disk failed; nothing more was acknowledged, and the log is left as after a crash.
            BackendError: the backend refused; what was acknowledged is sealed and the log is closed.
        """
        sealer = self._sealer
        try:
            self._loop()
            if self._stop.asked:
                self._drain()
        except StorageError:
            raise
        except BaseException:
            self._close()
            raise
        self._close()
        return self._source.buffered if not sealer.live else 0

    def _loop(self) -> None:
        sealer, source = self._sealer, self._source
        while not self._stop.asked:
            self._wait()
            sealer.tick()
            self._commit_ready()
            if source.eof and not source.buffered:
                return

    def _wait(self) -> None:
        sealer, source = self._sealer, self._source
        poll = select.poll()
        poll.register(self._stop.fileno(), select.POLLIN)
        timeout = sealer.wait_seconds()
        if (courier := sealer.fileno()) is not None:
            poll.register(courier, select.POLLIN)
        if source.wants_more:
            poll.register(source.fileno(), select.POLLIN)
        if source.has_entry and sealer.room().entries:
            timeout = min(timeout, self._left_to_collect())
        for descriptor, _ in poll.poll(timeout * 1000):
            if descriptor == courier:
                sealer.answer()
            elif descriptor == source.fileno():
                source.read()

    def _left_to_collect(self) -> float:
        """Seconds until what has arrived is committed: none if a block is full."""
        if self._source.full_block:
            return 0.0
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        return max(0.0, self._waiting_since + self._commit_interval - now)

    def _commit_ready(self) -> None:
        while self._source.has_entry and self._left_to_collect() <= 0 and self._commit():
            self._waiting_since = None

    def _commit(self) -> bool:
        sealer, source = self._sealer, self._source
        room = sealer.room()
        if not room.entries:
            return False
        pieces: list[Piece] = []
        entries, size, any_size = room.entries, room.size, room.first_any_size
        while len(pieces) < MAX_BLOCKS and entries and size > 0:
            piece = source.take(entries, size, first_any_size=any_size)
            if piece is None:
                break
            pieces.append(piece)
            entries, size, any_size = entries - piece.entries, size - piece.size, False
        if not pieces:
            sealer.full()
            sealer.tick()
            return False
        sealer.commit(source.taken(), pieces)
        source.done()
        self._acknowledge(sealer.entries)
        sealer.tick()
        return True

    def _drain(self) -> None:
        """After a stop: take what the source has ready, so that a service that wrote before the stop is sealed."""
        source, taken = self._source, 0
        poll = select.poll()
        poll.register(source.fileno(), select.POLLIN)
        while not source.eof and taken < _DRAIN_BYTES and poll.poll(0):
            before = source.buffered
            source.read()
            taken += source.buffered - before
            if self._sealer.room().entries == 0:
                break
            self._commit_all()
        source.eof = True
        deadline = time.monotonic() + CLOSE_SECONDS
        while source.buffered and time.monotonic() < deadline:
            self._commit_all()
            if not source.buffered or not self._wait_for_backend(deadline):
                return

    def _commit_all(self) -> None:
        while self._source.has_entry and self._commit():
            pass

    def _close(self) -> None:
        """Wait for a key that is on its way, end the log, and wait for the last checkpoint; all in bounded time."""
        sealer = self._sealer
        deadline = time.monotonic() + CLOSE_SECONDS
        try:
            while sealer.calls.pending and self._wait_for_backend(deadline):
                pass
            sealer.end()
            while sealer.unsigned and self._wait_for_backend(deadline):
                pass
        except BackendError:
            # The refusal is reported already, or concerns only the signature that a later checkpoint makes up for.
            sealer.end()

    def _wait_for_backend(self, deadline: float) -> bool:
        sealer = self._sealer
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        sealer.tick()
        if (courier := sealer.fileno()) is None:
            if sealer.calls.failures == 0:
                return False
            time.sleep(min(left, 0.05))
            return True
        poll = select.poll()
        poll.register(courier, select.POLLIN)
        if poll.poll(left * 1000):
            sealer.answer()
        return True
