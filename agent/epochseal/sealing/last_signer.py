"""Who signed a log last. A start with another checkpoint key is refused: the log would have two signers.

What is read here is not verified: it only keeps an agent from going on with a key that the log has left, or
that was never its own. Verification is the verifier's.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.format.note import Note, VerifierKey, parse_checkpoint, parse_note, parse_vkey, verify_note
from epochseal.format.seal_lines import KeyKind, NoteLine, Rotate, TaggedLine, parse_line
from epochseal.keys import PublicKey
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import Segment, list_segments


@dataclass(frozen=True, slots=True)
class LastSigner:
    """The last note of a log, and the rotate lines of the segment that it stands in, the latest of each kind.

    Attributes:
        origin: of the log.
        note: None if there is none yet.
        rotated: index and body of the last rotate line of the checkpoint key before that note.
        epoch_key: the last rotate line of the epoch key behind the last epoch line; the next epoch is to have
            the new key.
    """

    origin: str = ""
    note: Note | None = None
    rotated: tuple[int, Rotate] | None = None
    epoch_key: Rotate | None = None

    def check(self, key: PublicKey, replaces: PublicKey | None = None) -> None:
        """Refuse to sign with a key that is not the log's.

        Args:
            key: the one that the configuration names.
            replaces: a key that `key` takes the place of without its consent.

        Raises:
            ConfigError: the log is signed by another key, went over to another one, or not yet to this one.
        """
        if self.note is None:
            return
        ours = VerifierKey(self.origin, key)
        if self._is_signed_by(ours):
            if self.rotated is not None:
                self._check_rotated(ours, *self.rotated, unfinished=replaces is None)
            return
        if replaces is not None and self._is_signed_by(VerifierKey(self.origin, replaces)):
            return
        found = ", ".join(f"{item.name}+{item.key_id.hex()}" for item in self.note.signatures)
        raise ConfigError(
            f"checkpoint key {_name(ours)} is not the log's: its last checkpoint is signed by {found}",
            "name that key, or go over to this one with epochseal rotate",
        )

    def check_epoch_key(self, key_id: str) -> None:
        """Refuse an epoch secret by a key that the log has left.

        Raises:
            ConfigError: a rotate line says that another key took its place.
        """
        if self.epoch_key is not None and key_id == self.epoch_key.old:
            raise ConfigError(
                f"epoch key {key_id} is not the log's any more: {self.epoch_key.new} took its place",
                "name the new key as epoch_key",
            )

    def _is_signed_by(self, key: VerifierKey) -> bool:
        try:
            return self.note is not None and bool(verify_note(self.note, [key]))
        except VerificationError:
            return False

    def _check_rotated(self, ours: VerifierKey, index: int, body: Rotate, *, unfinished: bool) -> None:
        new = parse_vkey(body.new)
        if ours.vkey == body.old and self._is_signed_by(new):
            # The note has both signatures, because the old key endorsed the new one: from here on it is the
            # new one's log.
            raise ConfigError(
                f"checkpoint key {_name(ours)} is not the log's any more: {_name(new)} took its place",
                "name the new key as checkpoint_key",
            )
        size = parse_checkpoint(self.note.text).size if self.note is not None else 0
        if unfinished and ours == new and size <= index:
            raise ConfigError(
                f"line {index} gives the log the key {_name(ours)}, and no checkpoint endorses that",
                "run epochseal rotate again",
            )


def read_last_signer(logdir: Path, origin: str, trusted: int | None = None) -> LastSigner:
    """Read the last note of a log, looking backwards.

    Args:
        logdir: the log's directory.
        origin: of the log.
        trusted: nothing from the line with this index on is looked at: somebody else may have written it, and
            must not say whose log this is. None to look at everything.

    Raises:
        StorageError: a seal file cannot be read.
    """
    found = LastSigner(origin)
    last = True
    for segment in reversed(list_segments(logdir).segments):
        with mapped(segment.seal) as whole:
            content = whole if trusted is None else _trusted_part(whole, trusted)
            if last and content:
                found, last = replace(found, epoch_key=_epoch_key(content)), False
            if (read := _last_note(content)) is not None:
                return replace(found, note=read[0], rotated=read[1])
    return found


def read_rotates(segment: Segment) -> list[Rotate]:
    """The rotate lines of a segment that can be read, in order.

    Raises:
        StorageError: its seal file cannot be read.
    """
    with mapped(segment.seal) as content:
        found = [body for kind in get_args(KeyKind) for body in _rotates(content, kind, len(content), 0)]
        return [body for _, body in sorted(found, key=lambda item: item[0])]


def _trusted_part(content: mmap.mmap | bytes, trusted: int) -> mmap.mmap | bytes:
    """What stands before the line with this index, and the notes directly before it."""
    end = stop = len(content)
    while stop > 0:
        start = content.rfind(b"\n", 0, stop - 1) + 1
        kind, _, rest = content[start : start + 40].partition(b" ")
        index = rest.partition(b" ")[0]
        if kind != b"note":
            if index.isdigit() and int(index) < trusted:
                return content if end == len(content) else content[:end]
            end = start
        stop = start
    return b""


def _last_note(content: mmap.mmap | bytes) -> tuple[Note, tuple[int, Rotate] | None] | None:
    stop = len(content)
    while (start := content.rfind(b"\nnote ", 0, stop)) >= 0:
        try:
            line = parse_line(content[start + 1 : _line_end(content, start + 1)])
            note = parse_note(line.note) if isinstance(line, NoteLine) else None
        except FormatError:
            note = None
        if note is not None:
            return note, next(_rotates(content, "checkpoint", start, 0), None)
        stop = start
    return None


def _epoch_key(content: mmap.mmap | bytes) -> Rotate | None:
    header = content.rfind(b"\nepoch ") + 1
    found = next(_rotates(content, "epoch", len(content), header), None)
    return found[1] if found is not None else None


def _rotates(content: mmap.mmap | bytes, key: str, stop: int, first: int) -> Iterator[tuple[int, Rotate]]:
    """The rotate lines of this kind between two places, the last one first."""
    while (start := content.rfind(b"\nrotate ", first, stop)) >= 0:
        try:
            line = parse_line(content[start + 1 : _line_end(content, start + 1)])
        except FormatError:
            stop = start
            continue
        if isinstance(line, TaggedLine) and isinstance(line.body, Rotate) and line.body.key == key:
            yield line.index, line.body
        stop = start


def _line_end(content: mmap.mmap | bytes, start: int) -> int:
    end = content.find(b"\n", start)
    return end if end >= 0 else len(content)


def _name(key: VerifierKey) -> str:
    return f"{key.name}+{key.key_id.hex()}"
