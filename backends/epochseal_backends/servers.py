"""What every key server is asked with: limits of time, no plain HTTP, and its words made safe to show."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from epochseal.errors import EpochsealError

CONNECT_SECONDS = 2
READ_SECONDS = 5
TRIES = 3
"""How often a call that changes nothing is made while the server is unavailable."""

AS_VERIFIER = (
    "log in as the verifier. If this is the agent's credential: it must not get this right, or whoever takes "
    "the agent over can rewrite what it sealed"
)
"""The hint of every refused recovery."""

_LONGEST_TEXT = 400


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer of a server means to us; both texts are templates of `str.format`.

    Args:
        error: the class.
        message: what happened.
        hint: what to do about it.
    """

    error: type[EpochsealError]
    message: str
    hint: str | None = None

    def explain(self, **names: object) -> EpochsealError:
        """The error, with these names filled in."""
        return self.error(
            self.message.format(**names), None if self.hint is None else self.hint.format(**names)
        )


def is_this_machine(host: str) -> bool:
    """Whether a host in a URL is a loopback address: what is sent there leaves this machine by no wire."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def one_line(text: str) -> str:
    """A server's words on one line, without what could steer a terminal, and at most 400 characters."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(plain.split())[:_LONGEST_TEXT]
