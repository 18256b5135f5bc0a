"""One log of the daemon, from its start to its end in a thread of its own."""

from __future__ import annotations

import math
import signal
import threading
import time
import traceback
from functools import partial
from pathlib import Path

from epochseal.config import LogConfig
from epochseal.config.source_tables import StdinTable, kind_of
from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.errors import EpochsealError, Unavailable
from epochseal.format.seal_lines import EndReason
from epochseal.journal import Journal
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.chain import Chain, Pace
from epochseal.sealing.limits import Limits, Room
from epochseal.sealing.login_gate import LoginGates
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.sealer import Sealer
from epochseal.service.commit_loop import CommitLoop, SystemClock, jitter
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.health import LogView
from epochseal.service.messages import (
    Message,
    begun_message,
    no_state_directory,
    outage_message,
    stall_message,
    start_messages,
    write_message,
)
from epochseal.service.open_source import open_source
from epochseal.service.ready_state_dir import ready_state_dir
from epochseal.service.signals import Signals
from epochseal.sources.source import Source
from epochseal.upkeep.archive_receipts import ReceiptFile
from epochseal.upkeep.segment_upkeep import Keeping, SegmentUpkeep

RELOADED = ("epoch_max_entries", "epoch_max_bytes", "segment_bytes", "keep")
"""The settings that SIGHUP puts in force; every other change waits for a restart."""

LOOP_SECONDS = 150.0
"""A loop that has not come round for so long is hung: its longest wait is 60 s."""


class LogSignals(Signals):
    """What the daemon passes on to one log's loop: a stop, a new segment."""

    seen = math.inf

    @property
    def hung(self) -> bool:
        """Whether the loop does not come round any more."""
        return time.monotonic() - self.seen > LOOP_SECONDS

    def fileno(self) -> int:
        """As `Signals.fileno`, which the loop asks for in every round."""
        self.seen = time.monotonic()
        return super().fileno()

    def pause(self, seconds: float) -> bool:
        """As `Signals.pause`: a full disk is waited out, and that is no hanging."""
        self.seen = time.monotonic() + seconds
        return super().pause(seconds)

    def stop(self) -> None:
        """Ask for a clean close."""
        self.stopped_by = signal.SIGTERM
        self._pipe.wake()

    def hangup(self) -> None:
        """Ask for a new segment."""
        self._hangup = True
        self._pipe.wake()

    def close(self) -> None:
        """Give up the pipe."""
        self._pipe.close()


class AdjustableLimits(Limits):
    """Limits that the daemon may replace while the log's loop reads them, by one assignment."""

    current: Limits

    def __init__(self, current: Limits) -> None:
        super().__init__(segment_age=current.segment_age)
        self.adjust(current)

    def adjust(self, limits: Limits) -> None:
        """Put other limits in force; a segment's age is fixed at the start."""
        # The class is frozen, so that nobody changes limits in place. This replaces all of them in one step:
        # the loop, in another thread, sees the old ones or the new ones and never a mixture.
        object.__setattr__(self, "current", limits)

    def room(self, chain: Chain) -> Room:
        """As `Limits.room`."""
        return self.current.room(chain)

    def reached(self, chain: Chain) -> EndReason | None:
        """As `Limits.reached`."""
        return self.current.reached(chain)

    def segment_is_full(self, chain: Chain) -> bool:
        """As `Limits.segment_is_full`."""
        return self.current.segment_is_full(chain)

    def limit_in_the_way(self, chain: Chain) -> EndReason:
        """As `Limits.limit_in_the_way`."""
        return self.current.limit_in_the_way(chain)


