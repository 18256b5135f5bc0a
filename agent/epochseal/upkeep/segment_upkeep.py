"""What is done with segments that have ended: compress them, and let the oldest expire.

A thread of low priority reads and writes the large files; what touches the chain or must not run beside a
new segment is done by the log's own loop, which asks `SegmentUpkeep` as it asks a source.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from epochseal.errors import EpochsealError, StorageError
from epochseal.format.seal_lines import SourceMark
from epochseal.journal import Journal
from epochseal.polling import WakePipe
from epochseal.sealing.limits import Piece
from epochseal.sealing.sealer import Sealer
from epochseal.storage.compression import (
    ExchangeUnsureError,
    Kind,
    ShrinksTooFarError,
    StoppedError,
    clean,
    compress,
    exchange,
    require_compressor,
)
from epochseal.storage.exchange import NoExchangeError
from epochseal.storage.segments import list_segments
from epochseal.upkeep.archive_receipts import ReceiptFile
from epochseal.upkeep.retention import ExpiredSegments, find_expired, remove_expired

_LOOK_SECONDS = 5.0
_LONGEST_BETWEEN = 3600.0
_JOIN_SECONDS = 5.0
_LOWEST_PRIORITY = 19


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long segments are kept, in ms, and as it was written; `age` None: for ever."""

    age: int | None
    text: str
    receipts: ReceiptFile | None = None
    """Of the archive that a segment must be in before it goes."""


@dataclass(frozen=True, slots=True)
class _Packed:
    plain: Path
    packed: Path


