"""The messages between agent, zygote and couriers: calls, answers and errors, never a secret."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path

import msgspec

from epochseal.encoding import UNREADABLE
from epochseal.errors import (
    BackendError,
    ConfigError,
    CredentialRefused,
    Denied,
    EpochsealError,
    FormatError,
    Unavailable,
    WrongKey,
)

MESSAGE_LIMIT = 1 << 16
"""Bytes of one message at the most."""
_TEXT_LIMIT = 4096
_KINDS: dict[str, type[EpochsealError]] = {
    kind.__name__: kind
    for kind in (Unavailable, CredentialRefused, Denied, WrongKey, BackendError, ConfigError, FormatError)
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


Call = IssueCall | SignCall | KeyCall
Reply = IssueReply | SignReply | KeyReply | Failure | Ready
# Made here, once: the threads of several logs come to it at the same time (decoders.json_decoder).
_replies = msgspec.msgpack.Decoder[Reply](Reply)


def foreign_error(exc: Exception) -> BackendError:
    """An error that is none of ours: its type and place, never its text, which may quote a secret."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return BackendError(
        f"the backend failed with {type(exc).__name__} at {where}",
        "its text is withheld: it could hold a secret",
    )


def send_failure(connection: socket.socket, exc: EpochsealError) -> None:
    """Answer with an error, by the name of the nearest class that the agent knows."""
    kind = next((base.__name__ for base in type(exc).__mro__ if base.__name__ in _KINDS), "BackendError")
    hint = None if exc.hint is None else exc.hint[:_TEXT_LIMIT]
    connection.send(msgspec.msgpack.encode(Failure(kind, str(exc)[:_TEXT_LIMIT], hint)))


def receive(connection: socket.socket) -> Reply:
    """Wait for an answer.

    Raises:
        Unavailable: whoever was to give it has ended.
        BackendError: it cannot be read.
    """
    try:
        message = connection.recv(MESSAGE_LIMIT)
    except ConnectionResetError:  # it ended before it had read what it was asked
        message = b""
    except OSError as exc:
        raise Unavailable(f"the courier is gone: {exc.strerror}") from exc
    if not message:
        raise Unavailable(
            "the courier ended without an answer", "was it killed, or short of memory? see the kernel's log"
        )
    try:
        reply: Reply = _replies.decode(message)
    except UNREADABLE as exc:
        raise BackendError("the courier's answer cannot be read") from exc
    return reply


def as_error(reply: Reply) -> EpochsealError:
    """The error that an answer stands for which is not of the kind that was asked for."""
    if isinstance(reply, Failure):
        return _KINDS.get(reply.kind, BackendError)(reply.message, reply.hint)
    return BackendError(f"the courier gave an answer of another kind: {type(reply).__name__}")
