"""The daemon: every log of a configuration in a thread of its own, signals and reloading in the main one.

A log that fails ends no other one. The daemon ends when a stop is asked for, when no log runs any more, or
when the process that makes a log's backend calls is gone: it cannot be made again beside threads and keys.

Order of a start (docs/threat-model.md): configuration; for each log its mailbox and zygote, all of them
before any thread; for each log its page, directory lock and sources; then the threads.
"""

from __future__ import annotations

import resource
import select
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from epochseal.config import Configuration, read_config
from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import ConfigError, Denied, EpochsealError, StorageError, WrongKey
from epochseal.exit_statuses import BACKEND, REFUSED, USAGE, VERIFIED
from epochseal.journal import Journal
from epochseal.polling import WakePipe
from epochseal.sealing.login_gate import LoginGates
from epochseal.service.commit_loop import SystemClock, jitter
from epochseal.service.sd_notify import Notifier
from epochseal.service.signals import Signals
from epochseal.service.source_messages import told_in
from epochseal.service.stray_output import StrayOutput
from epochseal.service.supervised_log import SupervisedLog

if TYPE_CHECKING:
    from epochseal.service.metrics_server import MetricsServer

STOP_SECONDS = 40.0
"""A log that is not closed so long after a stop was asked for is left as after a crash."""
_LONGEST_WAIT = 60.0
_FIRST_LOOK = 10.0


