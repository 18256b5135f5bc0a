"""How much is read of the log files of a log, at most: linear in the bytes that lie on the disk.

A compressed file, or one with holes, can hold any number of bytes. What an agent writes holds no more than 64
times what it takes, beside a sum that all log files of a log have together: beyond that a file is not read,
and the verdict says so (docs/format.md, 14.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

from epochseal.storage.holes import TIMES, stored_bytes
from epochseal.storage.opener import NotAFileError

SHARED = 256 << 20
"""So many bytes more, of all log files of a log together."""
_SEARCH_SHARED, _SEARCH_SEAL, _SEARCH_LOG = 64 << 20, 16, 4


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one log file may cost, in bytes.

    Args:
        stored: what it takes on the disk.
        plain: so many of its plain bytes are read.
        search: what looking for blocks costs that are not at their place.
    """

    stored: int
    plain: int
    search: int

    @property
    def block(self) -> int:
        """A block that is kept in memory has at most so many bytes."""
        return SHARED // 8 + 2 * self.stored


NOTHING = Reading(0, 0, 0)


def allot(files: Sequence[tuple[int, int, int]]) -> list[Reading]:
    """For each log file in order: bytes on the disk, bytes that its lines seal, bytes of its seal file."""
    shared, whole = SHARED, max(sum(lines for _, _, lines in files), 1)
    out = []
    for stored, sealed, lines in files:
        own = TIMES * stored
        more = min(max(sealed - own, 0), shared)
        shared -= more
        search = _SEARCH_SHARED * lines // whole + _SEARCH_SEAL * lines + _SEARCH_LOG * stored
        # One byte more than what is sealed says whether something follows.
        out.append(Reading(stored, own + more + 1, search))
    return out


def reading_of(path: Path, sealed: int) -> Reading:
    """For a log file by itself, of which `sealed` bytes are asked for.

    Raises:
        GoneError, StorageError: it cannot be looked at.
    """
    stored = 0
    # What is no file is as good as an empty one.
    with suppress(NotAFileError):
        stored = stored_bytes(path)
    return allot([(stored, sealed, 0)])[0]


def shares(budget: int, sizes: Iterable[int]) -> list[int]:
    """A budget, divided among parts of these sizes."""
    bounds = list(accumulate(sizes, initial=0))
    whole = max(bounds[-1], 1)
    return [budget * stop // whole - budget * start // whole for start, stop in pairwise(bounds)]