class LogThread:
    """One log from its start to its end; `error` is what ended it before its time.

    Attributes:
        looked: set once each source has looked at what there is, or never will.

    Args:
        config: of the log.
        zygote: makes its backend calls; no other log uses it at this time.
        mailbox: where their secrets arrive.
        journal: is told what an operator should know.
        gates: of the logins that it shares with other logs.
        view: what is shown of the log, if it was started before; it shows this start from now on.
    """

    def __init__(
        self,
        config: LogConfig,
        zygote: Zygote,
        mailbox: SecretPage,
        journal: Journal,
        gates: LoginGates,
        view: LogView | None = None,
    ) -> None:
        self.config = config
        self.signals = LogSignals()
        self.error: BaseException | None = None
        self.ended = False
        self.looked = threading.Event()
        self.journal = journal.bind(log=config.name)
        self._limits = AdjustableLimits(_limits(config))
        self.sealer = self._make_sealer(zygote, mailbox, gates)
        self._sources: list[GuardedSource] = []
        self._upkeep: SegmentUpkeep | None = None
        self.view = view or LogView(config.name, self.sealer, self._sources)
        self.view.sealer, self.view.sources = self.sealer, self._sources

    def open(self) -> None:
        """Lock the directory, find where the log stands, open its sources.

        Raises:
            EpochsealError: see `Sealer.start` and `open_source`; `close` is still to be called.
        """
        sealer, config = self.sealer, self.config
        sealer.full_disk.tell = lambda cause: self._tell(stall_message(cause))
        sealer.outage.tell = lambda outlook, trouble: self._tell(outage_message(outlook, trouble))
        sealer.turns.tell = lambda begun: self._tell(begun_message(begun, config.dir))
        state_dir = ready_state_dir(
            config.state_dir, config.dir, lambda reason: self._tell(no_state_directory(reason))
        )
        point = sealer.start(state_dir, keep_carry=config.keep_carry)
        for message in start_messages(point, sealer.entries):
            self._tell(message)
        sealer.full_disk.pause = self.signals.pause
        kind = None if self.config.compress == "none" else self.config.compress
        if kind is not None or self.config.number_or_none("keep") is not None:
            self._upkeep = SegmentUpkeep(self.sealer, kind, _keeping(self.config), self.journal)
        for table in self.config.sources:
            self._sources.append(
                GuardedSource(
                    kind_of(table),
                    partial(open_source, table, self.config, self.signals),
                    self.journal,
                    once=isinstance(table, StdinTable),
                )
            )
        self.view.failure = None

    def run(self, *, opened: bool) -> None:
        """Seal until a stop or the end of all sources, close the log, give up everything.

        Args:
            opened: whether `open` was called.
        """
        try:
            if not opened:
                self.open()
            if self._upkeep is not None:
                self._upkeep.start()
            self._seal()
            if self._upkeep is not None:
                self._upkeep.settle()
        except BaseException as exc:  # noqa: BLE001  # whatever ends a log must reach the main thread
            self.failed(exc)
            self.journal.error("failed", exc, where=_where(exc))
        else:
            self.journal.info("closed", entries=self.sealer.entries)
        finally:
            try:
                self.close()
            finally:
                self.ended = True

    def failed(self, error: BaseException) -> None:
        """Have that error shown as what ended it."""
        self.error = self.view.failure = error

    def close(self) -> None:
        """Give up sources, files and keys; without `run` before, the log is left as after a crash."""
        for source in reversed(self._sources):
            source.close()
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.close()
        self.sealer.release()
        self.looked.set()

    def adjust(self, config: LogConfig) -> list[str]:
        """Put the settings in force that can be; the names of those that wait for a restart."""
        before, after = self.config.values, config.values
        # Settings of backends are in `values` only where they are set, so either side may lack a name.
        changed = [
            name
            for name in {**before, **after}
            if name not in before or name not in after or before[name].value != after[name].value
        ]
        expires = self._upkeep is not None and config.number_or_none("keep") is not None
        waiting = [name for name in changed if name not in RELOADED or (name == "keep" and not expires)]
        if config.sources != self.config.sources:
            waiting.append("source")
        self._limits.adjust(_limits(config))
        if self._upkeep is not None and expires:
            self._upkeep.keeping = _keeping(config)
        return waiting

    def _seal(self) -> None:
        for source in self._sources:
            source.tick()
        self.looked.set()
        sources: list[Source] = [*self._sources]
        if self._upkeep is not None:
            sources.append(self._upkeep)
        loop = CommitLoop(
            self.sealer,
            sources,
            self.signals,
            commit_interval=self.config.number("commit_interval") / 1000,
            acknowledge=lambda _entries: None,
        )
        if unsealed := loop.run():
            raise Unavailable(
                f"{unsealed} bytes were read but not sealed: the backend gave no key before the stop",
                str(self.sealer.calls.last_error or "") or None,
            )
        if failures := [source.failure for source in self._sources if source.failure is not None]:
            # The log is closed cleanly; whoever started it is told all the same that a source was not read.
            raise failures[0]

    def _make_sealer(self, zygote: Zygote, mailbox: SecretPage, gates: LoginGates) -> Sealer:
        config, clock = self.config, SystemClock()
        runtime_dir = config.runtime_dir
        runtime = (
            PageStore.in_memory() if runtime_dir is None else PageStore.in_directory(runtime_dir, config.dir)
        )
        pace = Pace(
            heartbeat=config.number("heartbeat"),
            interval=config.number("epoch_interval"),
            max_overdue=config.number("max_overdue"),
            retention=config.number("retention"),
        )
        own = gates.of_both(config.epoch_key, config.checkpoint_key, config.backend_settings)
        calls = BackendCalls(zygote, clock, jitter, own)
        return Sealer(
            config.dir, config.origin, calls, mailbox, clock, runtime, pace=pace, limits=self._limits
        )

    def _tell(self, message: Message) -> None:
        write_message(self.journal, message)


def _where(exc: BaseException) -> str | None:
    """For an error that is none of ours, whose text the journal withholds."""
    frames = [] if isinstance(exc, EpochsealError) else traceback.extract_tb(exc.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


def _limits(config: LogConfig) -> Limits:
    return Limits(
        epoch_entries=config.number_or_none("epoch_max_entries"),
        epoch_bytes=config.number_or_none("epoch_max_bytes"),
        segment_bytes=config.number("segment_bytes"),
        segment_age=config.number_or_none("segment_age"),
    )


def _keeping(config: LogConfig) -> Keeping:
    receipts = None
    if config.archive is not None:
        receipts = ReceiptFile(config.archive_receipts, config.dir, str(config.archive))
    return Keeping(config.number_or_none("keep"), config.values["keep"].text, receipts)