class SegmentUpkeep:
    """Housekeeping of one log, in the shape of a source that never has an entry.

    Args:
        sealer: of that log, started.
        kind: the compression, None for none.
        keeping: may be replaced at any time.
        journal: is told what was done and what failed.

    Raises:
        ConfigError: the compression's library is missing.
        StorageError: what an interrupted exchange left cannot be removed.
    """

    name = "upkeep"
    trouble = ""
    has_entry = full_block = False
    ended = True
    buffered = lag = perishable = 0
    files = ()

    def __init__(self, sealer: Sealer, kind: Kind | None, keeping: Keeping, journal: Journal) -> None:
        if kind is not None:
            require_compressor(kind)
        clean(sealer.logdir)
        self.keeping = keeping
        self._sealer = sealer
        self._kind = kind
        self._journal = journal
        self._told = ""
        self._pipe = WakePipe()
        self._stop = threading.Event()
        # One hand-over at a time: the thread fills it and waits until the loop has emptied it.
        self._ready: _Packed | ExpiredSegments | None = None
        self._taken = threading.Event()
        # The tree size with the prune line: a checkpoint of this size or more covers it.
        self._stated: int | None = None
        self._removable: ExpiredSegments | None = None
        # Names of log files that stay as they are: packed, a verifier would not read all of them.
        self._left_plain: set[str] = set()
        self._next_expiry = 0.0
        # What ended the thread before its time: then nothing would be compressed and nothing expire any more.
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)

    def start(self) -> None:
        """Start the thread; after that no process may be forked that holds a secret."""
        self._thread.start()

    # --- in the log's loop --------------------------------------------------------------------------------

    def descriptors(self) -> Sequence[int]:
        """Readable when the thread has something to hand over."""
        return [self._pipe.fileno()]

    def ready(self, _descriptor: int) -> None:
        """Something was handed over; `tick` takes it."""
        self._pipe.clear()

    def wait_seconds(self) -> float:
        """Nothing is due by time: the thread has the clock."""
        return math.inf

    def tick(self) -> None:
        """Take what the thread has ready, as far as the chain allows now.

        Raises:
            ExchangeUnsureError: the log must not go on.
            StorageError: the thread has ended, by a fault of ours; or as `Sealer.record`.
        """
        if self._broken is not None:
            raise StorageError(f"the upkeep of segments has ended: {self._broken}") from self._broken
        ready, sealer = self._ready, self._sealer
        if isinstance(ready, _Packed):
            self._exchange(ready)
        elif ready is not None and self._stated is None:
            if sealer.live:
                self._stated = sealer.record(ready.prune)
        else:
            self.settle()

    def settle(self) -> None:
        """Let go what a signed checkpoint covers: the next turn's, or that of the log's close."""
        ready, signed = self._ready, self._sealer.checkpoints.signed
        if isinstance(ready, ExpiredSegments) and self._stated is not None and signed >= self._stated:
            self._release(ready)

    def finish(self) -> None:
        """A stop was asked for: begin nothing more."""
        self._stop.set()

    def cut_piece(self, _entries: int, _size: int, _first: int) -> Piece | None:
        """There is never anything to seal."""
        return None

    def piece_bytes(self) -> memoryview:
        """There is never anything to seal."""
        return memoryview(b"")

    def done(self, _first_entry: int) -> None:
        """There is never anything sealed."""

    def positions(self) -> list[SourceMark]:
        """There is nothing to be resumed."""
        return []

    def close(self) -> None:
        """End the thread, in bounded time; what it leaves half-done is removed at the next start."""
        self._stop.set()
        self._taken.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():
            self._pipe.close()

    def _exchange(self, ready: _Packed) -> None:
        if self._kind is not None:
            try:
                exchange(ready.plain, ready.packed, self._kind)
            except ExchangeUnsureError:
                raise
            except EpochsealError as exc:
                self._complain(exc)
                if isinstance(exc, NoExchangeError):
                    self._kind = None
        self._release(None)

    def _release(self, removable: ExpiredSegments | None) -> None:
        self._removable, self._stated, self._ready = removable, None, None
        self._taken.set()

    # --- in the thread ------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._look_again_and_again()
        except BaseException as exc:  # noqa: BLE001  # the loop is told, and ends the log
            self._broken = exc
            self._pipe.wake()

    def _look_again_and_again(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while not self._stop.wait(self._pause()):
            try:
                self._look()
            except StoppedError:
                return
            except EpochsealError as exc:
                self._complain(exc)
        self._remove_released()

    def _pause(self) -> float:
        age = self.keeping.age
        return _LOOK_SECONDS if age is None else min(_LOOK_SECONDS, max(age / 5000, 0.05))

    def _look(self) -> None:
        # In turn: where segments end faster than they are compressed, there always is one more to compress,
        # and what has had its time would never go.
        self._expire()
        clean(self._sealer.logdir)
        while self._kind is not None and (plain := self._next_plain()) is not None:
            try:
                packed = compress(plain, self._kind, self._stop.is_set)
            except ShrinksTooFarError:
                self._left_plain.add(plain.name)
            else:
                self._hand_over(_Packed(plain, packed))
            # A verifier may be listing the folder that was exchanged: it is kept for so long.
            if self._stop.wait(_LOOK_SECONDS):
                return
            clean(self._sealer.logdir)
            if self._expiry_due():
                return

    def _expiry_due(self) -> bool:
        return self.keeping.age is not None and time.monotonic() >= self._next_expiry

    def _expire(self) -> None:
        age = self.keeping.age
        if age is None or not self._expiry_due():
            return
        try:
            now = time.time_ns() // 1_000_000
            receipts = self.keeping.receipts
            archived = receipts.read().has if receipts is not None else None
            expired = find_expired(self._sealer.logdir, age, self.keeping.text, now, archived)
            if expired is not None:
                self._hand_over(expired)
                self._remove_released()
        finally:
            # From now on: a signature may have been waited for, and in between it is compressed.
            self._next_expiry = time.monotonic() + min(_LONGEST_BETWEEN, age / 20_000)

    def _next_plain(self) -> Path | None:
        """Of segments that the log has gone on from, the oldest that is to be compressed and is not yet."""
        segments = list_segments(self._sealer.logdir).segments
        for segment, later in pairwise(segments):
            # A later segment counts only if it has a line. The agent makes the files first; if it dies
            # before the line is written, the next start removes them and goes on in this segment, which
            # must be plain then.
            begun = later.seal is not None and later.seal.stat().st_size > 0
            if not begun or not segment.seal or len(segment.logs) != 1:
                continue
            log = segment.logs[0]
            if log.suffix == ".log" and log.name not in self._left_plain:
                return log
        return None

    def _hand_over(self, ready: _Packed | ExpiredSegments) -> None:
        self._taken.clear()
        self._ready = ready
        self._pipe.wake()
        self._taken.wait()

    def _remove_released(self) -> None:
        expired, self._removable = self._removable, None
        if expired is not None:
            remove_expired(self._sealer.logdir, expired)
            self._journal.info("expired", up_to_segment=expired.prune.segment, entries=expired.prune.entries)

    def _complain(self, exc: EpochsealError) -> None:
        # A trouble that lasts is met in every round; it is told once.
        if str(exc) != self._told:
            self._told = str(exc)
            self._journal.error("chore_failed", exc)
