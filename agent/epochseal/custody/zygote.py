"""Backend calls in short-lived children: the agent holds no credential, and no copy that it cannot wipe.

The agent forks a *zygote* before any thread or secret exists; the zygote imports the backends and waits. Each
courier is a fork of it: it logs in, makes its calls, writes the 32 secret bytes into the mailbox page that
all three share, and exits. What the backend's library left behind dies with that address space. A courier
sees the mailbox, never the ratchet's page. The agent speaks to it over a socket pair; secrets are never in a
message.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import weakref

from epochseal.custody.courier import Courier
from epochseal.custody.courier_messages import Ready, as_error, receive
from epochseal.custody.courier_process import CourierProcess
from epochseal.custody.memory import SecretPage
from epochseal.errors import Unavailable
from epochseal.keys import BackendSettings, KeyURI
from epochseal.polling import is_readable

STOPPED_SECONDS = 5.0
"""A process that was stopped (SIGSTOP) is given so long to be continued, then it counts as gone."""
COUNTED_SECONDS = 1.0
"""At most so much of the time between two looks counts: the agent itself may have been held still as well."""
END_SECONDS = 5.0
"""So long it has to end by itself."""
_controls: weakref.WeakSet[socket.socket] = weakref.WeakSet()


class Zygote:
    """The agent's end of the process that couriers are forked from.

    Attributes:
        pid: that process.
    """

    def __init__(self, control: socket.socket, pid: int) -> None:
        self._control = control
        _controls.add(control)
        self.pid = pid
        self._seen_stopped: float | None = None
        self._stopped_seconds = 0.0

    @classmethod
    def start(
        cls, epoch_key: KeyURI, checkpoint_key: KeyURI, settings: BackendSettings, mailbox: SecretPage
    ) -> Zygote:
        """Fork the zygote; to be called before any thread, lock or other secret exists in this process.

        Args:
            epoch_key: issues secrets.
            checkpoint_key: signs; it may be of another family.
            settings: by family; each backend is handed those of its own.
            mailbox: where secrets arrive.

        Raises:
            ConfigError: a backend cannot be loaded.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        if (pid := os.fork()) == 0:
            ours.close()
            for control in _controls:
                control.close()
            CourierProcess(epoch_key, checkpoint_key, settings, mailbox).run(theirs, parent)
        theirs.close()
        zygote = cls(ours, pid)
        try:
            zygote._await_ready()
            # One process may seal several logs, each with a zygote of its own: those that are forked later
            # must not see this mailbox.
            mailbox.keep_from_children()
        except BaseException:
            zygote.close()
            raise
        return zygote

    def _await_ready(self) -> None:
        reply = receive(self._control)
        if not isinstance(reply, Ready):
            raise as_error(reply)

    def fileno(self) -> int:
        """Readable when the process has ended, and only then; -1 after `close`."""
        return self._control.fileno()

    def look(self) -> str:
        """Why no courier will ever come any more; empty while there is hope.

        It cannot be made again: it has to be forked before there are threads and secrets.
        """
        if self._control.fileno() < 0 or is_readable(self._control.fileno(), 0):
            return "the process that makes backend calls has ended"
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_code != os.CLD_STOPPED:
                self._seen_stopped, self._stopped_seconds = None, 0.0
                return ""
            # A debugger or a freezer that holds all of us lets one process go on before the other: what the
            # agent slept through says nothing about its child.
            now = time.monotonic()
            if self._seen_stopped is not None:
                self._stopped_seconds += min(now - self._seen_stopped, COUNTED_SECONDS)
            self._seen_stopped = now
            if self._stopped_seconds > STOPPED_SECONDS:
                return "the process that makes backend calls is stopped"
        return ""

    def end_courier(self) -> None:
        """End the last courier, whatever it is at: it writes no secret into the mailbox any more."""
        with contextlib.suppress(
            OSError
        ):  # it is gone, and its couriers with it; or it does not hear: `look`
            self._control.send(b"end", socket.MSG_DONTWAIT)

    def courier(self) -> Courier:
        """Have a courier forked; one that was made before is ended first.

        Raises:
            Unavailable: the zygote is gone, or no descriptors are left.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as exc:
            raise Unavailable(f"no socket can be made for a backend call: {exc.strerror}") from exc
        try:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()], socket.MSG_DONTWAIT)
        except OSError as exc:
            ours.close()
            raise Unavailable(f"the process that makes backend calls is gone: {exc.strerror}") from exc
        finally:
            theirs.close()
        return Courier(ours)

    def close(self) -> None:
        """End the zygote by the end of its socket; closing again does nothing."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        # One that is known to be stopped would not see that, however long it is waited for.
        deadline = time.monotonic() + (END_SECONDS if self._seen_stopped is None else 0.0)
        with contextlib.suppress(ChildProcessError):  # whoever set SIGCHLD to be ignored had it reaped
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    # Stopped, or hanging: it is our child and not reaped yet, so the number is still its own.
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return
                time.sleep(0.002)
