"""The one checkpoint that is due, from the line that asks for it until its note is written.

A later one takes the place of an earlier one: it commits to the same lines and more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from epochseal.errors import BackendError, FormatError, VerificationError
from epochseal.format.note import (
    Checkpoint,
    Note,
    Signature,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    sign_text,
    verify_note,
)
from epochseal.format.seal_lines import encode_note_line
from epochseal.keys import PublicKey
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.last_signer import LastSigner
from epochseal.storage.durable import replace_file
from epochseal.storage.segments import CHECKPOINT_FILE


class NoteWriter(Protocol):
    """Where notes go."""

    @property
    def has_segment(self) -> bool:
        """Whether a pair of files is open, so that a note has a place."""
        ...

    def write_notes(self, lines: bytes) -> None:
        """Append whole note lines to the open seal file, durably."""
        ...


class Checkpoints:
    """What is to be signed of one log, and with which key.

    Attributes:
        due: the checkpoint that waits for its signature.
        signed: the size of the latest one whose note is durable.
        last_signer: who signed the log last.
        replaces: the key that ours replaces without its consent.
        endorser: signs beside the log's key where it is set: the key that takes its place.
        hold: while it is set, no signature is asked for: the next one is to be over a later line.
    """

    def __init__(self, logdir: Path, origin: str, full_disk: FullDisk) -> None:
        self._logdir, self._origin, self._full_disk = logdir, origin, full_disk
        self._key: VerifierKey | None = None
        self._asked: Checkpoint | None = None
        self._held = b""
        self.due: Checkpoint | None = None
        self.signed = 0
        self.last_signer = LastSigner()
        self.replaces: PublicKey | None = None
        self.endorser: Callable[[str], Signature] | None = None
        self.hold = False

    def __len__(self) -> int:
        return 0 if self.due is None else 1

    @property
    def has_key(self) -> bool:
        """Whether the public key is known, which every signature is checked with."""
        return self._key is not None

    def set_key(self, key: PublicKey) -> None:
        """Take the checkpoint key's public half; its name in notes is the origin.

        Raises:
            ConfigError: it is not the log's.
        """
        self.last_signer.check(key, self.replaces)
        self._key = VerifierKey(self._origin, key)

    def read(self, note: bytes) -> Checkpoint | None:
        """The checkpoint that a note holds under our key; None if it does not hold."""
        if self._key is None:
            return None
        try:
            parsed = parse_note(note)
            verify_note(parsed, [self._key])
            return parse_checkpoint(parsed.text)
        except (FormatError, VerificationError):
            return None

    def require(self, checkpoint: Checkpoint) -> None:
        """Have this one signed, in the place of one that is still due."""
        self.due = checkpoint

    def ask(self) -> bytes:
        """The text that the due checkpoint's signature is over; the next signature is taken for its answer.

        Raises:
            BackendError: none is due.
        """
        if self.due is None:
            raise BackendError("no checkpoint is due")
        self._asked = self.due
        return self.due.text().encode()

    def take(self, signature: bytes) -> bytes | None:
        """The signed note; None if another checkpoint took its place meanwhile.

        Raises:
            BackendError: the signature does not verify, or the public key is not known.
        """
        asked, self._asked = self._asked, None
        if asked is None or asked != self.due:
            return None
        if self._key is None:
            raise BackendError("a signature arrived before the public key")
        text = asked.text()
        try:
            own = sign_text(text, self._key, signature)
        except VerificationError as exc:
            raise BackendError(
                "the backend's signature does not verify with its own public key",
                "is the checkpoint URI's public key that of its private key?",
            ) from exc
        return Note(text, (own, self.endorser(text)) if self.endorser is not None else (own,)).encode()

    def write(self, note: bytes, lines: NoteWriter) -> None:
        """Write the due checkpoint's note to its places, durably.

        A finished file never grows. So the note over a `close` that an earlier process could not get is
        written with the next one, into the next segment; until then it stands in the file `checkpoint`.

        Raises:
            StorageError: a file cannot be written.
        """
        self._held += encode_note_line(note)
        if lines.has_segment:
            lines.write_notes(self._held)
            self._held = b""
        self._full_disk.wait_out(partial(replace_file, self._logdir / CHECKPOINT_FILE, note))
        if self.due is not None:
            self.signed = self.due.size
        self.due = None
