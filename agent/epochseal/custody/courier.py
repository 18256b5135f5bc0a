"""Backend calls in short-lived children: the agent holds no credential, and no copy that it cannot wipe.

The agent forks a *zygote* before any thread or secret exists; the zygote imports the backends and waits. Each
courier is a fork of it: it logs in, makes its calls, writes the 32 secret bytes into the mailbox page that
all three share, and exits. What the backend's library left behind dies with that address space. A courier
sees the mailbox, never the ratchet's page. The agent speaks to it over a socket pair; secrets are never in a
message.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import traceback
import weakref
from pathlib import Path
from typing import NoReturn

import msgspec

from epochseal.custody.memory import SecretPage, die_with_parent
from epochseal.errors import (
    BackendError,
    ConfigError,
    Denied,
    EpochsealError,
    FormatError,
    Unavailable,
    WrongKey,
)
from epochseal.keys import (
    SECRET_SIZE,
    Backend,
    BackendSettings,
    Context,
    Issued,
    Issuer,
    KeyURI,
    PublicKey,
    Signer,
    load_backend,
    settings_of,
)

CALL_SECONDS = 30
"""A courier without an answer after this many seconds is ended by its own alarm: unavailable."""
_MESSAGE_LIMIT = 1 << 16
_TEXT_LIMIT = 4096
_KINDS: dict[str, type[EpochsealError]] = {
    kind.__name__: kind for kind in (Unavailable, Denied, WrongKey, BackendError, ConfigError, FormatError)
}


class IssueCall(msgspec.Struct, frozen=True, tag="issue"):
    """Ask for the next epoch secret; it arrives in the mailbox."""

    origin: str
    log: bytes
    epoch: int
    prev: bytes


class SignCall(msgspec.Struct, frozen=True, tag="sign"):
    """Ask for a signature over `message`."""

    message: bytes


class KeyCall(msgspec.Struct, frozen=True, tag="key"):
    """Ask for the public half of the checkpoint key."""


class IssueReply(msgspec.Struct, frozen=True, tag="issued"):
    """What may be known of an issued secret."""

    key_id: str
    wrapped: bytes


class SignReply(msgspec.Struct, frozen=True, tag="signed"):
    """A raw signature."""

    signature: bytes


class KeyReply(msgspec.Struct, frozen=True, tag="public"):
    """A public key as `keys.PublicKey` holds it."""

    algorithm: str
    data: bytes


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An error of the call, by the name of our own class."""

    kind: str
    message: str
    hint: str | None


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The zygote has its backends."""


_Call = IssueCall | SignCall | KeyCall
_Reply = IssueReply | SignReply | KeyReply | Failure | Ready


class Courier:
    """The agent's end of one courier: send a call, wait on `fileno`, take the answer; one call at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Readable when an answer, or the courier's end, is there."""
        return self._connection.fileno()

    def ask_issue(self, context: Context) -> None:
        """Ask for the secret of `context`; `take_issued` has the rest."""
        self._send(IssueCall(context.origin, context.log, context.epoch, context.prev))

    def take_issued(self) -> Issued:
        """Wait for the answer to `ask_issue`; the secret is in the mailbox then.

        Raises:
            EpochsealError: as the backend said; Unavailable also when the courier died.
        """
        reply = _receive(self._connection)
        if not isinstance(reply, IssueReply):
            raise _as_error(reply)
        return Issued(reply.key_id, reply.wrapped)

    def ask_signature(self, message: bytes) -> None:
        """Ask for a signature over `message`."""
        self._send(SignCall(message))

    def take_signature(self) -> bytes:
        """Wait for the answer to `ask_signature`.

        Raises:
            EpochsealError: as `take_issued`.
        """
        reply = _receive(self._connection)
        if not isinstance(reply, SignReply):
            raise _as_error(reply)
        return reply.signature

    def ask_key(self) -> None:
        """Ask for the checkpoint key's public half."""
        self._send(KeyCall())

    def take_key(self) -> PublicKey:
        """Wait for the answer to `ask_key`.

        Raises:
            EpochsealError: as `take_issued`.
        """
        reply = _receive(self._connection)
        if not isinstance(reply, KeyReply):
            raise _as_error(reply)
        return PublicKey("ed25519" if reply.algorithm == "ed25519" else "ecdsa-p256", reply.data)

    def close(self) -> None:
        """Let the courier end."""
        self._connection.close()

    def _send(self, call: _Call) -> None:
        try:
            self._connection.send(msgspec.msgpack.encode(call))
        except OSError as exc:
            raise Unavailable(f"the courier is gone: {exc.strerror}") from exc


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
            _Child(epoch_key, checkpoint_key, settings, mailbox).run(theirs, parent)
        theirs.close()
        zygote = cls(ours, pid)
        try:
            zygote._await_ready()
            # Of several logs in one process, each has helpers of its own that see nothing of the others.
            mailbox.keep_from_children()
        except BaseException:
            zygote.close()
            raise
        return zygote

    def _await_ready(self) -> None:
        reply = _receive(self._control)
        if not isinstance(reply, Ready):
            raise _as_error(reply)

    def courier(self) -> Courier:
        """Have a courier forked.

        Raises:
            Unavailable: the zygote is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
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
        with contextlib.suppress(ChildProcessError):  # whoever set SIGCHLD to be ignored had it reaped
            os.waitpid(self.pid, 0)


class _Child:
    """The zygote's side, and after a second fork the courier's."""

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
        try:
            die_with_parent(parent)
            _detach()
            try:
                self._epoch_backend = load_backend(self._epoch_key)
                self._checkpoint_backend = load_backend(self._checkpoint_key)
            except EpochsealError as exc:
                _send_failure(control, exc)
                os._exit(1)
            except Exception as exc:  # noqa: BLE001  # whatever an import throws must reach the agent as an error
                _send_failure(control, foreign_error(exc))
                os._exit(1)
            gc.freeze()
            control.send(msgspec.msgpack.encode(Ready()))
            self._fork_on_demand(control)
        finally:
            os._exit(1)

    def _fork_on_demand(self, control: socket.socket) -> None:
        zygote = os.getpid()
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
            if not message:
                os._exit(0)
            # No process to be had: the agent reads the end of its socket as unavailable, and asks again.
            with contextlib.suppress(OSError):
                if os.fork() == 0:
                    self._become_courier(control, zygote, descriptors[0])
            for descriptor in descriptors:
                os.close(descriptor)

    def _become_courier(self, control: socket.socket, zygote: int, descriptor: int) -> NoReturn:
        try:
            control.close()
            die_with_parent(zygote)
            # A backend's library may start helpers of its own, and wants to see how they end.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self._serve(socket.socket(fileno=descriptor))
        finally:
            os._exit(1)

    def _serve(self, connection: socket.socket) -> NoReturn:
        while message := connection.recv(_MESSAGE_LIMIT):
            # The signal's default action ends the process: a hanging library cannot outlive its call.
            signal.alarm(CALL_SECONDS)
            try:
                reply: _Reply = self._answer(msgspec.msgpack.decode(message, type=_Call))
            except EpochsealError as exc:
                _send_failure(connection, exc)
            except Exception as exc:  # noqa: BLE001  # whatever a library throws must reach the agent as an error
                _send_failure(connection, foreign_error(exc))
            else:
                connection.send(msgspec.msgpack.encode(reply))
            signal.alarm(0)
        os._exit(0)

    def _answer(self, call: _Call) -> _Reply:
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


def _detach() -> None:
    """Hold none of the agent's pipes, and outlive the signals that ask the agent to close cleanly."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Ended couriers leave no zombies: nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def foreign_error(exc: Exception) -> BackendError:
    """An error that is none of ours: its type and place, never its text, which may quote a secret."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return BackendError(
        f"the backend failed with {type(exc).__name__} at {where}",
        "its text is withheld: it could hold a secret",
    )


def _send_failure(connection: socket.socket, exc: EpochsealError) -> None:
    kind = next((base.__name__ for base in type(exc).__mro__ if base.__name__ in _KINDS), "BackendError")
    hint = None if exc.hint is None else exc.hint[:_TEXT_LIMIT]
    connection.send(msgspec.msgpack.encode(Failure(kind, str(exc)[:_TEXT_LIMIT], hint)))


def _receive(connection: socket.socket) -> _Reply:
    try:
        message = connection.recv(_MESSAGE_LIMIT)
    except OSError as exc:
        raise Unavailable(f"the courier is gone: {exc.strerror}") from exc
    if not message:
        raise Unavailable("the courier ended without an answer")
    try:
        reply: _Reply = msgspec.msgpack.decode(message, type=_Reply)
    except msgspec.DecodeError as exc:
        raise BackendError("the courier's answer cannot be read") from exc
    return reply


def _as_error(reply: _Reply) -> EpochsealError:
    if isinstance(reply, Failure):
        return _KINDS.get(reply.kind, BackendError)(reply.message, reply.hint)
    return BackendError(f"the courier gave an answer of another kind: {type(reply).__name__}")
