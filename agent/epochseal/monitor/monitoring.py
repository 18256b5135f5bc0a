"""The running monitor: put together, its rounds, and its end."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, suppress
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path

from epochseal.api.verification import make_readers
from epochseal.config.monitor_settings import MonitorConfig
from epochseal.journal import Journal
from epochseal.keys import load_backend
from epochseal.monitor.announcer import Announcer
from epochseal.monitor.fleet_watch import FleetWatch
from epochseal.monitor.lane import Lane
from epochseal.monitor.log_record import Records
from epochseal.monitor.notice_command import NoticeCommand
from epochseal.monitor.status_server import serve_status
from epochseal.monitor.told import Told
from epochseal.service.sd_notify import Notifier
from epochseal.service.signals import Signals
from epochseal.storage.durable import make_directory
from epochseal.storage.own_files import OWN_FOLDER_MODE, check_own_folder, locked

_ONCE_SECONDS = 0.2
_TOLD_SECONDS = 0.2
"""Outcomes that come one after the other are told together: each time all logs are gone through."""
_ROUND_SHARE = 0.1
"""Of one core, at most, for the looks at the files of all logs."""
_LANES = ("part", "whole", "scrub")


class Monitor:
    """Monitors the logs of a configuration.

    Args:
        config: the file as it was read.
        journal: where events go.
    """

    def __init__(self, config: MonitorConfig, journal: Journal) -> None:
        self._config, self._journal = config, journal
        self.told = Told(0)

    def run(self, *, once: bool) -> int:
        """Until SIGTERM or SIGINT, or with `once` until every log was examined; the exit status.

        Raises:
            ConfigError: the state directory is not ours alone, or lies in a log.
            StorageError: it cannot be used, or another monitor uses it.
        """
        state_dir = self._config.state_dir
        make_directory(state_dir, OWN_FOLDER_MODE)
        real = Path(os.path.realpath(state_dir))
        check_own_folder(real)
        self._load()
        with ExitStack() as stack:
            # First of all: a lane is forked from a process that has no thread, and does not hold the lock.
            lanes = {name: Lane(name) for name in _LANES}
            for lane in lanes.values():
                stack.callback(lane.close)
            stack.enter_context(locked(real))
            announcer = Announcer(self._journal, NoticeCommand(self._config.on_change))
            records = Records(state_dir)
            if self._config.listen is not None and not once:
                # A thread of its own, which sees one moment after the other and changes nothing.
                server = serve_status(self._config, records, lambda: self.told)
                stack.callback(server.close)
                self._journal.info("listening", listen=f"{server.address[0]}:{server.address[1]}")
            fleet = FleetWatch(self._config, records, lanes, announcer, self._journal, once=once)
            signals = stack.enter_context(Signals().installed())
            return self._watch(fleet, lanes, announcer, signals, once=once)

    def _load(self) -> None:
        """Load what examinations will need, once: each is made in a process that is forked from here."""
        for table in self._config.logs:
            for uri in table.keys.epoch_keys:
                load_backend(uri)
        make_readers()
        with suppress(ImportError):
            import_module("epochseal.report.page")

    def _watch(
        self, fleet: FleetWatch, lanes: dict[str, Lane], announcer: Announcer, signals: Signals, *, once: bool
    ) -> int:
        notifier = Notifier.from_environment()
        interval = _ONCE_SECONDS if once else self._config.number("interval") / 1000
        self._journal.info("started", config=str(self._config.path), env=self._config.env)
        notifier.ready()
        next_look, next_told, examined = -math.inf, -math.inf, False
        names = {lane.connection: name for name, lane in lanes.items()}
        while not signals.stop_asked:
            if (now := time.monotonic()) >= next_look:
                spent = -time.process_time()
                fleet.look()
                spent += time.process_time()
                next_look, next_told = now + max(interval, spent / _ROUND_SHARE), now
            over = once and fleet.idle
            if over or now >= next_told:
                next_told = math.inf
                self.told = fleet.told()
                if fleet.settled:
                    if not examined:
                        self._journal.info("all_examined", status=_status(self.told))
                    examined = True
                    announcer.missing(self.told.missing)
                notifier.status(_status(self.told))
            announcer.tend()
            notifier.alive()
            if over:
                break
            timeout = min(min(next_look, next_told) - time.monotonic(), notifier.wait_seconds())
            for ready in wait([*names, signals.fileno()], max(timeout, 0.0)):
                if ready in names:
                    fleet.take(names[ready])
                    next_told = min(next_told, time.monotonic() + _TOLD_SECONDS)
            signals.take_hangup()
        self.told = fleet.told()
        fleet.write_all()
        announcer.finish()
        self._journal.info("stopped", status=_status(self.told))
        return self.told.status if once and not signals.stop_asked else 0


def _status(told: Told) -> str:
    counts: dict[str, int] = {}
    for log in told.logs:
        name = log.verdict or "not examined"
        counts[name] = counts.get(name, 0) + 1
    parts = [f"{count} {name}" for name, count in counts.items()]
    parts += [f"{len(told.missing)} missing"] if told.missing else []
    return ", ".join(parts) or "no log"
