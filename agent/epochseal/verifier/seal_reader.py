"""The lines of one epoch out of its seal file, none of them longer than a seal line may be."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

from epochseal.errors import StorageError
from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.opener import open_file
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.snapshot import SegmentPart

_BUFFER = 1 << 18


def read_lines(part: SegmentPart, epoch: EpochPart) -> Iterator[bytes]:
    """Each line without its newline; of one that is too long the beginning, which is too long as well.

    Raises:
        GoneError: the file is gone.
        StorageError: it cannot be read.
    """
    try:
        with BufferedReader(open_file(part.seal), _BUFFER) as file:
            file.seek(epoch.start)
            left = epoch.stop - epoch.start
            while left > 0 and (raw := file.readline(min(left, MAX_LINE + 2))):
                left -= len(raw)
                line = raw
                while raw and left > 0 and not raw.endswith(b"\n"):
                    raw = file.readline(min(left, _BUFFER))
                    left -= len(raw)
                yield line.removesuffix(b"\n")
    except OSError as exc:
        raise StorageError(f"cannot read {part.seal}: {exc.strerror}") from exc
