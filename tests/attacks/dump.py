"""One dump of the agent's memory: the page with the ratchet's key, read as a debugger would."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from epochseal.sealing.saved_state import SavedState

_SLOTS = (4096, 18432)
_SLOT = 14336


@dataclass(frozen=True)
class Dump:
    """What stands in a page at one moment.

    Attributes:
        key: of the next line; behind a clean close the carry.
        secret: of the next epoch, where it waits for its announcement to be signed; zero otherwise.
        state: the public state beside the key.
    """

    key: bytes
    secret: bytes
    state: SavedState

    @classmethod
    def of(cls, page: Path) -> Dump:
        """Read the page of an agent that runs."""
        return cls.read(page.read_bytes())

    @classmethod
    def read(cls, raw: bytes) -> Dump:
        """Read what a page held."""
        slots = [raw[at : at + _SLOT] for at in _SLOTS]
        slot = max(slots, key=lambda one: struct.unpack_from("<Q", one))
        (length,) = struct.unpack_from("<I", slot, 8)
        state = SavedState.decode(slot[76 : 76 + length])
        assert state is not None
        return cls(slot[44:76], raw[:32], state)
