"""The loop that drives a sealer: read what has arrived, commit it together, acknowledge, turn epochs."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from epochseal.errors import EpochsealError, StorageError
from epochseal.limits import Piece
from epochseal.sealer import MAX_BLOCKS, Sealer
from epochseal.sources.stream import StreamSource

CLOSE_SECONDS = 10.0
"""At a clean stop the last checkpoint is waited for this long; without it the log is closed all the same."""
_DRAIN_BYTES = 64 << 20


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Milliseconds since 1970, as `calls.Clock` asks."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class Signals:
    """SIGTERM and SIGINT ask for a clean close, SIGHUP for a new segment; something to poll.

    Where `pass_on` is set (a command is run), it is told of the first signal instead: the command's output
    is sealed to its end, and only a second signal stops at once.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._hangup = False
        self.stop_asked = False
        self.pass_on: Callable[[int], None] | None = None

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take_hangup(self) -> bool:
        """Whether a new segment was asked for since the last call."""
        with suppress(BlockingIOError):
            os.read(self._read, 512)
        hangup, self._hangup = self._hangup, False
        return hangup

    @contextmanager
    def installed(self) -> Iterator[Signals]:
        """Handle the signals inside of the block, once."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        elif self.pass_on is not None:
            pass_on, self.pass_on = self.pass_on, None
            pass_on(number)
        else:
            self.stop_asked = True
        with suppress(BlockingIOError):  # full: there is enough to wake up for
            os.write(self._write, b"s")


class Agent:
    """One source into one sealed log."""

    def __init__(
        self, sealer: Sealer, source: StreamSource, signals: Signals, *, commit_interval: float,
        acknowledge: Callable[[int], None],
    ) -> None:  # fmt: skip  # one argument a line would hide that these belong together
        self._sealer = sealer
        self._source = source
        self._signals = signals
        self._commit_interval = commit_interval
        self._acknowledge = acknowledge
        self._waiting_since: float | None = None
        self._closing = Closing(sealer)

    def run(self) -> int:
        """Seal until the source ends or a stop is asked for, then close the log; the bytes left unsealed.

        Raises:
            EntryTooLongError: an entry is beyond the limit; what came before it is sealed, the log closed.
            StorageError: the disk failed; nothing more was acknowledged, the log is left as after a crash.
            EpochsealError: the backend refused; what was acknowledged is sealed and the log is closed.
        """
        try:
            self._loop()
            if self._signals.stop_asked:
                self._drain()
        except StorageError:
            raise
        except BaseException:
            with suppress(EpochsealError):  # what came first is what is told
                self._closing.close()
            raise
        self._closing.close()
        return self._source.buffered

    def _loop(self) -> None:
        sealer, source = self._sealer, self._source
        while not self._signals.stop_asked:
            sealer.tick()
            self._wait()
            self._commit_ready()
            if source.eof and not source.buffered:
                return

    def _wait(self) -> None:
        sealer, source = self._sealer, self._source
        poll = select.poll()
        poll.register(self._signals.fileno(), select.POLLIN)
        timeout = sealer.wait_seconds()
        if (courier := sealer.calls.fileno()) is not None:
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
            elif self._signals.take_hangup():
                sealer.end_epoch("segment")

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
        entries, size, first = room.entries, room.size, room.first
        while len(pieces) < MAX_BLOCKS and entries and size > 0:
            piece = source.take(entries, size, first)
            if piece is None:
                break
            pieces.append(piece)
            entries, size, first = entries - piece.entries, size - piece.size, 0
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
        """After a stop: take what the source has ready: what was written before the stop is sealed."""
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
        self._closing.start()
        while source.buffered:
            self._commit_all()
            if not source.buffered or not self._closing.step():
                return

    def _commit_all(self) -> None:
        while self._source.has_entry and self._commit():
            pass


class Closing:
    """The last steps of a sealer, in bounded time: a key on its way, the end of the log, its checkpoint."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._deadline: float | None = None

    def start(self) -> None:
        """Let the time run."""
        self._deadline = time.monotonic() + CLOSE_SECONDS

    def close(self) -> None:
        """Wait for a key on its way, end the log, wait for the last checkpoint."""
        sealer = self._sealer
        if self._deadline is None:
            self.start()
        try:
            while sealer.calls.pending and self.step():
                pass
            sealer.end()
            while sealer.unsigned and self.step():
                pass
        finally:
            # A refusal in the first wait must not leave the log open.
            sealer.end()

    def step(self) -> bool:
        """Let the backend go on; whether there is anything to wait for, and time left."""
        sealer = self._sealer
        left = CLOSE_SECONDS if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            return False
        sealer.tick()
        if (courier := sealer.calls.fileno()) is None:
            if sealer.calls.failures == 0:
                return False
            time.sleep(min(left, 0.05))
            return True
        poll = select.poll()
        poll.register(courier, select.POLLIN)
        if poll.poll(min(left, 1.0) * 1000):
            sealer.answer()
        return True
