"""Checkpoints from the moment they are due until their notes stand in seal file and `checkpoint`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from epochseal.errors import BackendError, VerificationError
from epochseal.format.note import Checkpoint, Note, Signature, VerifierKey, sign_text
from epochseal.format.seal_lines import encode_note_line
from epochseal.keys import PublicKey
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.last_signer import LastSigner
from epochseal.storage.durable import replace_file
from epochseal.storage.segments import CHECKPOINT_FILE, SegmentWriter

_LONGEST_QUEUE = 8


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """A checkpoint that waits for its signature, and the segment that its note goes to."""

    checkpoint: Checkpoint
    writer: SegmentWriter


class Checkpoints:
    """The queue of one log's unsigned checkpoints, the oldest first; its length is how many there are.

    `last_signer` is who signed the log last; `replaces` the key that ours replaces without its consent.
    `endorser` signs beside the log's key where it is set: the key that takes its place.

    A segment that the log has gone on from is handed over (`retire`) and closed when no note of it is due.
    """

    def __init__(self, logdir: Path, origin: str, full_disk: FullDisk) -> None:
        self._logdir = logdir
        self._full_disk = full_disk
        self._origin = origin
        self._key: VerifierKey | None = None
        self.last_signer = LastSigner()
        self.replaces: PublicKey | None = None
        self.endorser: Callable[[str], Signature] | None = None
        self._queue: deque[_Unsigned] = deque()
        self._retired: list[SegmentWriter] = []

    def __len__(self) -> int:
        return len(self._queue)

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

    def add(self, checkpoint: Checkpoint, writer: SegmentWriter) -> None:
        """Queue a checkpoint; its note goes to the seal file of `writer`."""
        self._queue.append(_Unsigned(checkpoint, writer))
        while len(self._queue) > _LONGEST_QUEUE:
            # A later checkpoint covers all lines of an earlier one, so an earlier one may be left out. Not
            # the first: its signature may have been asked for already.
            del self._queue[1]
        self._close_unused()

    def message(self) -> bytes:
        """The text that the oldest checkpoint's signature is over."""
        return self._queue[0].checkpoint.text().encode()

    def signed(self, signature: bytes) -> bytes:
        """The oldest checkpoint as a signed note.

        Raises:
            BackendError: the signature does not verify.
        """
        if self._key is None:
            raise BackendError("a signature arrived before the public key")
        text = self._queue[0].checkpoint.text()
        try:
            own = sign_text(text, self._key, signature)
        except VerificationError as exc:
            raise BackendError(
                "the backend's signature does not verify with its own public key",
                "is the checkpoint URI's public key that of its private key?",
            ) from exc

        return Note(text, (own, self.endorser(text)) if self.endorser is not None else (own,)).encode()

    def write(self, note: bytes) -> int:
        """Write the oldest checkpoint's note to its places, durably; the size of its tree.

        Raises:
            StorageError: a file cannot be written.
        """
        item = self._queue[0]
        self._full_disk.wait_out(partial(item.writer.append_lines, encode_note_line(note)))
        self._full_disk.wait_out(lambda: replace_file(self._logdir / CHECKPOINT_FILE, note))
        self._queue.popleft()
        self._close_unused()
        return item.checkpoint.size

    def retire(self, writer: SegmentWriter) -> None:
        """Take over a segment that is not appended to any more, but for its notes."""
        self._retired.append(writer)
        self._close_unused()

    def close(self) -> None:
        """Forget what is unsigned and close the retired segments."""
        self._queue.clear()
        self._close_unused()

    def _close_unused(self) -> None:
        wanted = {id(item.writer) for item in self._queue}
        for writer in [writer for writer in self._retired if id(writer) not in wanted]:
            self._retired.remove(writer)
            writer.close()
