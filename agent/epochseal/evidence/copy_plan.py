"""Which files a copy of a log is to have, and where each comes from: the log, or the copy before.

What is finished never changes. So a finished segment that the copy has is kept as it is, in the form that it
has, also where the log has compressed it since; and where the log shows another one, or a shorter log,
somebody changed one of the two: then nothing is written over the copy, which may be the evidence of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epochseal.errors import ConfigError, StorageError
from epochseal.evidence.copy_place import CopyPlace
from epochseal.storage.opener import GoneError, read_file
from epochseal.storage.segments import Listing, Segment

_HINT = "epochseal verify both, keep both, and copy into another directory"
_BEGINNING = 2 << 20
"""Two lines have room in it."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file: `finished` if nothing is ever added to it, `ours` if it comes from the copy before."""

    source: Path
    finished: bool
    ours: bool = False

    @property
    def name(self) -> str:
        """Its name there and here."""
        return self.source.name


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """The files in the order in which they are to be copied; `only_here` segments have expired in the log."""

    files: list[PlannedFile]
    segments: int
    only_here: int


def plan_copy(listing: Listing, place: CopyPlace, size: int, *, links: bool, delete: bool) -> CopyPlan:
    """Plan the copy of what is listed; `size` is the tree size that the log's `checkpoint` states.

    Args:
        listing: of the log.
        place: where the copy is to be.
        size: of the log's tree, as its `checkpoint` states it.
        links: a file of the copy may be another name of the log's file.
        delete: what has expired in the log goes from the copy too.

    Raises:
        ConfigError: the copy that is there does not fit the log.
        GoneError: a file has gone since it was listed.
        StorageError: a file cannot be looked at.
    """
    if size < place.size:
        raise ConfigError(
            f"the log has {size:,} signed lines, and its copy in {place.folder} has {place.size:,}", _HINT
        )
    there, before = listing.segments, place.published.segments
    first, last = (there[0].number, there[-1].number) if there else (0, 0)
    if before and before[-1].number > last and _was_used(before[-1]):
        raise ConfigError(f"the log ends before its copy in {place.folder}", _HINT)
    if before and before[-1].number < first and not delete:
        # The last one of the copy may not have been finished, so that nothing can follow it either.
        raise ConfigError(
            f"segments {before[-1].number} to {first - 1} expired before they were copied to {place.folder}",
            "copy into another directory, or --delete here what has expired in the log",
        )
    older = [item for item in before if item.number < first and not delete]
    finished = {item.number: item for item in before[:-1] if first <= item.number < last}
    files = [PlannedFile(path, finished=True, ours=True) for item in older for path in item.files()]
    for item in there:
        kept = finished.get(item.number)
        if kept is not None:
            _check_same(item, kept, place.folder)
        files += _files_of(item, kept, is_last=item.number == last, links=links)
    return CopyPlan(files, len(there) + len(older), len(older))


def _files_of(item: Segment, kept: Segment | None, *, is_last: bool, links: bool) -> list[PlannedFile]:
    """The seal file first: what it says is in the log file by the time that this is read."""
    main = [PlannedFile(path, finished=not is_last) for path in _main_files(item)]
    if kept is not None:
        own = [PlannedFile(path, finished=True, ours=True) for path in _main_files(kept)]
        # Without links: what an earlier run has linked is copied now.
        if links or not any(_same_file(one.source, other.source) for one in own for other in main):
            main = own
    aside = [PlannedFile(path, finished=False) for path in (item.unsealed, item.torn) if path is not None]
    return main + aside


def _check_same(item: Segment, kept: Segment, folder: Path) -> None:
    """Refuse a finished segment that is not as long as it was; compressed since, its seal file still is."""
    sizes = {path.name: _size(path) for path in _main_files(kept)}
    found = {path.name: _size(path) for path in _main_files(item)}
    if item.stem != kept.stem or any(sizes.get(name, size) != size for name, size in found.items()):
        raise ConfigError(f"segment {item.number} of the log is not the one of its copy in {folder}", _HINT)


def _main_files(item: Segment) -> list[Path]:
    return [path for path in (item.seal, *item.logs) if path is not None]


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def _was_used(item: Segment) -> bool:
    """Whether it has an epoch line and more: else a start removes it (docs/format.md, 10.6)."""
    raw = read_file(item.seal, _BEGINNING) if item.seal is not None else b""
    return raw.startswith(b"epoch ") and (raw.count(b"\n") > 1 or any(_size(path) for path in item.logs))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        raise StorageError(f"cannot look at {path}: {exc.strerror}") from exc
