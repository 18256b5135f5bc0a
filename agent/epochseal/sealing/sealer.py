"""One log being sealed, as the loop that drives it sees it (commit_loop.py).

What writes lines and bytes is `LineWriter`, what turns epochs `EpochTurns`, what asks the backend and takes
its answers `BackendRequests`; here they are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from epochseal.custody.memory import SecretPage
from epochseal.errors import StorageError
from epochseal.format.seal_lines import EndReason, Prune, Rotate
from epochseal.sealing.backend_calls import BackendCalls, Clock
from epochseal.sealing.backend_outage import BackendOutage
from epochseal.sealing.backend_requests import BackendRequests
from epochseal.sealing.blocks import EMPTY_BLOCK, digest_blocks
from epochseal.sealing.chain import Chain, Pace
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.counters import Counters, Status
from epochseal.sealing.epoch_turns import EpochTurns
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.last_signer import read_last_signer
from epochseal.sealing.limits import Limits, Piece
from epochseal.sealing.line_writer import LineWriter
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart import find_restart_point
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock
from epochseal.storage.durable import DirectoryLock, make_directory
from epochseal.storage.segments import stem_time

MAX_BLOCKS = 16
"""Blocks of one commit at the most: their lines fit in the page together."""
_IDLE_SECONDS = 60.0


class Sealer:
    """Seals one log. Not thread-safe: one loop drives it.

    A write that fails half-way (StorageError, or worse) leaves chain, page and files apart: from then on
    nothing is sealed, and only a new start, which reads what is really there, goes on with the log.

    Attributes:
        logdir: the log's directory.
        calls: the backend calls; its `fileno` is to be watched.
        counters: what was done so far.
        full_disk: waits while there is no room; its `pause` and `tell` may be set.
        outage: tells of backends that go away; its `tell` may be set.
        checkpoints: those that wait for a signature.
        turns: says what may be committed at this moment (`room`).
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
        self.checkpoints = Checkpoints(logdir, origin, self.full_disk)
        self._origin, self._clock, self._store = origin, clock, store
        self._lock: DirectoryLock | None = None
        self._lines = LineWriter(logdir, Chain(origin, bytes(32)), mailbox, clock, store, self.full_disk)
        self.turns = EpochTurns(
            self._lines, self.checkpoints, calls, clock, pace=pace, limits=limits, counters=self.counters
        )
        self._requests = BackendRequests(
            calls, self._lines, self.turns, self.checkpoints, mailbox, clock, self.counters
        )

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def entries(self) -> int:
        """Durable entries of the whole log."""
        return self._lines.chain.entries

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, its start linked by carry or else signed."""
        return self._lines.live

    @property
    def begun(self) -> bool:
        """Whether an epoch runs: what is no entry may be recorded, its start signed or not."""
        return self._lines.begun

    def status(self) -> Status:
        """Where it stands at this moment; to be asked from any thread."""
        lines, turns = self._lines, self.turns
        return Status(
            live=lines.live,
            failed=lines.guard.failed,
            closed=lines.ended and not turns.due_times.due,
            stalled=self.full_disk.seconds,
            step=lines.guard.seconds,
            epoch=lines.chain.epoch,
            epoch_age=turns.due_times.epoch_age if lines.running else 0.0,
            unsigned=len(self.checkpoints),
            overdue=turns.overdue_seconds,
            late=turns.late,
        )

    def wait_seconds(self) -> float:
        """After how long `tick` wants to be called again, in seconds."""
        moments = self.turns.due_times.moments() if self.live else []
        moments += self._requests.moments()
        now = self._clock.monotonic()
        return max(0.0, min([moment - now for moment in moments], default=_IDLE_SECONDS))

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
        self._lines.resume(point)
        self.counters.set_aside_bytes += point.set_aside
        if point.writer is not None:
            if point.unsigned is not None:
                self.checkpoints.add(point.unsigned, point.writer)
            self.turns.due_times.resume(point.chain.epoch_time, stem_time(point.writer.stem))
        if point.pending:
            with self._lines.guard.step():
                self._lines.finish_commit(memoryview(point.pending_data)[point.present :], point.pending)
            self._sealed(point.pending)
            self.counters.recovered_entries += sum(block.entries for block in point.pending)
        if point.set_aside:
            # Set-aside bytes beside a segment that ended with a clean close are tampering to a verifier,
            # beside any other they are what a crash left. So the log leaves their segment as soon as it can,
            # with another reason than a close.
            self.request_next_epoch("segment")
        elif not point.running:
            self.request_next_epoch("close")
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
        with self._lines.guard.step():
            self._lines.commit(data, blocks)
        self._sealed(blocks)
        self.counters.committed(self._clock.monotonic() - began)

    def record(self, body: Prune | Rotate) -> None:
        """Record what happened to segments or keys; durable when this returns, proven by the next checkpoint.

        Raises:
            StorageError: as `commit`.
        """
        if not self.begun:
            raise StorageError(f"{self.logdir} takes no lines now", "after a failed write, start again")
        with self._lines.guard.step():
            self._lines.record(body)

    def tick(self) -> None:
        """Do what time asks for: heartbeat, the end of an epoch, the next backend call.

        Raises:
            StorageError: as `commit`.
        """
        if self.live:
            if self.turns.due_times.heartbeat_due:
                with self._lines.guard.step():
                    self._lines.seal([EMPTY_BLOCK])
                self._sealed([EMPTY_BLOCK])
            self.turns.tick()
        self._requests.ask()
        self.outage.look(self.calls.trouble, late=self.turns.late)

    def request_next_epoch(self, reason: EndReason) -> None:
        """Say that the epoch is due to end: a key is asked for, and the epoch goes on until it is there."""
        self.turns.due_times.set_due(reason)

    def take_answer(self) -> None:
        """Take the answer of the call under way, and make the next one.

        Raises:
            EpochsealError: a refusal that waiting does not mend.
            StorageError: as `commit`.
        """
        self._requests.take_answer()
        self._requests.ask()
        self.outage.look(self.calls.trouble, late=self.turns.late)

    def close_log(self) -> None:
        """Close the log cleanly: `end` with reason `close`, and its checkpoint asked for.

        Raises:
            StorageError: as `commit`.
        """
        lines = self._lines
        if not lines.begun or lines.ended:
            return
        self._requests.cancel_issue()
        self.turns.due_times.due = None
        with lines.guard.step():
            lines.end_epoch("close")
        lines.running = False
        self.checkpoints.add(lines.chain.checkpoint(), lines.open_segment())
        self._requests.ask()

    def release(self) -> None:
        """Give up files, lock and keys; without `close_log` before, this is as a crash."""
        self.calls.let_go()
        self.checkpoints.close()
        self._lines.release()
        if self._lock is not None:
            self._lock.close()

    def _sealed(self, blocks: Sequence[PendingBlock]) -> None:
        self.turns.due_times.sealed()
        self.counters.sealed(blocks)
