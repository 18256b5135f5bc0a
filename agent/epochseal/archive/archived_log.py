"""One log and its archive: what is still to be put there, and putting it, one file after the other.

The order is what makes it safe under a kill at any moment. A file's name and digest are recorded before the
first byte is sent, so that an object which is there afterwards under that name is known to be ours: this
credential can put, and cannot look. The log file goes before the seal file: a segment with a seal file in the
archive is whole there. Only when both are there is the receipt written, and only then the segment may expire.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from epochseal.config.model import LogConfig
from epochseal.errors import EpochsealError, FormatError, StorageError
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.storage.log_past import CHECKPOINTS, checkpoint_name, read_checkpoint
from epochseal.storage.object_uploads import PART, ObjectExists, ObjectUploads, Upload, UploadLost
from epochseal.storage.opener import GoneError, open_file
from epochseal.storage.segments import FOLDER, Segment, list_segments
from epochseal.upkeep.archive_receipts import BegunUpload, ReceiptFile

_PIECE = 1 << 20


@dataclass(slots=True)
class ArchiveState:
    """What is told of a log: segments that wait, since when the oldest does (s, 0 for none), failures."""

    waiting: int = 0
    waiting_bytes: int = 0
    oldest: float = 0.0
    archived: int = 0
    archived_bytes: int = 0
    failures: int = 0
    error: str = ""


class ArchivedLog:
    """Puts the ended segments of one log into its archive.

    Args:
        config: the log, with `archive` and `archive_receipts`.
        uploads: the bucket.
        stopping: asked between two parts.
    """

    def __init__(self, config: LogConfig, uploads: ObjectUploads, stopping: Callable[[], bool]) -> None:
        archive = config.archive
        if archive is None:
            raise AssertionError("only logs that have an archive are archived")
        self.origin, self.state = config.origin, ArchiveState()
        self._dir, self._archive, self._uploads, self._stopping = config.dir, archive, uploads, stopping
        self._compressed = config.compress != "none"
        self._file = ReceiptFile(config.archive_receipts, config.dir, str(archive))
        self._receipts = self._file.read()

    def look(self) -> None:
        """Put what there is to put. A failure is told in `state`, and tried again at the next look."""
        try:
            self._put_checkpoint()
            for segment in self._waiting():
                if self._stopping():
                    return
                self._put_segment(segment)
            self.state.error = ""
        except EpochsealError as exc:
            self.state.failures += 1
            self.state.error = str(exc)
        self._waiting()

    def _waiting(self) -> list[Segment]:
        """The segments that have ended and are not there, the oldest first."""
        state, segments = self.state, list_segments(self._dir).segments
        ended = [item for item in self._ended(segments) if not self._receipts.has(item)]
        state.waiting, state.waiting_bytes, state.oldest = len(ended), 0, 0.0
        for segment in ended:
            for path in (*segment.logs, segment.seal):
                if path is None:
                    continue
                try:
                    found = path.stat()
                except OSError:
                    continue
                state.waiting_bytes += found.st_size
                # When it was finished: nothing is added to it since.
                state.oldest = min(state.oldest or time.time(), found.st_mtime)
        return ended

    def _ended(self, segments: Sequence[Segment]) -> list[Segment]:
        ended = []
        packed = [item.number for item in segments if any(path.suffix != ".log" for path in item.logs)]
        for segment, later in pairwise(segments):
            # As for compression: a later segment counts only once it has a line.
            begun = later.seal is not None and later.seal.stat().st_size > 0
            if not begun or segment.seal is None or len(segment.logs) != 1:
                continue
            # An archive has one form of a log file: where they are compressed, a plain one waits, unless it
            # was passed over and stays as it is.
            plain = segment.logs[0].suffix == ".log"
            if plain and self._compressed and max(packed, default=0) < segment.number:
                continue
            ended.append(segment)
        return ended

    def _put_segment(self, segment: Segment) -> None:
        digests = {}
        for path in (*segment.logs, segment.seal):
            if path is None:
                continue
            try:
                digests[path.name] = self._put_file(path)
            except GoneError:
                # Just compressed, or pruned by hand: the next look sees what is there then.
                return
        on_disk = {item.stem for item in list_segments(self._dir).segments}
        known = self._receipts.segments
        kept = {stem: names for stem, names in known.items() if stem in on_disk}
        self._record(segments={**kept, segment.stem: digests}, halves={}, begun=None)
        self.state.archived += 1

    def _put_file(self, path: Path) -> str:
        key = f"{self._archive.key}/{FOLDER}/{path.name}"
        size, digest = _digest(path)
        if self._receipts.halves.get(path.name) == digest:
            # It was put, and the other file of its segment was not: what is found there now is ours.
            return digest
        begun = self._receipts.begun
        again = begun is not None and (begun.name, begun.size, begun.digest) == (path.name, size, digest)
        if not again or begun is None:
            begun = BegunUpload(path.name, size, digest)
            self._record(begun=begun)
        try:
            if size <= PART:
                with open_file(path) as file:
                    self._uploads.put(key, file.pread(size, 0))
            else:
                self._put_parts(key, path, begun)
        except ObjectExists:
            # Each attempt is one request. If the first one finds an object, somebody else put it; a later one
            # may find what an earlier one put, whose answer was lost or whose process was killed.
            begun.foreign = begun.foreign or not again
            if begun.foreign:
                self._record(begun=begun)
                raise
        self._record(halves={**self._receipts.halves, path.name: digest}, begun=None)
        self.state.archived_bytes += size
        return digest

    def _put_parts(self, key: str, path: Path, begun: BegunUpload) -> None:
        uploads = self._uploads
        upload = Upload(begun.upload, list(begun.parts)) if begun.upload else uploads.begin(key)
        try:
            begun.upload = upload.id
            self._record(begun=begun)
            while uploads.put_part(key, upload, path):
                begun.parts = list(upload.parts)
                self._record(begun=begun)
                if self._stopping():
                    raise StorageError(f"{path.name}: stopped between two parts", "it goes on from there")
            uploads.finish(key, upload, begun.size)
        except UploadLost:
            begun.upload, begun.parts = "", []
            self._record(begun=begun)
            raise

    def _put_checkpoint(self) -> None:
        try:
            raw = read_checkpoint(self._dir)
            size = parse_checkpoint(parse_note(raw).text).size
        except (GoneError, FormatError):
            return
        if size <= self._receipts.checkpoint:
            return
        # If there is one of that size, it was signed twice, or an answer was lost.
        with suppress(ObjectExists):
            self._uploads.put(f"{self._archive.key}/{CHECKPOINTS}/{checkpoint_name(size)}", raw)
        self._record(checkpoint=size, begun=self._receipts.begun)

    def _record(self, **changed: object) -> None:
        self._receipts = replace(self._receipts, **changed)
        self._file.write(self._receipts)


def _digest(path: Path) -> tuple[int, str]:
    digest, position = hashlib.sha256(), 0
    with open_file(path) as file:
        while data := file.pread(_PIECE, position):
            digest.update(data)
            position += len(data)
    return position, digest.hexdigest()
