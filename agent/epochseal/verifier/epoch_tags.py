"""The keys of one epoch: its secret recovered, its carry opened, its tags checked (docs/format.md, 6)."""

from __future__ import annotations

import hashlib

from epochseal.custody import ratchet
from epochseal.custody.line_tags import step_key, tag_lines
from epochseal.encoding import b64decode, b64encode
from epochseal.errors import VerificationError
from epochseal.format.block_columns import spell
from epochseal.format.seal_lines import Header
from epochseal.verifier.epoch_secrets import NoKeyError
from epochseal.verifier.keyring import Keyring

_STEPS = 4096
"""So many keys wait at once to be forgotten."""


class RunTags:
    """Checks the tags of lines that follow each other, from the key at some place of an epoch.

    Args:
        key: 32 bytes of a page: the key of the line at `place`.
        before: 32 bytes of a page, for the time of a call.
        place: the number of that line in its epoch.
    """

    def __init__(self, key: memoryview, before: memoryview, place: int) -> None:
        self._key, self._before = key, before
        self.place = place

    def hold(
        self, place: int, last_tag: bytes, leaves: list[bytes], texts: list[bytes]
    ) -> list[bytes] | None:
        """The tags of lines that follow each other, if each holds; the key goes on behind them only then.

        `texts` are the tags as they are written, in base64.
        """
        if self.place != place:
            return None
        self._before[:] = self._key
        tags = tag_lines(self._key, last_tag, leaves)
        held = spell(tags, texts)
        if held:
            self.place += len(leaves)
        else:
            self._key[:] = self._before
        self._before[:] = bytes(ratchet.KEY_SIZE)
        return tags if held else None


class EpochTags:
    """Steps an epoch's key from line to line.

    The ratchet does not depend on data, so a damaged line costs only itself: the chain goes on from the tag
    as it is written.

    Raises:
        NoKeyError: the key was not named, or the secret or the carry does not belong to it.
        BackendError: the backend failed otherwise than by refusing the secret as wrong.
    """

    def __init__(self, header: Header, payload: bytes, keyring: Keyring) -> None:
        self._keyring = keyring
        self.run = RunTags(keyring.key, keyring.key_before, 0)
        self._computed = b""
        self.carry_in: bytes | None = None
        context = keyring.secrets.take(header, keyring.secret)
        if header.link == "carry":
            sealed = b64decode(header.carry, "carry")
            try:
                ratchet.open_carry(keyring.secret, sealed, context.encode(), keyring.carry, keyring.scratch)
            except VerificationError as exc:
                raise NoKeyError("line_altered", f"the epoch line was changed: {exc}") from exc
            self.carry_in = hashlib.sha256(keyring.carry).digest()
        ratchet.derive_epoch_key(keyring.secret_and_carry, payload, keyring.key)
        keyring.secret_and_carry[:] = bytes(64)

    def holds(self, place: int, last_tag: bytes, leaf: bytes, tag: bytes) -> bool:
        """Whether the tag of the line at this place of the epoch holds; the key goes on behind it.

        `last_tag` is the tag of the line before, as it is written.
        """
        self._step_to(place)
        # Nearly every line holds, and then its tag and the next key cost a third.
        if self.hold(place, last_tag, [leaf], [b64encode(tag).encode()]) is not None:
            return True
        key = self._keyring.key
        found = ratchet.compute_tag(key, last_tag, leaf) == tag
        if not found and self._computed:
            # If only the tag of the line before was changed, this one was chained from what belongs there.
            found = ratchet.compute_tag(key, self._computed, leaf) == tag
        self._computed = b"" if found else ratchet.compute_tag(key, last_tag, leaf)
        self._step_to(place + 1)
        return found

    def hold(
        self, place: int, last_tag: bytes, leaves: list[bytes], texts: list[bytes]
    ) -> list[bytes] | None:
        """As that of `RunTags`."""
        return None if self._computed else self.run.hold(place, last_tag, leaves, texts)

    @property
    def settled(self) -> bool:
        """Whether the tag of the line before held, so that a run may follow."""
        return not self._computed

    @property
    def key(self) -> memoryview:
        """The place of the key of the next line."""
        return self._keyring.key

    def step_over(self, count: int) -> None:
        """Leave so many lines to somebody else."""
        self.run.place += count
        for left in range(count, 0, -_STEPS):
            step_key(self._keyring.key, min(left, _STEPS))

    def go_back(self, place: int, key: memoryview) -> None:
        """The next line is the one at this place, with this key."""
        self._keyring.key[:] = key
        self.run.place = place

    def forget_computed(self) -> None:
        """A line that has no place of its own stands between."""
        self._computed = b""

    def carry_out(self, place: int) -> bytes | None:
        """SHA-256 of what the epoch hands on, if the line before `place` was its `end`."""
        if self.run.place != place:
            return None
        ratchet.derive_carry(self._keyring.key, self._keyring.scratch)
        return hashlib.sha256(self._keyring.scratch).digest()

    def _step_to(self, place: int) -> None:
        keyring = self._keyring
        while self.run.place < place:
            ratchet.advance(keyring.key, keyring.scratch)
            keyring.key[:] = keyring.scratch
            self.run.place += 1
