"""What `epochseal doctor` asks of a backend: findings about keys, beyond what their use shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import msgspec

from epochseal.keys import Context, KeyURI

Outcome = Literal["good", "wrong", "unknown"]

PROBE_LOG = bytes(32)
"""The log id of secrets that are issued to see whether it works: no log has it, so a trail tells them."""


class KeyFinding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Args:
        topic: what, in a few words, such as `epoch key is derived`.
        outcome: `wrong` must be mended before the agent is trusted; `unknown` could not be looked at.
        detail: what was seen, in one line.
        hint: what to do about it.
    """

    topic: str
    outcome: Outcome
    detail: str
    hint: str | None = None


class Examiner(Protocol):
    """An optional power of a backend module."""

    def examine_epoch_key(
        self, uri: KeyURI, settings: Mapping[str, str], origin: str
    ) -> Iterator[KeyFinding]:
        """Properties of the wrapping key, and what the agent's credential may do with it and must not.

        Args:
            uri: the key.
            settings: of its family.
            origin: the log's: what a policy allows or refuses may depend on it.

        Raises:
            Denied, Unavailable, ConfigError: no more can be looked at.
        """
        ...

    def examine_checkpoint_key(self, uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
        """Properties of the signing key, and what the agent's credential may do with it and must not.

        Raises:
            Denied, Unavailable, ConfigError: no more can be looked at.
        """
        ...


def probe_context(origin: str) -> Context:
    """The context of a secret that no log will use."""
    return Context(origin, PROBE_LOG, 0, bytes(32))
