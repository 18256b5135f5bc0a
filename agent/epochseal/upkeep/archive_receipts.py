"""What the archiver knows to be in the archive, for itself and for the agent whose segments expire.

One file a log, in a folder that the archiver alone writes. The agent reads it, and lets no segment go whose
receipt is not there. It is replaced as a whole, synced, before what follows from it is done.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from epochseal.encoding import decode_json, encode_json
from epochseal.errors import ConfigError, FormatError
from epochseal.storage.durable import replace_file
from epochseal.storage.opener import GoneError, read_file
from epochseal.storage.segments import Segment, log_name

_MODE = 0o644
_MOST = 64 << 20


class BegunUpload(msgspec.Struct, forbid_unknown_fields=True):
    """A file that was about to be put: `size` and `digest` (SHA-256, hex) are those of its bytes.

    `foreign`: an object of its name was there before it was first sent. `upload` and `parts` as in `Upload`.
    """

    name: str
    size: int
    digest: str
    foreign: bool = False
    upload: str = ""
    parts: list[tuple[str, str]] = []


class Receipts(msgspec.Struct, forbid_unknown_fields=True):
    """What is in the archive of one log.

    `segments` has the SHA-256 of each file by name, of every segment of which both are there; `halves` of the
    files that are there of a segment of which the other one is not. `checkpoint` is the largest tree size of
    which the checkpoint is there; `begun` the file that is on its way.
    """

    archive: str
    segments: dict[str, dict[str, str]] = {}
    halves: dict[str, str] = {}
    checkpoint: int = 0
    begun: BegunUpload | None = None

    def has(self, segment: Segment) -> bool:
        """Whether the segment is in the archive, whole."""
        return segment.stem in self.segments


class ReceiptFile:
    """The receipts of one log.

    Args:
        folder: where the archiver keeps them.
        logdir: the log's directory.
        archive: the archive's URL; receipts of another one count for nothing.
    """

    def __init__(self, folder: Path, logdir: Path, archive: str) -> None:
        place = hashlib.sha256(bytes(logdir.absolute())).hexdigest()[:12]
        self.path = folder / f"{log_name(logdir)}-{place}.receipts"
        self._archive = archive

    def read(self) -> Receipts:
        """What is known; nothing, if there is no file yet.

        Raises:
            ConfigError: the file is not one of receipts.
            StorageError: it cannot be read.
        """
        try:
            found = decode_json(read_file(self.path, _MOST), Receipts, "receipts")
        except GoneError:
            return Receipts(self._archive)
        except FormatError as exc:
            hint = "remove it: what is in the archive already is put again, and refused by name"
            raise ConfigError(f"{self.path} is no file of receipts: {exc}", hint) from exc
        return found if found.archive == self._archive else Receipts(self._archive)

    def write(self, receipts: Receipts) -> None:
        """Replace them, durably.

        Raises:
            StorageError: they cannot be written.
        """
        replace_file(self.path, encode_json(receipts), _MODE)
