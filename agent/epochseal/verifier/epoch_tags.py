"""The tags that one epoch's lines must have: its secret recovered, its ratchet moved along with the lines."""

from __future__ import annotations

import hashlib

from epochseal.custody import ratchet
from epochseal.encoding import b64decode
from epochseal.errors import FormatError, VerificationError, WrongKey
from epochseal.format.seal_lines import Header, TaggedLine
from epochseal.keys import Context
from epochseal.verifier.keyring import Keyring


class EpochTags:
    """Computes the tags of one epoch, line after line, each place once.

    Args:
        keyring: the page that the keys are kept in, and who recovers the secret; wiped by the caller.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._place = 0
        self._computed_tag = b""
        self.any_held = False
        """Whether one line had its tag; where none has, the epoch was made with another key."""
        self.carry_in: bytes | None = None
        """SHA-256 of the carry that the epoch line holds; None if it holds none."""

    def recover(self, header: Header, raw: bytes) -> tuple[str, str] | None:
        """Recover the epoch's secret and derive its first key; `raw` is the epoch line.

        Returns:
            What is wrong, as the kind of a problem and its detail; None if nothing is.

        Raises:
            BackendError: the backend failed otherwise than by refusing the secret as wrong.
        """
        keyring = self._keyring
        if (recoverer := keyring.recoverer_of(header.key)) is None:
            return "unknown_key", f"the epoch key {header.key} was not named"
        try:
            asked = b64decode(header.asked.tag, "asked")
            context = Context(header.origin, b64decode(header.log, "log"), header.epoch, asked)
            recoverer.recover(b64decode(header.wrapped, "wrapped"), context, keyring.secret)
        except (WrongKey, FormatError) as exc:
            return "key_refused", f"epoch {header.epoch}: {exc}"
        if header.link == "carry":
            sealed = b64decode(header.carry, "carry")
            try:
                ratchet.open_carry(keyring.secret, sealed, context.encode(), keyring.carry, keyring.scratch)
            except VerificationError as exc:
                return "line_altered", f"the epoch line was changed: {exc}"
            self.carry_in = hashlib.sha256(keyring.carry).digest()
        ratchet.derive_epoch_key(keyring.secret_and_carry, raw.rpartition(b" ")[0], keyring.key)
        keyring.secret_and_carry[:] = bytes(64)
        return None

    def holds(self, line: TaggedLine, leaf: bytes, place: int, last_tag: bytes) -> bool:
        """Whether the line's tag is the one that belongs there.

        Args:
            line: the line.
            leaf: its leaf hash.
            place: how many lines of the epoch stand before it in the tree. Not as the line says: a forged
                index could set off any amount of work.
            last_tag: the tag of the line before, as it is written there.
        """
        key = self._keyring.key
        self._move_to(place)
        found = ratchet.compute_tag(key, last_tag, leaf) == line.tag
        if not found and self._computed_tag:
            # Perhaps only the tag of the line before was changed: this one was chained from the right one.
            found = ratchet.compute_tag(key, self._computed_tag, leaf) == line.tag
        self._computed_tag = b"" if found else ratchet.compute_tag(key, last_tag, leaf)
        self._move_to(place + 1)
        self.any_held = self.any_held or found
        return found

    def pass_over(self) -> None:
        """A line whose text is not known stands before the next one: only its tag as written counts."""
        self._computed_tag = b""

    def carry_out(self, place: int) -> bytes | None:
        """SHA-256 of the carry for the next epoch, derived at the end; None if `place` is not reached yet."""
        if self._place != place:
            return None
        ratchet.derive_carry(self._keyring.key, self._keyring.scratch)
        return hashlib.sha256(self._keyring.scratch).digest()

    def _move_to(self, place: int) -> None:
        keyring = self._keyring
        while self._place < place:
            ratchet.advance(keyring.key, keyring.scratch)
            keyring.key[:] = keyring.scratch
            self._place += 1
