"""Writes the bytes and the lines of one log, in the one order in which a crash at any moment is harmless.

One commit is: the blocks' digests and lengths into the page (and, where the page outlives the process, the
entries beside it); entries to `.log`, fdatasync; the lines with their tags, and the key after them, published
in the page, the old key wiped; the lines to `.seal`, fdatasync. Whoever asked for it may acknowledge then.
Every other line goes the same way, without entries: page first, then `.seal`. A write that finds no room on
the disk is waited out where it stands (full_disk.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from epochseal.custody.memory import SecretPage
from epochseal.errors import StorageError
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import EndReason, Link, Prune, Rotate
from epochseal.sealing.backend_calls import Clock
from epochseal.sealing.blocks import seal_blocks
from epochseal.sealing.chain import Chain, EpochStart
from epochseal.sealing.epoch_start import epoch_line
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock, SavedState
from epochseal.sealing.step_guard import StepGuard
from epochseal.storage.segments import SegmentWriter


class LineWriter:
    """Chain, page and open segment of one log, which only ever change together.

    Every method that writes is called inside of `guard.step()`: one that fails half-way leaves the three
    apart, and then nothing more may be written.

    Attributes:
        guard: stands around every change.
        chain: where the log stands.
        segment: the open pair of files; None before the first.
        link: how the running epoch is linked to the one before or, while none runs, how the next will be.
        running: whether an epoch was begun and not closed.
        ended: whether the last line is an `end`.
        unsigned_start: the checkpoint over the running epoch's first line, until its note is written.
    """

    def __init__(
        self,
        logdir: Path,
        chain: Chain,
        mailbox: SecretPage,
        clock: Clock,
        store: PageStore,
        full_disk: FullDisk,
    ) -> None:
        self._logdir = logdir
        self._mailbox, self._clock, self._store = mailbox, clock, store
        self._page = store.page
        self._full_disk = full_disk
        self.guard = StepGuard(logdir, clock)
        self.chain = chain
        self.segment: SegmentWriter | None = None
        self.link: Link = "genesis"
        self.running = False
        self.ended = True
        self.unsigned_start: Checkpoint | None = None

    @property
    def begun(self) -> bool:
        """Whether an epoch runs, its start signed or not."""
        return self.running and not self.guard.failed

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, its start linked by carry or else signed."""
        return self.begun and (self.link == "carry" or self.unsigned_start is None)

    def resume(self, point: RestartPoint) -> None:
        """Take over what a start found on the disk; nothing is written."""
        self.chain, self.segment, self.link = point.chain, point.writer, point.link
        if point.running:
            self.running, self.ended = True, False
            self.unsigned_start = point.unsigned

    def commit(self, data: memoryview, blocks: Sequence[PendingBlock]) -> None:
        """Write the bytes of the blocks, then their lines; all of it is durable when this returns."""
        if self._store.survives:
            self._full_disk.wait_out(partial(self._store.keep_pending, data))
            # The key stays the same: only what is about to be written is noted beside it.
            self._page.next_key[:] = self._page.key
            self._page.publish(self._state(b"", blocks))
        self.finish_commit(data, blocks)

    def finish_commit(self, rest: memoryview, blocks: Sequence[PendingBlock]) -> None:
        """Write what is missing of a commit that the page knows of: the rest of its bytes, then its lines."""
        self._full_disk.wait_out(partial(self.open_segment().append_entries, rest))
        self.seal(blocks)

    def seal(self, blocks: Sequence[PendingBlock]) -> None:
        """Write the lines of blocks whose bytes are in the log file."""
        self._write(seal_blocks(self.chain, self._page, blocks, self._clock.now()))

    def record(self, body: Prune | Rotate) -> None:
        """Write a line about segments or keys."""
        self._write(self.chain.record(body, self._page.key, self._page.next_key))

    def begin_segment(self, stem: str) -> SegmentWriter | None:
        """Make the next pair of files and write there from now on; the pair before, still open."""
        before = self.segment
        self.segment = self._full_disk.wait_out(partial(SegmentWriter.create, self._logdir, stem))
        return before

    def begin_epoch(self, start: EpochStart) -> Checkpoint:
        """Write an epoch line, with the secret that is in the mailbox; the checkpoint over that line."""
        line = epoch_line(self.chain, self._page, self._mailbox, start)
        self.running, self.ended = True, False
        checkpoint = self.unsigned_start = self.chain.checkpoint()
        self._write(line)
        return checkpoint

    def end_epoch(self, reason: EndReason) -> None:
        """Write the `end` line; the carry takes the key's place in the page."""
        page = self._page
        line = self.chain.end(reason, page.key, page.scratch, page.next_key)
        self.ended = True
        self._write(line)

    def open_segment(self) -> SegmentWriter:
        """The open pair of files.

        Raises:
            StorageError: there is none.
        """
        if self.segment is None:
            raise StorageError("no segment is open")
        return self.segment

    def release(self) -> None:
        """Close the files and let the page go; without an `end` line before, this is as a crash."""
        self.running = False
        if self.segment is not None:
            self.segment.close()
            self.segment = None
        self._store.close()

    def _write(self, lines: bytes) -> None:
        segment = self.open_segment()
        segment.check_lengths()
        self._page.publish(self._state(lines) if self._store.survives else b"")
        # The key that made their tags is wiped, so they cannot be made again: they are written as they are,
        # now or, from the page, by the next start.
        self._full_disk.wait_out(partial(segment.append_lines, lines))

    def _state(self, staged: bytes, pending: Sequence[PendingBlock] = ()) -> bytes:
        segment = self.open_segment()
        return SavedState.encode(
            self.chain,
            segment.stem,
            segment.seal.length,
            staged,
            pending,
            ended=self.ended,
            link=self.link,
            unsigned_start=self.unsigned_start,
        )
