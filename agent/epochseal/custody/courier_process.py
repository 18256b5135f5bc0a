"""What runs in a courier, and before the fork that makes it in the zygote.

Only here is a backend's library imported and called: what it keeps of a secret goes with the process.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from epochseal.custody.courier_messages import (
    MESSAGE_LIMIT,
    Call,
    IssueCall,
    IssueReply,
    KeyReply,
    Ready,
    Reply,
    SignCall,
    SignReply,
    foreign_error,
    send_failure,
)
from epochseal.custody.memory import SecretPage, die_with_parent
from epochseal.errors import EpochsealError, Unavailable
from epochseal.keys import (
    SECRET_SIZE,
    Backend,
    BackendSettings,
    Context,
    Issuer,
    KeyURI,
    Signer,
    load_backend,
    settings_of,
)
from epochseal.polling import is_readable

CALL_SECONDS = 30
"""A call that is not over after this many seconds, whatever came by then, is given up: unavailable."""
_LAST_SECONDS = 3
"""A library that takes the alarm for an error of its own is ended with the process after so many more."""
CALL_MEMORY = 512 << 20
"""Bytes of address space that a courier may take beyond the zygote's: an answer without end ends here."""


class CourierProcess:
    """What a courier is made from: the zygote first (`run`), then each child that it forks."""

    def __init__(
        self, epoch_key: KeyURI, checkpoint_key: KeyURI, settings: BackendSettings, mailbox: SecretPage
    ) -> None:
        self._epoch_key = epoch_key
        self._checkpoint_key = checkpoint_key
        self._epoch_settings = settings_of(epoch_key, settings)
        self._checkpoint_settings = settings_of(checkpoint_key, settings)
        self._mailbox = mailbox
        self._epoch_backend: Backend
        self._checkpoint_backend: Backend
        self._issuer: Issuer | None = None
        self._signer: Signer | None = None

    def run(self, control: socket.socket, parent: int) -> NoReturn:
        """Be the zygote: import the backends, then fork a courier for each socket that arrives.

        Args:
            control: where sockets come from; its end is the end of this process.
            parent: the agent's process id, without which this process does not live.
        """
        try:
            die_with_parent(parent)
            _detach()
            try:
                self._epoch_backend = load_backend(self._epoch_key)
                self._checkpoint_backend = load_backend(self._checkpoint_key)
            except EpochsealError as exc:
                send_failure(control, exc)
                os._exit(1)
            except Exception as exc:  # noqa: BLE001  # whatever an import throws must reach the agent as an error
                send_failure(control, foreign_error(exc))
                os._exit(1)
            gc.freeze()
            control.send(msgspec.msgpack.encode(Ready()))
            self._fork_on_demand(control)
        finally:
            os._exit(1)

    def _fork_on_demand(self, control: socket.socket) -> None:
        zygote, last = os.getpid(), None
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
            if not message:
                os._exit(0)
            # One at a time: an earlier one that still is in a call, or was stopped, would write into the
            # mailbox whenever its answer came, over the secret of this one.
            if last is not None:
                _end(last)
                last = None
            for descriptor in descriptors:
                last = self._fork(control, zygote, descriptor)
                os.close(descriptor)

    def _fork(self, control: socket.socket, zygote: int, descriptor: int) -> int | None:
        """Make a courier; something that stands for it as long as it is not ended for sure."""
        try:
            if (pid := os.fork()) == 0:
                self._become_courier(control, zygote, descriptor)
        except OSError as exc:
            with socket.socket(fileno=os.dup(descriptor)) as connection, contextlib.suppress(OSError):
                send_failure(connection, Unavailable(f"no process can be made for the call: {exc.strerror}"))
            return None
        # If it has ended by now, and nobody waits for it, there is nothing to be had, and nothing to end.
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
        return None

    def _become_courier(self, control: socket.socket, zygote: int, descriptor: int) -> NoReturn:
        try:
            control.close()
            die_with_parent(zygote)
            # A backend's library may start helpers of its own, and wants to see how they end.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _limit_memory()
            self._serve(socket.socket(fileno=descriptor))
        finally:
            os._exit(1)

    def _serve(self, connection: socket.socket) -> NoReturn:
        while message := connection.recv(MESSAGE_LIMIT):
            signal.signal(signal.SIGALRM, _give_up)
            signal.alarm(CALL_SECONDS)
            try:
                reply: Reply = self._answer(msgspec.msgpack.decode(message, type=Call))
            except _TimeIsUpError:
                late = Unavailable(f"the backend gave no whole answer within {CALL_SECONDS} seconds")
                send_failure(connection, late)
                os._exit(1)
            except MemoryError:
                size = CALL_MEMORY >> 20
                send_failure(connection, Unavailable(f"the backend's answer needs more than {size} MiB"))
                os._exit(1)
            except EpochsealError as exc:
                send_failure(connection, exc)
            except Exception as exc:  # noqa: BLE001  # whatever a library throws must reach the agent as an error
                send_failure(connection, foreign_error(exc))
            else:
                connection.send(msgspec.msgpack.encode(reply))
            signal.alarm(0)
        os._exit(0)

    def _answer(self, call: Call) -> Reply:
        if isinstance(call, IssueCall):
            issuer = self._issuer or self._epoch_backend.issuer(self._epoch_key, self._epoch_settings)
            self._issuer = issuer
            context = Context(call.origin, call.log, call.epoch, call.prev)
            issued = issuer.issue(context, self._mailbox.view[:SECRET_SIZE])
            return IssueReply(issued.key_id, issued.wrapped)
        signer = self._signer or self._checkpoint_backend.signer(
            self._checkpoint_key, self._checkpoint_settings
        )
        self._signer = signer
        if isinstance(call, SignCall):
            return SignReply(signer.sign(call.message))
        key = signer.public_key()
        return KeyReply(key.algorithm, key.data)


class _TimeIsUpError(BaseException):
    """A call lasts too long; no `Exception`, which a library would take for an error that it may retry."""


def _give_up(_number: int, _frame: FrameType | None) -> None:
    # Whoever catches even this has few seconds left: then the signal's default action ends the process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LAST_SECONDS)
    raise _TimeIsUpError


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most, hard = pages * resource.getpagesize() + CALL_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(
        resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )


def _end(courier: int) -> None:
    """End the process behind this descriptor, and see that it is over: it writes nowhere any more."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(courier, signal.SIGKILL)
        is_readable(courier, _LAST_SECONDS)
    os.close(courier)


def _detach() -> None:
    """Hold none of the agent's pipes, and outlive the signals that ask the agent to close cleanly."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Ended couriers leave no zombies: nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
