"""The one place that orders durability: chain, page, files, backend calls; a crash anywhere is harmless.

One commit is: the blocks' digests and lengths into the page (and, where the page outlives the process, the
entries beside it); entries to `.log`, fdatasync; the lines with their tags, and the key after them, published
in the page, the old key wiped; the lines to `.seal`, fdatasync; only then does `commit` return and may the
caller acknowledge. A step that finds no room on the disk is held until there is some (full_disk.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from epochseal.custody.memory import SecretPage
from epochseal.errors import BackendError, StorageError
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import EndReason, Link, Prune, Rotate
from epochseal.keys import Issued
from epochseal.sealing.backend_calls import BackendCalls, Clock, Kind
from epochseal.sealing.backend_outage import BackendOutage
from epochseal.sealing.blocks import HEARTBEAT, digest_blocks, seal_blocks
from epochseal.sealing.chain import Chain, Pace, Start
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.counters import Counters, Status
from epochseal.sealing.due_times import DueTimes
from epochseal.sealing.epoch_start import epoch_line
from epochseal.sealing.full_disk import FullDisk, StepGuard
from epochseal.sealing.last_signer import read_last_signer
from epochseal.sealing.limits import NO_ROOM, UNBOUNDED_ROOM, Limits, Piece, Room
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart import PendingBlock, RestartPoint, Saved, find_restart_point
from epochseal.storage.durable import DirectoryLock, make_directory
from epochseal.storage.segments import SegmentWriter, segment_stem, stem_time

MAX_BLOCKS = 16
"""Blocks of one commit at the most: their lines fit in the page together."""


class Sealer:
    """Seals one log. Not thread-safe: one loop drives it (commit_loop.py).

    A step that fails half-way (StorageError, or worse) leaves chain, page and files apart: from then on
    nothing is sealed, and only a new start, which reads what is really there, goes on with the log.
    """

    def __init__(
        self,
        logdir: Path,
        origin: str,
        calls: BackendCalls,
        mailbox: SecretPage,
        clock: Clock,
        store: PageStore,
        *,
        pace: Pace,
        limits: Limits,
    ) -> None:
        self.logdir = logdir
        self.calls = calls
        self.counters = Counters()
        self.full_disk = FullDisk(clock, self.counters)
        self.outage = BackendOutage()
        self._mailbox, self._clock, self._store = mailbox, clock, store
        self._page = store.page
        self._pace, self._limits = pace, limits
        self._origin = origin
        self._lock: DirectoryLock | None = None
        self.checkpoints = Checkpoints(logdir, origin, self.full_disk)
        self._chain = Chain(origin, bytes(32))
        self._writer: SegmentWriter | None = None
        self._link: Link = "genesis"
        self._running = False
        self._guard = StepGuard(logdir, clock)
        self._ended = True
        self._unsigned_start: Checkpoint | None = None
        self._due_times = DueTimes(clock, pace, limits.segment_age, calls.jitter)
        self._full = False

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def entries(self) -> int:
        """Durable entries of the whole log."""
        return self._chain.entries

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, its start linked by carry or else signed."""
        return self.begun and (self._link == "carry" or self._unsigned_start is None)

    @property
    def begun(self) -> bool:
        """Whether an epoch runs: what is no entry may be recorded, its start signed or not."""
        return self._running and not self._guard.failed

    @property
    def unsigned(self) -> int:
        """Checkpoints that still wait for a signature."""
        return len(self.checkpoints)

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been running past its end because the backend gives no key."""
        return self._due_times.overdue_seconds if self._running else 0.0

    @property
    def _late(self) -> bool:
        return self.overdue_seconds * 1000 > self._pace.max_overdue

    def status(self) -> Status:
        """Where it stands at this moment; to be asked from any thread."""
        age, overdue = self._due_times.epoch_age if self._running else 0.0, self.overdue_seconds
        return Status(
            live=self.live,
            failed=self._guard.failed,
            closed=self._ended and not self._due_times.due,
            stalled=self.full_disk.seconds,
            step=self._guard.seconds,
            epoch=self._chain.epoch,
            epoch_age=age,
            unsigned=self.unsigned,
            overdue=overdue,
            late=self._late,
        )

    def room(self) -> Room:
        """What may be committed at this moment; beyond the limits only while the backend is down or slow."""
        if not self.live or self._late:
            return NO_ROOM
        if self._due_times.due and (self.calls.issue_failures or not self._due_times.patient):
            return UNBOUNDED_ROOM
        return NO_ROOM if self._full else self._limits.room(self._chain)

    def wait_seconds(self) -> float:
        """After how long `tick` wants to be called again, in seconds."""
        moments = self._due_times.moments() if self.live else []
        if not self.calls.pending:
            moments += [self.calls.retry_at(kind) for kind in self._wanted()]
        now = self._clock.monotonic()
        return max(0.0, min([moment - now for moment in moments], default=60.0))

    # --- start, commit, end ---------------------------------------------------------------------------------

    def start(self) -> RestartPoint:
        """Lock the directory, find where the log stands, mend torn tails, and finish an interrupted commit.

        Raises:
            LogBusy: another agent seals here.
            StorageError: the directory cannot be used.
            ConfigError: the log belongs to another origin.
        """
        make_directory(self.logdir)
        self._lock = DirectoryLock(self.logdir)
        point = find_restart_point(self.logdir, self._origin, self._store)
        self.checkpoints.last_signer = read_last_signer(self.logdir, self._origin)
        self._chain, self._writer, self._link = point.chain, point.writer, point.link
        self.counters.set_aside_bytes += point.set_aside
        if point.writer is not None and point.unsigned is not None:
            self.checkpoints.add(point.unsigned, point.writer)
        if point.writer is not None:
            self._due_times.resume(point.chain.epoch_time, stem_time(point.writer.stem))
        if point.running:
            self._running, self._ended = True, False
            self._unsigned_start = point.unsigned
            if point.pending:
                self._commit_recovered(point)
        if point.set_aside or not point.running:
            # Beside set-aside bytes no more is sealed: how their segment ended says when they were added.
            self.request_next_epoch("segment" if point.set_aside else "close")
        return point

    def commit(self, data: memoryview, pieces: Sequence[Piece]) -> None:
        """Seal up to `MAX_BLOCKS` blocks; their entries are durable and provable when this returns.

        Args:
            data: the blocks' bytes, one after the other.
            pieces: what `data` consists of.

        Raises:
            StorageError: nothing of it may be acknowledged; what was acknowledged before stays durable.
        """
        if not self.live:
            raise StorageError(f"{self.logdir} takes no entries now", "after a failed write, start again")
        began, blocks = self._clock.monotonic(), digest_blocks(data, pieces)
        with self._guard.step():
            if self._store.survives:
                self.full_disk.wait_out(partial(self._store.keep_pending, data))
                self._page.next_key[:] = self._page.key
                self._page.publish(self._record(b"", blocks))
            self._append_entries(data)
            self._seal_blocks(blocks)
        self.counters.committed(self._clock.monotonic() - began)

    def record(self, body: Prune | Rotate) -> None:
        """Record what happened to segments or keys; durable when this returns, proven by the next checkpoint.

        Raises:
            StorageError: as `commit`.
        """
        if not self.begun:
            raise StorageError(f"{self.logdir} takes no lines now", "after a failed write, start again")
        with self._guard.step():
            self._write_lines(self._chain.record(body, self._page.key, self._page.next_key))

    def tick(self) -> None:
        """Do what time asks for: heartbeat, the end of an epoch, the next backend call.

        Raises:
            StorageError: as `commit`.
        """
        if self.live:
            if self._due_times.heartbeat_due:
                with self._guard.step():
                    self._seal_blocks([HEARTBEAT])
            self._due_times.tick()
            if (reason := self._limits.reached(self._chain)) is not None:
                self.request_next_epoch(reason)
        self._ask()
        self.outage.look(self.calls.trouble, late=self._late)

    def request_next_epoch(self, reason: EndReason) -> None:
        """Say that the epoch is due to end: a key is asked for, and the epoch goes on until it is there."""
        self._due_times.set_due(reason)

    def entry_does_not_fit(self) -> None:
        """Say that the next entry does not fit in what `room` offered: there is none until the next epoch."""
        self.request_next_epoch(self._limits.limit_in_the_way(self._chain))
        self._full = True

    def take_answer(self) -> None:
        """Take the answer of the call under way.

        Raises:
            EpochsealError: a refusal that waiting does not mend.
            StorageError: as `commit`.
        """
        try:
            if self.calls.pending == "issue":
                if (issued := self.calls.take_issued()) is not None:
                    self._turn(issued)
            elif self.calls.pending == "sign":
                if (signature := self.calls.take_signature()) is not None:
                    self._take_signature(signature)
            elif self.calls.pending == "key" and (key := self.calls.take_key()) is not None:
                self.checkpoints.set_key(key)
        finally:
            # Used, or left there by a call that failed after all.
            self._mailbox.wipe()
        self._ask()
        self.outage.look(self.calls.trouble, late=self._late)

    def close_log(self) -> None:
        """Close the log cleanly: `end` with reason `close`, and its checkpoint asked for.

        Raises:
            StorageError: as `commit`.
        """
        if not self._running or self._ended or self._guard.failed:
            return
        if self.calls.pending == "issue":
            self.calls.let_go()
            self._mailbox.wipe()
        self._due_times.due = None
        with self._guard.step():
            self._end_line("close")
        self._running = False
        self.checkpoints.add(self._checkpoint(), self._open_writer())
        self._ask()

    def release(self) -> None:
        """Give up files, lock and keys; without `close_log` before, this is as a crash."""
        self._running = False
        self.calls.let_go()
        self.checkpoints.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._store.close()
        if self._lock is not None:
            self._lock.close()

    # --- backend calls --------------------------------------------------------------------------------------

    def _wanted(self) -> list[Kind]:
        """The calls that there is a reason for, the most urgent first."""
        wanted: list[Kind] = []
        if self._guard.failed:
            return wanted
        has_key = self.checkpoints.has_key
        if self._due_times.due and (self._running or has_key):
            wanted.append("issue")
        if self.checkpoints:
            wanted.append("sign" if has_key else "key")
        elif not has_key and (self._due_times.due or self._running):
            # Before the first secret, and at once where an epoch goes on: a wrong key must end this start.
            wanted.append("key")
        return wanted

    def _ask(self) -> None:
        if self.calls.pending:
            return
        for kind in self._wanted():
            if self.calls.may_start(kind):
                self._start_call(kind)
                return
        # Nothing to ask now: the courier goes, and with it what its backend's library left in its memory.
        self.calls.let_go()

    def _start_call(self, kind: Kind) -> None:
        if kind == "issue":
            self.calls.start_issue(self._chain.next_context(), self._chain.asked())
        elif kind == "sign":
            self.calls.start_sign(self.checkpoints.message())
        else:
            self.calls.start_key()

    def _take_signature(self, signature: bytes) -> None:
        note = self.checkpoints.signed(signature)
        with self._guard.step():
            size = self.checkpoints.write(note)
        if self._unsigned_start is not None and size >= self._unsigned_start.size:
            self._unsigned_start = None
        self.counters.signed(self._clock.now())

    # --- epochs ---------------------------------------------------------------------------------------------

    def _turn(self, issued: Issued) -> None:
        reason, old = self._due_times.due, self._writer
        rotate = reason == "segment" or self._limits.segment_is_full(self._chain)
        with self._guard.step():
            if self._running and reason is not None:
                self._end_line("segment" if rotate else reason)
                self._link = "carry"
                if rotate and old is not None:
                    self.checkpoints.add(self._checkpoint(), old)
            self._start_epoch(issued, new_segment=rotate or old is None)

    def _start_epoch(self, issued: Issued, *, new_segment: bool) -> None:
        chain, calls = self._chain, self.calls
        context, asked = calls.context, calls.asked
        if context is None or asked is None:
            raise BackendError("a secret arrived that was not asked for")
        self.checkpoints.last_signer.check_epoch_key(issued.key_id)
        now = self._clock.now()
        segment = chain.segment + 1 if new_segment else chain.segment
        start = Start(self._link, issued, context, asked, tuple(calls.abandoned), segment, self._pace, now)
        if new_segment:
            self._open_segment(segment_stem(segment, now))
        line = epoch_line(chain, self._page, self._mailbox, start)
        self._running, self._ended = True, False
        self._unsigned_start = self._checkpoint()
        self._full = False
        self._due_times.new_epoch()
        calls.secret_used()
        self._write_lines(line)
        self.counters.began(segment)
        self.checkpoints.add(self._unsigned_start, self._open_writer())

    def _open_segment(self, stem: str) -> None:
        old = self._writer
        self._writer = self.full_disk.wait_out(partial(SegmentWriter.create, self.logdir, stem))
        self._due_times.new_segment()
        if old is not None:
            self.checkpoints.retire(old)

    def _end_line(self, reason: EndReason) -> None:
        page = self._page
        line = self._chain.end(reason, page.key, page.scratch, page.next_key)
        self._ended = True
        self._write_lines(line)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self._origin, self._chain.tree.size, self._chain.tree.root())

    # --- lines ----------------------------------------------------------------------------------------------

    def _seal_blocks(self, blocks: Sequence[PendingBlock]) -> None:
        self._write_lines(seal_blocks(self._chain, self._page, blocks, self._clock.now()))
        self._due_times.sealed()
        self.counters.sealed(blocks)

    def _commit_recovered(self, point: RestartPoint) -> None:
        with self._guard.step():
            self._append_entries(memoryview(point.pending_data)[point.present :])
            self._seal_blocks(point.pending)
        self.counters.recovered_entries += sum(block.entries for block in point.pending)

    def _append_entries(self, data: memoryview) -> None:
        self.full_disk.wait_out(partial(self._open_writer().append_entries, data))

    def _write_lines(self, lines: bytes) -> None:
        writer = self._open_writer()
        writer.check_lengths()
        self._page.publish(self._record(lines) if self._store.survives else b"")
        # The key that made them is gone: they are written as they are, or the page keeps them for a start.
        self.full_disk.wait_out(partial(writer.append_lines, lines))

    def _record(self, staged: bytes, pending: Sequence[PendingBlock] = ()) -> bytes:
        writer, chain = self._open_writer(), self._chain
        return Saved.encode(
            chain,
            writer.stem,
            writer.seal.length,
            staged,
            pending,
            ended=self._ended,
            link=self._link,
            unsigned_start=self._unsigned_start,
        )

    def _open_writer(self) -> SegmentWriter:
        if self._writer is None:
            raise StorageError("no segment is open")
        return self._writer