class Daemon:
    """All logs of one configuration.

    Args:
        path: the configuration file, read again at SIGHUP.
        env: the overlay, as `read_config` takes it.
        journal: is told what an operator should know.
    """

    def __init__(self, path: Path, env: str | None, journal: Journal) -> None:
        self._path = path
        self._env = env
        self._journal = journal
        self._notifier = Notifier.from_environment()
        self._logs: list[SupervisedLog] = []
        # Never closed: a thread whose log has ended may not have written to it yet.
        self._ended = WakePipe()
        self._listen: str | None = None
        self._metrics: MetricsServer | None = None

    def run(self) -> int:
        """Seal until SIGTERM, SIGINT, or no log runs any more; the exit status, 0 if all logs were closed.

        Raises:
            EpochsealError: the start failed; nothing was sealed.
        """
        config = read_config(self._path, self._env)
        harden_process()
        _allow_descriptors()
        with ExitStack() as stack:
            stray = stack.enter_context(StrayOutput(self._journal))
            stack.enter_context(told_in(self._journal))
            signals = stack.enter_context(Signals().installed())
            self._open(config, stack)
            stack.callback(self._serve, None)
            self._serve(config.metrics_listen.value)
            for log in self._logs:
                log.start()
            self._await_first_look()
            self._notifier.ready(self._state())
            self._watch(signals, stray)
            left = [log for log in self._logs if log.running]
            for log in left:
                log.journal.warning("not_closed", seconds=STOP_SECONDS, reason="left as after a crash")
            if left:
                # A thread that did not end in time may be in the middle of a write. Files, locks and keys
                # stay as they are, so that nothing is closed under it; the process ends now in any case.
                stack.pop_all()
            errors = [log.error for log in self._logs if log.error is not None]
            if any(isinstance(error, Denied | WrongKey) for error in errors):
                return REFUSED
            if errors and all(isinstance(error, ConfigError) for error in errors):
                # Such as a key that is not the log's: a restart does not mend it.
                return USAGE
            return BACKEND if left or errors else VERIFIED

    def _open(self, config: Configuration, stack: ExitStack) -> None:
        helpers = []
        for log in config.logs:
            mailbox = stack.enter_context(SecretPage())
            # A zygote ends when the last copy of its socket is closed. Zygotes forked later hold copies of
            # the earlier ones' sockets, so they have to be closed in the reverse order.
            zygote = Zygote.start(log.epoch_key, log.checkpoint_key, log.backend_settings, mailbox)
            stack.callback(zygote.close)
            helpers.append((log, zygote, mailbox))
        gates = LoginGates(SystemClock().monotonic, jitter)
        for log, zygote, mailbox in helpers:
            running = SupervisedLog(log, zygote, mailbox, self._journal, self._ended, gates)
            stack.callback(running.close)
            self._logs.append(running)
            try:
                running.open()
            except EpochsealError as exc:
                raise _named(log.name, exc) from exc
        failed = [(log, log.error) for log in self._logs if log.error is not None]
        if len(failed) == len(self._logs):
            first, error = failed[0]
            raise _named(first.name, error)
        for one, error in failed:
            one.journal.error("failed", error)

    def _await_first_look(self) -> None:
        # A service that is started behind us may rotate its files at once, and a name that was never seen
        # before it moved cannot be told from one that was always there.
        until = time.monotonic() + _FIRST_LOOK
        for log in self._logs:
            log.wait_for_look(max(until - time.monotonic(), 0.0))

    def _watch(self, signals: Signals, stray: StrayOutput) -> None:
        poll = select.poll()
        poll.register(signals.fileno(), select.POLLIN)
        poll.register(self._ended.fileno(), select.POLLIN)
        poll.register(stray.fileno(), select.POLLIN)
        deadline: float | None = None
        # A thread sets `ended` and then wakes this loop, both while it still runs. By `is_alive` it would not
        # have ended at that moment, and nothing would wake the loop again.
        while any(log.running for log in self._logs):
            left = _LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            waits = [left, self._notifier.wait_seconds(), *(log.wait_seconds() for log in self._logs)]
            poll.poll(min(waits) * 1000)
            self._ended.clear()
            stray.take()
            # A log that failed is no reason to let the manager kill the others: it is tended here.
            if not any(log.hung for log in self._logs):
                self._notifier.alive()
            self._serve_again()
            if signals.take_hangup() and deadline is None:
                self._reload()
            before = self._state()
            for log in self._logs:
                log.tend()
            if deadline is None and (state := self._state()) != before:
                self._notifier.status(state)
            if deadline is None and (signals.stop_asked or any(log.needs_new_process for log in self._logs)):
                deadline = time.monotonic() + STOP_SECONDS
                self._notifier.stopping("closing the logs")
                for log in self._logs:
                    log.stop()

    def _state(self) -> str:
        """In one line, for `systemctl status`."""
        running = ", ".join(log.name for log in self._logs if log.running)
        failed = ", ".join(log.name for log in self._logs if not log.running and log.error is not None)
        return f"sealing {running}" + (f"; failed: {failed}" if failed else "")

    # --- reloading ----------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Read the file again, and begin new segments; a file that is wrong changes nothing."""
        self._notifier.reloading()
        try:
            self._adjust(read_config(self._path, self._env))
        except (ConfigError, StorageError) as exc:
            # Such as an address that another program has: the agent goes on as it was.
            self._journal.error("not_reloaded", exc)
        else:
            self._journal.info("reloaded")
        for log in self._logs:
            log.hangup()
        self._notifier.ready()

    def _adjust(self, config: Configuration) -> None:
        self._serve(config.metrics_listen.value)
        wanted = {log.name: log for log in config.logs}
        for log in self._logs:
            if (new := wanted.pop(log.name, None)) is None:
                log.journal.warning("restart_needed", reason="the log is not in the configuration any more")
            elif waiting := log.adjust(new):
                log.journal.warning("restart_needed", reason=f"these changed: {', '.join(waiting)}")
        for name in wanted:
            self._journal.warning("restart_needed", log=name, reason="the log is new in the configuration")

    def _serve_again(self) -> None:
        """Listen again where the thread for metrics has ended, which nothing else would show."""
        if self._metrics is not None and not self._metrics.serving:
            listen = self._listen
            try:
                self._serve(None)
                self._serve(listen)
            except EpochsealError as exc:
                self._journal.error("metrics", exc)

    def _serve(self, listen: str | None) -> None:
        """Serve metrics there and nowhere else; an address that cannot be used leaves all as it is.

        Raises:
            ConfigError: the address cannot be used, or the library is missing.
        """
        if listen == self._listen:
            return
        server = None
        if listen is not None:
            from epochseal.service.metrics_server import start_metrics  # noqa: PLC0415  # only where it is wanted

            server = start_metrics(listen, [log.view for log in self._logs])
            self._journal.info("metrics", listen=f"{server.address[0]}:{server.address[1]}")
        before, self._metrics, self._listen = self._metrics, server, listen
        if before is not None:
            before.close()


def _named(name: str, error: BaseException) -> BaseException:
    """The same error, which says of which log it is."""
    return type(error)(f"log {name}: {error}", error.hint) if isinstance(error, EpochsealError) else error


def _allow_descriptors() -> None:
    """Use as many descriptors as the hard limit allows: the soft one is meant for programs that `select`.

    Clients and files take theirs within limits of their own; sealing must never be what finds none left.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Who started it may have set a limit that the kernel refuses now: then what there is has to do.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
