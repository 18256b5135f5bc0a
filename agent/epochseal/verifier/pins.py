"""What a verifier knows of a log beforehand, out of a trust file (docs/trust.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from epochseal.keys import PublicKey
from epochseal.merkle import EMPTY_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the log must be, as far as it is known.

    Args:
        checkpoint_key: the one that signs for the log.
        origin: name of the log; None if any is accepted.
        log: its random id, 32 bytes; None if any is accepted.
        epoch_keys: ids of the wrapping keys that its epochs may have; None if any are accepted.
        cold: epochs that may begin cold, each with the reason that its operator gave.
        size, root, note: the largest checkpoint that was seen, its signature verified; size 0 for none.
    """

    checkpoint_key: PublicKey
    origin: str | None = None
    log: bytes | None = None
    epoch_keys: frozenset[str] | None = None
    cold: Mapping[int, str] = field(default_factory=dict)
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes = b""
