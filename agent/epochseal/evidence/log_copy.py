"""A copy of a log that may be written meanwhile: it always verifies as far as it goes.

The order, and why no verifier calls the copy tampered (docs/format.md, 10.8):

1. `checkpoint`, then `witnessed`. Lines are durable before they are signed, so all lines below these are in
   the files that are read from here on.
2. The names in `segments/`. Whatever gets a name later is not in the copy: it ends with the segment that was
   the last one.
3. The segments before the last. They are finished: no byte is added to them or taken away, so each may be
   linked instead of copied, and may be there from an earlier run. `.unsealed` and `.torn` are the exception,
   because a start may append to them.
4. The last one, its seal file first. Entries are durable before their lines, so the log file, read later,
   has all entries of those lines; what it has beyond them follows the sealed end of a segment that is open.

A file that is gone when it is to be read has expired or was compressed: begin again at 1, with what is
copied already. The same if a next segment has been begun meanwhile, or the end is one that a living agent is
just about to go on from: it is waited for, for a moment, as a verifier waits (13.2). How the copy takes its
place: copy_place.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.encoding import b64encode
from epochseal.errors import ConfigError, StorageError
from epochseal.evidence.copy_place import TIMESTAMPS, WITNESSED_FILE, CopyPlace, read_note
from epochseal.evidence.copy_plan import PlannedFile, plan_copy
from epochseal.evidence.known_logs import peek_log_id
from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.durable import make_directory, sync_directory
from epochseal.storage.file_copy import copy_file, link_file
from epochseal.storage.opener import GoneError, NotAFileError, open_file, read_file
from epochseal.storage.segments import CHECKPOINT_FILE, Listing, list_segments
from epochseal.storage.settling import SETTLE_SECONDS
from epochseal.verifier.seal_files import SealFile, cut_seal_file
from epochseal.verifier.seal_tail import Tail, is_unfinished, read_tail
from epochseal.verifier.snapshot import stated_size

_PASSES = 100
"""A pass that finds a file gone is begun again so often."""
_LEAST_PASSES = 5
"""For an end that stands still it is waited for some seconds, and for so many passes."""
_STEP_SECONDS = 0.1
_FRESH_SECONDS = 30.0


@dataclass(slots=True)
class Count:
    """So many files, of so many bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(slots=True)
class CopiedLog:
    """What a copy holds: how each of its files came there, and where it ends.

    `kept` files were there already. `only_here` is the number of segments that have expired in the log
    since. `settled` is False if the log was still in the middle of something when the copy stopped waiting
    for it.
    """

    log: str
    segments: int
    tree_size: int
    copied: Count = field(default_factory=Count)
    linked: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    only_here: int = 0
    settled: bool = True
    foreign_files: list[str] = field(default_factory=list)


