"""A log of the daemon, whose failure costs no other log: it is started again where waiting may mend it."""

from __future__ import annotations

import math
import threading
import time

from epochseal.config import LogConfig
from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.errors import EpochsealError
from epochseal.journal import Journal
from epochseal.polling import WakePipe
from epochseal.sealing.login_gate import LoginGates
from epochseal.service.failures import TELL_SECONDS, RetryDelay, needs_person
from epochseal.service.health import LogView
from epochseal.service.log_thread import LogThread

FIRST_DELAY = 2.0
"""Seconds from a failure to the first new start, as the unit has it for the whole daemon."""


class SupervisedLog:
    """One log, in one thread after the other.

    A log that failed is started again in this process: after 2 seconds, then twice as long up to a minute.
    Not where a setting is wrong or a credential was refused, which only a person mends; and not without the
    process that makes its backend calls, which cannot be made again here.

    Args:
        config: of the log.
        zygote: makes its backend calls.
        mailbox: where their secrets arrive.
        journal: is told what an operator should know.
        ended: is woken when a thread has ended.
        gates: of the logins that it shares with other logs.
    """

    def __init__(
        self,
        config: LogConfig,
        zygote: Zygote,
        mailbox: SecretPage,
        journal: Journal,
        ended: WakePipe,
        gates: LoginGates,
    ) -> None:
        self._zygote, self._mailbox, self._journal, self._ended = zygote, mailbox, journal, ended
        self._gates = gates
        self._config = self._latest = config
        self._log = LogThread(config, zygote, mailbox, journal, gates)
        self._opened = False
        self._known_end = self._stopping = False
        self._delay = RetryDelay(FIRST_DELAY)
        self._retry_at = self._tell_at = math.inf

    @property
    def name(self) -> str:
        """The log's name."""
        return self._config.name

    @property
    def journal(self) -> Journal:
        """With the log's name in every event."""
        return self._log.journal

    @property
    def view(self) -> LogView:
        """What metrics and the health page show: the same object through all starts."""
        return self._log.view

    @property
    def running(self) -> bool:
        """Whether its thread has not ended."""
        return self._opened and not self._log.ended

    @property
    def error(self) -> BaseException | None:
        """What it failed with; None while it runs, and where it was closed cleanly."""
        return self._log.error

    @property
    def needs_new_process(self) -> bool:
        """Whether only a new daemon can go on with it: the process for its backend calls is gone."""
        return self._log.ended and self._log.error is not None and bool(self._zygote.look())

    @property
    def hung(self) -> bool:
        """Whether its loop does not come round any more."""
        return self.running and self._log.signals.hung

    # --- starting -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open it for the first time.

        Raises:
            EpochsealError: as `LogThread.open`, where only a person can mend it. Any other error is kept:
                it is tried again once the other logs run.
        """
        try:
            self._log.open()
        except EpochsealError as exc:
            self._log.failed(exc)
            if needs_person(exc):
                raise
            return
        self._opened = True

    def start(self) -> None:
        """Run it in a thread, if it is open."""
        if self._opened:
            self._start_thread(opened=True)
        else:
            self._log.close()
            self._log.ended = True
            self.tend()

    def wait_for_look(self, seconds: float) -> None:
        """Wait until its sources have looked at what there is: what moves from then on was seen before."""
        self._log.looked.wait(seconds)

    def tend(self) -> None:
        """Notice that it failed, start it again when it is due, and tell what still stands still."""
        error, now = self._log.error, time.monotonic()
        if not self._log.ended or error is None:
            return
        if not self._known_end:
            self._known_end = True
            self._tell_at = now + TELL_SECONDS
            waits = not (self._stopping or needs_person(error) or self._zygote.look())
            self._retry_at = now + self._delay.after_failure() if waits else math.inf
        if now >= self._retry_at:
            self._start_again()
        elif now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            self.journal.error("not_sealing", error)

    def wait_seconds(self) -> float:
        """Until `tend` has something to do."""
        return max(0.0, min(self._retry_at, self._tell_at) - time.monotonic())

    def _start_again(self) -> None:
        self._known_end, self._retry_at, self._tell_at = False, math.inf, math.inf
        self._log.signals.close()
        self._log = LogThread(
            self._config, self._zygote, self._mailbox, self._journal, self._gates, self._log.view
        )
        self._log.adjust(self._latest)
        self._opened = True
        self._start_thread(opened=False)

    def _start_thread(self, *, opened: bool) -> None:
        log, ended = self._log, self._ended

        def run() -> None:
            try:
                log.run(opened=opened)
            finally:
                ended.wake()

        threading.Thread(target=run, name=self.name, daemon=True).start()

    # --- what is passed on ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for a clean close; it is not started again."""
        self._stopping, self._retry_at = True, math.inf
        self._log.signals.stop()

    def hangup(self) -> None:
        """Ask for a new segment."""
        self._log.signals.hangup()

    def adjust(self, config: LogConfig) -> list[str]:
        """As `LogThread.adjust`; the next start has these settings too."""
        self._latest = config
        return self._log.adjust(config)

    def close(self) -> None:
        """Give up what it holds."""
        self._log.close()
        self._log.signals.close()
