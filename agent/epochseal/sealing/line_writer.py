"""Writes the bytes and the lines of one log, in the one order in which a crash at any moment is harmless.

One commit is: the blocks' digests and lengths into the page (and, where the page outlives the process, the
entries beside it); entries to `.log`, fdatasync; the lines with their tags, and the key after them, published
in the page, the old key wiped; the lines to `.seal`, fdatasync. Whoever asked for it may acknowledge then.
Every other line goes the same way, without entries: page first, then `.seal`. What is remembered outside of
the directory comes after that, and before any signature is asked for. A write that finds no room on the disk
is waited out where it stands (full_disk.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from epochseal.custody.ratchet_page import MAX_RECORD
from epochseal.errors import StorageError
from epochseal.format.merkle import leaf_hash
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import EndReason, Prune, Rotate
from epochseal.sealing.backend_calls import BackendCalls, Clock
from epochseal.sealing.blocks import seal_blocks
from epochseal.sealing.chain import Chain, EpochStart
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.epoch_start import epoch_line, turn_lines
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock, SavedState, Staged
from epochseal.sealing.step_guard import StepGuard
from epochseal.storage.segments import SegmentWriter


class LineWriter:
    """Chain, page and open segment of one log, which only ever change together.

    Every method that writes is called inside of `guard.step()`: one that fails half-way leaves the three
    apart, and then nothing more may be written.

    Attributes:
        guard: stands around every change.
        chain: where the log stands.
        page: holds the key of the next line.
        checkpoints: has what is to be signed.
        segment: the open pair of files; None before the first.
        running: whether an epoch was begun and not closed.
        closed: whether the last line is an `end` with reason `close`.
        state: what is remembered of the log outside of its directory.
        recovering: the blocks of a commit of the process before that is to be finished in the next epoch.
    """

    def __init__(
        self,
        logdir: Path,
        chain: Chain,
        clock: Clock,
        store: PageStore,
        full_disk: FullDisk,
        checkpoints: Checkpoints,
        calls: BackendCalls,
    ) -> None:
        self._logdir, self._clock, self._store, self._full_disk = logdir, clock, store, full_disk
        self.checkpoints, self._calls = checkpoints, calls
        self.guard = StepGuard(logdir, clock)
        self.chain = chain
        self.page = store.page
        self.segment: SegmentWriter | None = None
        self.running = False
        self.closed = False
        self.state = LogState.none()
        self.recovering: Sequence[PendingBlock] = ()
        self._epoch_place = ("", 0)
        self._saved: SavedState | None = None
        self._remembered = 0
        self._carry_kept = False

    @property
    def begun(self) -> bool:
        """Whether an epoch runs, its start signed or not."""
        return self.running and not self.guard.failed

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, and no signature over its first line is awaited."""
        due = self.checkpoints.due
        return self.begun and (due is None or due.size != self.chain.epoch_index + 1)

    @property
    def has_segment(self) -> bool:
        """Whether a pair of files is open, so that a note has a place."""
        return self.segment is not None

    def resume(self, point: RestartPoint) -> None:
        """Take over what a start found, and remember it where an epoch goes on."""
        self.chain, self.segment, self._saved = point.chain, point.writer, point.saved
        self._carry_kept = True
        if point.due is not None:
            self.checkpoints.require(point.due)
        if point.link != "running":
            return
        self.running = True
        if point.saved is not None:
            self._epoch_place = (point.saved.epoch_stem, point.saved.epoch_offset)
        self._destroy_carry()
        self.remember_lines(self.chain.checkpoint())

    def commit(self, data: memoryview, blocks: Sequence[PendingBlock]) -> None:
        """Write the bytes of the blocks, then their lines; all of it is durable when this returns."""
        # Their time is that of before the writes: those may be held by a full disk for longer than the epoch
        # may last.
        now = self._clock.now()
        if self._store.survives:
            self._full_disk.wait_out(partial(self._store.keep_pending, data))
            # The key stays the same: only what is about to be written is noted beside it.
            self.page.republish(self._record((), blocks))
        self.finish_commit(data, blocks, now)

    def finish_commit(self, rest: memoryview, blocks: Sequence[PendingBlock], now: int) -> None:
        """Write what is missing of a commit that the page knows of: the rest of its bytes, then its lines."""
        self._full_disk.wait_out(partial(self.open_segment().append_entries, rest))
        self.seal(blocks, now)

    def seal(self, blocks: Sequence[PendingBlock], now: int) -> None:
        """Write the lines of blocks whose bytes are in the log file; they state `now`, in ms since 1970."""
        self._write(seal_blocks(self.chain, self.page, blocks, now))

    def record(self, body: Prune | Rotate) -> None:
        """Write a line about segments or keys."""
        self._write(self.chain.record(body, self.page.key, self.page.next_key))

    def sign(self, wrapped: bytes | None) -> None:
        """Write a `sign` line, due from then on; it announces the next secret if `wrapped` is there."""
        line = self.chain.sign(wrapped, self.page.key, self.page.next_key)
        self.checkpoints.require(self.chain.checkpoint())
        self._write(line)

    def begin(self, start: EpochStart, stem: str) -> bytes:
        """Write the epoch line of a start into a new pair of files; its leaf. Its checkpoint is due."""
        self.segment = self._full_disk.wait_out(partial(SegmentWriter.create, self._logdir, stem))
        self._epoch_place = (stem, 0)
        line = epoch_line(self.chain, self.page, start)
        self.running = True
        self.checkpoints.require(self.chain.checkpoint())
        self._write(line)
        self._saved = None
        return leaf_hash(line.rpartition(b" ")[0])

    def turn(self, reason: EndReason, start: EpochStart, stem: str | None) -> None:
        """End the running epoch and begin the next one, in the same files or, with a stem, in a new pair.

        The page knows both lines before one of them is written: so there is no moment between two epochs.
        """
        old, new = self.open_segment(), None
        old.check_lengths()
        if stem is not None:
            new = self._full_disk.wait_out(partial(SegmentWriter.prepare, self._logdir, stem))
        offset = old.seal.length
        end, epoch = turn_lines(self.chain, self.page, reason, start)
        if new is None:
            self._epoch_place = (old.stem, offset + len(end))
            self._publish([Staged(old.stem, offset, end + epoch)])
            self._full_disk.wait_out(partial(old.append_lines, end + epoch))
        else:
            # The record is about the segment that the log goes on in.
            self.segment, self._epoch_place = new, (new.stem, 0)
            self._publish([Staged(old.stem, offset, end), Staged(new.stem, 0, epoch)])
            self._full_disk.wait_out(partial(old.append_lines, end))
            self._full_disk.wait_out(new.name)
            self._full_disk.wait_out(partial(new.append_lines, epoch))
            old.close()
        self.remember_lines(self.chain.checkpoint())

    def close(self) -> None:
        """Write `end` with reason `close`; the carry takes the key's place in the page, and is kept."""
        page, chain = self.page, self.chain
        line = chain.end("close", page.key, page.scratch, page.next_key)
        self.running, self.closed = False, True
        last = chain.checkpoint()
        self.checkpoints.require(last)
        self._write(line)
        self.remember_lines(last)
        self._full_disk.wait_out(partial(self.state.write_carry, chain.log, last.size, last.root, page.key))

    def write_notes(self, lines: bytes) -> None:
        """Append whole note lines to the open seal file, durably."""
        self._full_disk.wait_out(partial(self.open_segment().append_lines, lines))

    def remember_calls(self) -> None:
        """Note in the page which issue calls were made: a call is to be explained, even after a kill."""
        if not self._store.survives:
            return
        if self.segment is not None:
            self.page.republish(self._record((), self.recovering))
        elif self._saved is not None:
            self._saved = msgspec.structs.replace(self._saved, calls=list(self._calls.abandoned))
            self.page.republish(msgspec.msgpack.encode(self._saved))

    def remember_lines(self, checkpoint: Checkpoint) -> None:
        """Remember outside of the directory that the log has these lines, which are durable, or more."""
        if self._remembered >= checkpoint.size:
            return
        self._full_disk.wait_out(
            partial(
                self.state.replace,
                self.chain.log,
                checkpoint.size,
                checkpoint.root,
                tuple(self._calls.abandoned),
            )
        )
        self._remembered = checkpoint.size

    def open_segment(self) -> SegmentWriter:
        """The open pair of files.

        Raises:
            StorageError: there is none.
        """
        if self.segment is None:
            raise StorageError("no segment is open")
        return self.segment

    def release(self) -> None:
        """Close the files and let the page go; without a `close` before, this is as a crash."""
        self.running = False
        if self.segment is not None:
            self.segment.close()
            self.segment = None
        self._store.close()
        self.state.close()

    def _write(self, lines: bytes) -> None:
        segment = self.open_segment()
        segment.check_lengths()
        self._publish([Staged(segment.stem, segment.seal.length, lines)])
        # The key that made their tags is wiped, so they cannot be made again: they are written as they are,
        # now or, from the page, by the next start.
        self._full_disk.wait_out(partial(segment.append_lines, lines))
        self._destroy_carry()

    def _destroy_carry(self) -> None:
        """Once a line stands behind the epoch line, nobody may go on from the close before: the carry goes.

        Not earlier: an epoch line alone hands the carry on, and without it a start that was interrupted
        there would be a cold one.
        """
        if self._carry_kept and not self.chain.bare:
            self._full_disk.wait_out(self.state.destroy_carry)
            self._carry_kept = False

    def _publish(self, staged: Sequence[Staged]) -> None:
        if not self._store.survives:
            self.page.publish(b"")
            return
        record = self._record(staged, self.recovering)
        if len(record) > MAX_RECORD:
            # Never in practice. What waits was not acknowledged, and the log goes on without it.
            record = self._record(staged, ())
        self.page.publish(record)

    def _record(self, staged: Sequence[Staged], pending: Sequence[PendingBlock]) -> bytes:
        return SavedState.encode(
            self.chain,
            staged,
            pending,
            stem=self.open_segment().stem,
            epoch_place=self._epoch_place,
            due=self.checkpoints.due,
            calls=self._calls.abandoned,
            closed=self.closed,
        )
