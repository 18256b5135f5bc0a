"""The agent's end of a courier, the short-lived process that makes backend calls (zygote.py)."""

from __future__ import annotations

import socket
import time

import msgspec

from epochseal.custody.courier_messages import (
    Call,
    IssueCall,
    IssueReply,
    KeyCall,
    KeyReply,
    SignCall,
    SignReply,
    as_error,
    receive,
)
from epochseal.errors import Unavailable
from epochseal.keys import Context, Issued, PublicKey


class Courier:
    """The agent's end of one courier: send a call, wait on `fileno`, take the answer; one call at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._asked = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long the call has been under way."""
        return time.monotonic() - self._asked

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
        reply = receive(self._connection)
        if not isinstance(reply, IssueReply):
            raise as_error(reply)
        return Issued(reply.key_id, reply.wrapped)

    def ask_signature(self, message: bytes) -> None:
        """Ask for a signature over `message`."""
        self._send(SignCall(message))

    def take_signature(self) -> bytes:
        """Wait for the answer to `ask_signature`.

        Raises:
            EpochsealError: as `take_issued`.
        """
        reply = receive(self._connection)
        if not isinstance(reply, SignReply):
            raise as_error(reply)
        return reply.signature

    def ask_key(self) -> None:
        """Ask for the checkpoint key's public half."""
        self._send(KeyCall())

    def take_key(self) -> PublicKey:
        """Wait for the answer to `ask_key`.

        Raises:
            EpochsealError: as `take_issued`.
        """
        reply = receive(self._connection)
        if not isinstance(reply, KeyReply):
            raise as_error(reply)
        return PublicKey("ed25519" if reply.algorithm == "ed25519" else "ecdsa-p256", reply.data)

    def close(self) -> None:
        """Let the courier end."""
        self._connection.close()

    def _send(self, call: Call) -> None:
        self._asked = time.monotonic()
        try:
            self._connection.send(msgspec.msgpack.encode(call))
        except OSError as exc:
            raise Unavailable(f"the courier is gone: {exc.strerror}") from exc