def copy_log(
    logdir: Path,
    folder: Path,
    *,
    links: bool = True,
    delete: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CopiedLog | None:
    """Copy a log, or bring its copy up to date; None: there is no log.

    Args:
        logdir: the log; nothing in it is changed, and no link in it is followed.
        folder: the directory of the copy.
        links: give finished files a second name where that is possible, instead of copying them.
        delete: what has expired in the log goes from the copy too.
        progress: told the bytes done, and the bytes in all.

    Raises:
        ConfigError: the copy that is there is of another log, or of a longer one, or the two differ; or the
            log has expired beyond the end of the copy.
        NotAFileError: a file of the log is a link or no regular file.
        StorageError: a file cannot be read or written, or the log changes all the time.
        LogBusy: another copy is made there.
    """
    if not list_segments(logdir).segments and read_note(logdir / CHECKPOINT_FILE) is None:
        return None
    with CopyPlace(folder, logdir) as place:
        run = _CopyRun(logdir, place, links=links, delete=delete, progress=progress)
        found = run.copy()
        _copy_timestamps(logdir / TIMESTAMPS, folder / TIMESTAMPS)
    return found


class _CopyRun:
    def __init__(
        self,
        logdir: Path,
        place: CopyPlace,
        *,
        links: bool,
        delete: bool,
        progress: Callable[[int, int], None],
    ) -> None:
        self._logdir, self._place = logdir, place
        self._links, self._delete, self._progress = links, delete, progress
        # Of each file that this run has put into the work folder: how it came there, and what the log had.
        self._how: dict[str, str] = {}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._done = self._total = 0

    def copy(self) -> CopiedLog:
        """Go over the log until nothing is missing and the end stands still, then publish the copy."""
        deadline, whole = 0.0, 0
        for _ in range(_PASSES):
            try:
                checkpoint = read_note(self._logdir / CHECKPOINT_FILE)
                witnessed = read_note(self._logdir / WITNESSED_FILE)
                found = self._pass(stated_size(checkpoint or b""))
            except GoneError:
                time.sleep(_STEP_SECONDS)
                continue
            whole += 1
            deadline = deadline or time.monotonic() + SETTLE_SECONDS
            if found.settled or (whole >= _LEAST_PASSES and time.monotonic() > deadline):
                self._place.publish(checkpoint, witnessed)
                return found
            time.sleep(_STEP_SECONDS)
        raise StorageError(
            f"the files of {self._logdir} go away faster than they are copied",
            "copy again: what was copied is kept; let segments live longer",
        )

    def _pass(self, size: int) -> CopiedLog:
        """Copy what is listed and not there yet; `size` is what the log's `checkpoint` states."""
        listing = list_segments(self._logdir)
        if listing.not_files:
            raise NotAFileError(
                f"{listing.not_files[0]} in {self._logdir} is no regular file",
                "epochseal verify says what that means; links in a log are not followed",
            )
        log = self._check_log(listing)
        plan = plan_copy(listing, self._place, size, links=self._links, delete=self._delete)
        self._forget_others({item.name for item in plan.files})
        self._done, self._total = 0, sum(_size(item.source) for item in plan.files)
        counts = {"copied": Count(), "linked": Count(), "kept": Count()}
        for item in plan.files:
            self._take(item)
            count = counts[self._how[item.name]]
            count.files += 1
            count.bytes += _size(self._place.work / item.name)
        self._progress(self._total, self._total)
        seals = [self._place.work / item.name for item in plan.files if item.name.endswith(".seal")]
        return CopiedLog(
            log,
            plan.segments,
            size,
            **counts,
            only_here=plan.only_here,
            settled=self._is_settled(listing, seals[-2:]),
            foreign_files=list(listing.foreign),
        )

    def _check_log(self, listing: Listing) -> str:
        """The log's id, empty if no line of it says so.

        Raises:
            ConfigError: the copy that is there is of another log, or nothing shows that it is of this one.
            GoneError: the first segment has just gone.
        """
        there, here = peek_log_id(self._logdir), peek_log_id(self._place.folder)
        if (
            there is None
            and listing.segments
            and not all(path.exists() for path in listing.segments[0].files())
        ):
            raise GoneError(f"{listing.segments[0].stem} has gone")
        # A copy that ends in the middle of its first line, or before it, may be of any log.
        if (here is None or there != here) and _has_line(self._place.published):
            names = [
                f"the log {b64encode(name)}" if name else "a log without an id" for name in (here, there)
            ]
            raise ConfigError(
                f"{self._place.folder} holds a copy of {names[0]}, and this is {names[1]}",
                "copy into another directory",
            )
        return "" if there is None else b64encode(there)

    def _take(self, item: PlannedFile) -> None:
        """See that the work folder has this file as the log has it now."""
        target = self._place.work / item.name
        identity = _identity(item.source)
        if identity is None:
            raise GoneError(f"there is no {item.source}")
        known = self._seen.get(item.name)
        linked = self._links or item.ours
        if (known == identity) if known is not None else _is_same(target, item.source, linked=linked):
            self._how.setdefault(item.name, "kept")
        elif linked and item.finished and link_file(item.source, target):
            self._how[item.name] = "kept" if item.ours else "linked"
        else:
            status = copy_file(item.source, target, self._copied)
            self._how[item.name] = "kept" if item.ours else "copied"
            self._seen[item.name] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            return
        self._seen[item.name] = identity
        self._copied(identity[2])

    def _copied(self, size: int) -> None:
        self._done += size
        # The last segment grows while it is read.
        self._progress(min(self._done, self._total), self._total)

    def _forget_others(self, wanted: set[str]) -> None:
        """Remove what the log has no more, or not under this name, and what a kill has left half-written."""
        for entry in list(os.scandir(self._place.work)):
            if entry.name not in wanted:
                (self._place.work / entry.name).unlink()
                self._seen.pop(entry.name, None)
                self._how.pop(entry.name, None)

    def _is_settled(self, listing: Listing, seals: list[Path]) -> bool:
        """Whether the log still ends where the copy does, and not where a living agent goes on at once."""
        # The names themselves too: a list that was read between those of a new pair has the log file alone.
        if list_segments(self._logdir).segments[-1:] != listing.segments[-1:]:
            return False
        if not seals or time.time() - seals[-1].stat().st_mtime > _FRESH_SECONDS:
            return True
        lines, tail = _end_of(seals[-1])
        before = _end_of(seals[0])[1] if len(seals) > 1 and len(lines.epochs) == 1 else None
        return not lines.torn and not is_unfinished(tail, before)


def _has_line(listing: Listing) -> bool:
    seals = [item.seal for item in listing.segments[:1] if item.seal is not None]
    return any(b"\n" in read_file(seal, MAX_LINE + 1) for seal in seals)


def _end_of(seal: Path) -> tuple[SealFile, Tail]:
    with open_file(seal) as file:
        lines = cut_seal_file(file, seal.stat().st_size, last=True)
    return lines, read_tail(seal, lines)


def _copy_timestamps(source: Path, target: Path) -> None:
    """Time stamps: no verdict depends on them, and each is made once and never changed."""
    names = []
    with suppress(FileNotFoundError, NotADirectoryError):
        names = [entry.name for entry in os.scandir(source) if entry.is_file(follow_symlinks=False)]
    names = [name for name in names if not name.startswith(".")]
    if not names:
        return
    make_directory(target)
    for name in names:
        if not _is_same(target / name, source / name, linked=False):
            with suppress(GoneError):
                copy_file(source / name, target / name, lambda _size: None)
    sync_directory(target)


def _identity(path: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        status = path.lstat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _is_same(target: Path, source: Path, *, linked: bool) -> bool:
    """Whether an earlier run has copied it: it has the same size and time, or, if `linked`, is the same."""
    ours, theirs = _identity(target), _identity(source)
    if ours is None or theirs is None:
        return False
    return linked if ours[:2] == theirs[:2] else ours[2:] == theirs[2:]


def _size(path: Path) -> int:
    identity = _identity(path)
    return identity[2] if identity is not None else 0
