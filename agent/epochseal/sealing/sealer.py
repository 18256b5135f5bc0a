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
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart import find_restart_point
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock
from epochseal.storage.durable import DirectoryLock, make_directory
from epochseal.storage.log_owner import check_owner
from epochseal.storage.segments import stem_time

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
        self._recovered: RestartPoint | None = None
        self._lines = LineWriter(
            logdir, Chain(origin, bytes(32)), clock, store, self.full_disk, self.checkpoints, calls
        )
        self.turns = EpochTurns(
            self._lines, calls, mailbox, clock, pace=pace, limits=limits, counters=self.counters
        )
        self._requests = BackendRequests(calls, self._lines, self.turns, mailbox, clock, self.counters)

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def entries(self) -> int:
        """Durable entries of the whole log."""
        return self._lines.chain.entries

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, and no signature over its first line is awaited."""
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
            closed=lines.closed,
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
        moments = self.turns.moments() + self._requests.moments()
        now = self._clock.monotonic()
        return max(0.0, min([moment - now for moment in moments], default=_IDLE_SECONDS))

    # --- start, commit, end ---------------------------------------------------------------------------------

    def start(
        self, state_dir: Path | None = None, *, keep_carry: bool = True, refuse_cold: bool = False
    ) -> RestartPoint:
        """Lock the directory, find where the log stands, mend torn tails, and finish an interrupted commit.

        Args:
            state_dir: where it is remembered how far logs go; None to remember nothing.
            keep_carry: keep there, after a clean close, what the next start goes on with.
            refuse_cold: refuse, before anything is touched, a start that would not go on with a chain.

        Raises:
            LogBusy: another agent seals here, or holds what is remembered of this log.
            StorageError: the directory cannot be used.
            ConfigError: the log belongs to another origin or another user; or the start would be a cold one.
        """
        if not refuse_cold:
            make_directory(self.logdir)
        self._lock = DirectoryLock(self.logdir)
        check_owner(self.logdir)
        lines, counters = self._lines, self.counters
        lines.state = LogState.open(state_dir, self.logdir, keep_carry=keep_carry)
        point = find_restart_point(
            self.logdir, self._origin, self._store, lines.state, refuse_cold=refuse_cold
        )
        # What a cold start finds beyond what is remembered may be somebody else's: it keeps no agent out.
        remembered = lines.state.size if point.link == "cold" and lines.state.kept else 0
        if point.denies is None:  # else another log may lie there, signed by whomever
            self.checkpoints.last_signer = read_last_signer(self.logdir, self._origin, remembered or None)
        self.calls.abandoned = list(point.calls)
        self.turns.link, self.turns.denies, self._requests.ahead = point.link, point.denies, point.ahead
        counters.set_aside_bytes += point.set_aside
        counters.torn_bytes += point.torn_aside
        counters.started, counters.tampered = point.link, point.denies is not None
        with lines.guard.step():
            lines.resume(point)
        if point.writer is not None:
            self.turns.due_times.resume(point.chain.epoch_time, stem_time(point.writer.stem))
            counters.segment = point.chain.segment
        if point.pending:
            self._recovered, lines.recovering = point, point.pending
            self._finish_recovered()
        if point.set_aside and point.link == "running":
            # Set-aside bytes beside a segment that ended with a clean close are tampering to a verifier,
            # beside any other they are what a crash left. So the log leaves their segment as soon as it can,
            # with another reason than a close.
            self.request_next_epoch("segment")
        return point

    def commit(self, data: memoryview, pieces: Sequence[Piece]) -> None:
        """Seal blocks; their entries are durable and provable when this returns.

        Args:
            data: the blocks' bytes, one after the other.
            pieces: what `data` consists of; as many as have lines within `LINE_ROOM`, or one.

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

    def record(self, body: Prune | Rotate) -> int:
        """Record what happened to segments or keys; durable when this returns.

        Returns:
            The tree size with this line: a signed checkpoint of this size or more covers it.

        Raises:
            StorageError: as `commit`.
        """
        if not self.begun:
            raise StorageError(f"{self.logdir} takes no lines now", "after a failed write, start again")
        if isinstance(body, Rotate) and body.key == "epoch":
            # A secret of the old key begins no epoch behind this line.
            self._requests.cancel()
        with self._lines.guard.step():
            self._lines.record(body)
        return self._lines.chain.index

    def tick(self) -> None:
        """Do what time asks for: heartbeat, the end of an epoch, the next backend call.

        Raises:
            StorageError: as `commit`.
        """
        if self.live:
            if self.turns.due_times.heartbeat_due and not self.turns.late:
                with self._lines.guard.step():
                    self._lines.seal([EMPTY_BLOCK], self._clock.now())
                self._sealed([EMPTY_BLOCK])
            self.turns.tick()
            self.turns.drop_overdue()
        self._requests.ask()
        self.outage.look(self.calls.trouble, late=self.turns.late)

    def request_next_epoch(self, reason: EndReason) -> None:
        """Say that the epoch is due to end: a key is asked for, and the epoch goes on until it is there."""
        self.turns.due_times.set_due(reason)

    def take_answer(self) -> None:
        """Take the answer of the call under way, and make the next one.

        Raises:
            EpochsealError: a refusal, before the log takes entries; later it is waited out.
            StorageError: as `commit`.
        """
        self._requests.take_answer()
        self._finish_recovered()
        self._requests.ask()
        self.outage.look(self.calls.trouble, late=self.turns.late)

    def close_log(self) -> None:
        """Close the log cleanly: `end` with reason `close`, and its checkpoint asked for.

        A log that takes no entries yet is not closed: its epoch line alone hands on what it holds. Nor is one
        with a commit of the process before that waits for the next epoch: its page goes on from there.

        Raises:
            StorageError: as `commit`.
        """
        lines = self._lines
        if not lines.begun or (lines.chain.bare and not lines.live) or lines.recovering:
            return
        self._requests.cancel()
        self.turns.due_times.due = None
        with lines.guard.step():
            lines.close()
        # What was held back is over: the close is signed, whatever its epoch line waited for.
        self.checkpoints.hold = False
        self._requests.ask()

    def release(self) -> None:
        """Give up files, lock and keys; without `close_log` before, this is as a crash."""
        self.calls.let_go()
        self._lines.release()
        if self._lock is not None:
            self._lock.close()

    def _finish_recovered(self) -> None:
        """Seal what a kill interrupted; in the next epoch, where the running one has had its time."""
        point = self._recovered
        if point is None or self.turns.late:
            return
        self._recovered, self._lines.recovering = None, ()
        with self._lines.guard.step():
            rest = memoryview(point.pending_data)[point.present :]
            self._lines.finish_commit(rest, point.pending, self._clock.now())
        self._sealed(point.pending)
        self.counters.recovered_entries += sum(block.entries for block in point.pending)

    def _sealed(self, blocks: Sequence[PendingBlock]) -> None:
        self.turns.due_times.sealed()
        self.counters.sealed(blocks)
