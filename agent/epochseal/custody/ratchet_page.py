"""The ratchet's page: a work area and two slots, so that a kill at any instruction leaves one whole state.

Layout, in bytes: 0 the work area (D, C and scratch: empty between calls), 4096 slot A, 18432 slot B. A slot
is generation (8, little-endian, 0: empty) · record length (4) · SHA-256 of all the rest (32) · key (32) ·
record. The key of the next line is derived straight into the slot that is not in use; publishing writes that
slot's generation last, and only then the old slot is wiped.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from epochseal.custody import ratchet
from epochseal.custody.memory import SecretPage
from epochseal.errors import StorageError

PAGE_SIZE = 32768
_WORK = 4096
_SLOT = (PAGE_SIZE - _WORK) // 2
_GENERATION = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_LENGTH_AT = _GENERATION.size
_CHECKSUM_AT = _LENGTH_AT + _LENGTH.size
_KEY_AT = _CHECKSUM_AT + 32
_RECORD_AT = _KEY_AT + 32
_CLEARED = bytes(_SLOT)
_CLEARED_KEY = bytes(ratchet.KEY_SIZE)
_SCRATCH = 2  # behind the keys of the two slots
MAX_RECORD = _SLOT - _RECORD_AT
"""A record is at most this long, in bytes."""


class RatchetPage:
    """Two slots for one ratchet key and the public state that belongs to it."""

    def __init__(self, page: SecretPage) -> None:
        self._page = page
        work = page.view[:_WORK]
        self.secret_and_carry = work[:64]
        self.secret = work[:32]
        self.carry = work[32:64]
        self.scratch = work[64:96]
        self._slots = (page.view[_WORK : _WORK + _SLOT], page.view[_WORK + _SLOT : PAGE_SIZE])
        self._current = 0
        self._generation = 0
        self._keys = [*(slot[_KEY_AT:_RECORD_AT] for slot in self._slots), self.scratch]
        self._advance = [[ratchet.advance_between(key, into) for into in self._keys] for key in self._keys]

    @property
    def survives(self) -> bool:
        """Whether the page outlives the process (a file on tmpfs), so that a record is worth writing."""
        return self._page.kind == "file"

    @property
    def key(self) -> memoryview:
        """The 32 bytes of the current key."""
        return self._keys[self._current]

    @property
    def next_key(self) -> memoryview:
        """Where the next key is to be written before `publish`."""
        return self._keys[1 - self._current]

    def tag_lines(self, previous_tag: bytes, leaves: Sequence[bytes]) -> list[bytes]:
        """The tags of lines with these leaves; the key of the line behind them is left in `next_key`.

        Args:
            previous_tag: that of the line before the first.
            leaves: 32 bytes each, at least one.
        """
        new = 1 - self._current
        # The keys go to the new slot and to the scratch area in turns, so that the last is in the slot.
        at, into = self._current, new if len(leaves) % 2 else _SCRATCH
        tags, tag = [], previous_tag
        try:
            for leaf in leaves:
                tag = ratchet.compute_tag(self._keys[at], tag, leaf)
                self._advance[at][into]()
                tags.append(tag)
                at, into = into, new + _SCRATCH - into
        finally:
            self.scratch[:] = _CLEARED_KEY
        return tags

    def publish(self, record: bytes) -> None:
        """Make `next_key` and `record` the state, then wipe what was the state before.

        Raises:
            StorageError: the record does not fit in a slot; the old state stands.
        """
        new, old = self._slots[1 - self._current], self._slots[self._current]
        if _RECORD_AT + len(record) > _SLOT:
            new[_KEY_AT:_RECORD_AT] = bytes(32)
            raise StorageError(f"the state of {len(record)} bytes does not fit in its page")
        end = _RECORD_AT + len(record)
        new[_RECORD_AT:end] = record
        _LENGTH.pack_into(new, _LENGTH_AT, len(record))
        generation = _GENERATION.pack(self._generation + 1)
        if self.survives:
            new[_CHECKSUM_AT:_KEY_AT] = _checksum(new, generation, end)
        new[: _GENERATION.size] = generation
        self._wipe_slot(old)
        self._current = 1 - self._current
        self._generation += 1

    def republish(self, record: bytes) -> None:
        """Make `record` the state beside the same key.

        Raises:
            StorageError: as `publish`.
        """
        self.next_key[:] = self.key
        self.publish(record)

    def load(self) -> bytes | None:
        """Find the state that an earlier process left: its record, or None. All else in the page is wiped."""
        self._page.view[:_WORK] = bytes(_WORK)
        found: list[tuple[int, int, bytes]] = []
        for place, slot in enumerate(self._slots):
            (generation,) = _GENERATION.unpack_from(slot)
            (length,) = _LENGTH.unpack_from(slot, _LENGTH_AT)
            end = _RECORD_AT + length
            if (
                generation
                and end <= _SLOT
                and slot[_CHECKSUM_AT:_KEY_AT] == _checksum(slot, bytes(slot[: _GENERATION.size]), end)
            ):
                found.append((generation, place, bytes(slot[_RECORD_AT:end])))
        if not found:
            self.wipe()
            return None
        self._generation, self._current, record = max(found)
        slot = self._slots[1 - self._current]
        slot[:] = _CLEARED
        return record

    def wipe(self) -> None:
        """Forget everything."""
        self._page.wipe()
        self._generation = 0

    def close(self) -> None:
        """Give the page back; a page in a file keeps its state, any other is wiped."""
        # What holds the addresses of the keys goes first: they are not to outlive the mapping.
        self._advance = []
        for view in (self.secret_and_carry, self.secret, self.carry, *self._keys, *self._slots):
            view.release()
        self._page.close()

    def _wipe_slot(self, slot: memoryview) -> None:
        (length,) = _LENGTH.unpack_from(slot, _LENGTH_AT)
        slot[: _GENERATION.size] = bytes(_GENERATION.size)
        end = min(_RECORD_AT + length, _SLOT)
        slot[:end] = _CLEARED[:end]


def _checksum(slot: memoryview, generation: bytes, end: int) -> bytes:
    digest = hashlib.sha256(generation)
    digest.update(slot[_LENGTH_AT:_CHECKSUM_AT])
    digest.update(slot[_KEY_AT:end])
    return digest.digest()
