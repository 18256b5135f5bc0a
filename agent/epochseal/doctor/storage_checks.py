"""Where a log's files and its runtime page will lie."""

from __future__ import annotations

import os
import stat
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from epochseal.custody.memory import require_tmpfs
from epochseal.doctor.check_result import CheckResult
from epochseal.doctor.machine_checks import plain_swaps
from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.examiner import Outcome
from epochseal.storage.durable import DirectoryLock
from epochseal.storage.log_owner import others_files, user_name
from epochseal.storage.segments import CHECKPOINT_FILE, list_segments

_FEWEST_INODES = 1000
_SYNCS = 10
_SLOW_SECONDS = 1.0
_AHEAD_SECONDS = 120.0
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def is_held(directory: Path) -> bool:
    """Whether an agent holds the log directory."""
    if not directory.is_dir():
        return False
    try:
        DirectoryLock(directory).close()
    except LogBusy:
        return True
    except StorageError:
        return False  # why it cannot be opened is said by check_directory
    return False


def check_directory(part: str, directory: Path) -> CheckResult:
    """Whether the directory is ours alone to write, or can be made."""
    topic = "directory"
    try:
        found = directory.stat()
    except FileNotFoundError:
        parent = nearest_directory(directory)
        if os.access(parent, os.W_OK | os.X_OK):
            return CheckResult(part, topic, "good", f"{directory} is made at the first start")
        return CheckResult(
            part,
            topic,
            "wrong",
            f"{directory} is missing, and this user may not make it in {parent}",
            "make it, for the user of the agent",
        )
    except OSError as exc:
        return CheckResult(part, topic, "wrong", f"{directory}: {exc.strerror}", "check owner and mode")
    mode = stat.S_IMODE(found.st_mode)
    if (problem := _problem(directory, found, mode)) is not None:
        return CheckResult(part, topic, "wrong", *problem)
    return CheckResult(part, topic, "good", f"{directory}, mode {mode:04o}, owned by this user")


def _problem(directory: Path, found: os.stat_result, mode: int) -> tuple[str, str] | None:
    """What is wrong with a directory that is there, and what to do."""
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is not a directory", "name another dir"
    if found.st_uid != os.geteuid():
        what = f"{directory} belongs to user {found.st_uid}, not to {os.geteuid()}"
        return what, "run this as the user of the agent, or chown the directory"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return f"{directory} cannot be written, mode {mode:04o}", f"chmod u+rwx {directory}"
    if mode & _WRITABLE:
        return f"{directory} has mode {mode:04o}: others may remove what is in it", f"chmod go-w {directory}"
    return None


def check_files(part: str, directory: Path) -> CheckResult:
    """Whether the files of the log are this user's: a command that was run as root leaves root's."""
    topic = "files"
    try:
        files = [path for segment in list_segments(directory).segments for path in segment.files()]
    except StorageError as exc:
        return CheckResult(part, topic, "unknown", str(exc), exc.hint)
    strange = others_files(directory, [*files, directory / CHECKPOINT_FILE])
    if not strange:
        return CheckResult(part, topic, "good", f"{len(files):,}, all of this user" if files else "none yet")
    owner = user_name(strange[0].lstat().st_uid)
    what = f"{len(strange):,} belong to {owner}, such as {strange[0]}: the agent cannot go on with them"
    hint = "chown them to the agent's user, and run rotate, prune and seal as that user too"
    return CheckResult(part, topic, "wrong", what, hint)


def check_disk(part: str, directory: Path, segment_bytes: int) -> Iterator[CheckResult]:
    """Room for a segment, for files, and how long a sync takes; in the nearest directory that there is."""
    place = nearest_directory(directory)
    try:
        found = os.statvfs(place)
    except OSError as exc:
        yield CheckResult(part, "free space", "unknown", f"{place}: {exc.strerror}")
        return
    free = found.f_bavail * found.f_frsize
    enough = free >= segment_bytes
    hint = None if enough else "make room, or let segments expire with keep: a full disk stops the sealing"
    detail = f"{free >> 20:,} MiB; a segment takes up to {max(1, segment_bytes >> 20):,} MiB"
    yield CheckResult(part, "free space", "good" if enough else "wrong", detail, hint)
    if found.f_files == 0:
        yield CheckResult(part, "inodes", "good", "this file system does not count them")
    else:
        outcome: Outcome = "good" if found.f_favail >= _FEWEST_INODES else "wrong"
        yield CheckResult(
            part, "inodes", outcome, f"{found.f_favail:,} free", None if outcome == "good" else "remove files"
        )
    yield _check_sync(part, place)


def _check_sync(part: str, place: Path) -> CheckResult:
    try:
        # Without a name, so that nothing is left and nothing is seen.
        with tempfile.TemporaryFile(dir=place, buffering=0) as file:
            times = []
            for _ in range(_SYNCS):
                began = time.monotonic()
                file.write(bytes(4096))
                os.fdatasync(file.fileno())
                times.append(time.monotonic() - began)
    except OSError as exc:
        return CheckResult(part, "fdatasync", "unknown", f"cannot write in {place}: {exc.strerror}")
    median, longest = statistics.median(times), max(times)
    detail = f"median {median * 1000:.1f} ms, longest {longest * 1000:.1f} ms of {_SYNCS}"
    if median > _SLOW_SECONDS:
        return CheckResult(
            part, "fdatasync", "wrong", detail, "each commit waits for two of them: use another disk"
        )
    return CheckResult(part, "fdatasync", "good", detail)


def check_log_clock(part: str, directory: Path) -> CheckResult:
    """Whether the clock is behind what was sealed already: verify calls an end in the future incomplete."""
    times = [path.stat().st_mtime for path in (directory / "segments").glob("*.seal")]
    ahead = max(times, default=0.0) - time.time()
    if ahead > _AHEAD_SECONDS:
        return CheckResult(
            part,
            "clock and log",
            "wrong",
            f"the log was written {ahead:.0f} seconds from now",
            "set the clock before the agent starts",
        )
    return CheckResult(part, "clock and log", "good", "nothing was sealed in the future")


def check_runtime_dir(part: str, directory: Path | None) -> CheckResult:
    """Whether the ratchet's page may lie there: memory, ours alone, and not swapped between two runs."""
    topic = "runtime_dir"
    if directory is None:
        detail = "none: the start behind a kill is cold, and somebody has to accept it"
        return CheckResult(
            part, topic, "good", detail, "set it to a directory on tmpfs to go on without a gap"
        )
    # One that is missing is made at the first start, for this user alone, in the one above it.
    place = directory if directory.exists() else directory.parent
    try:
        require_tmpfs(place)
    except ConfigError as exc:
        return CheckResult(part, topic, "wrong", str(exc), exc.hint)
    if not os.access(place, os.W_OK | os.X_OK):
        return CheckResult(
            part, topic, "wrong", f"this user may not write in {place}", "check owner and mode"
        )
    mode = stat.S_IMODE(place.stat().st_mode)
    if place is directory and mode & _WRITABLE and not mode & stat.S_ISVTX:
        what = f"{directory} has mode {mode:04o}: others may remove the page"
        hint = f"chmod go-w {directory}; or name a directory in it, which the agent makes for itself alone"
        return CheckResult(part, topic, "wrong", what, hint)
    plain = plain_swaps()
    if plain is None or (plain and not _noswap(place)):
        areas = "the swap areas cannot be seen" if plain is None else f"swap on {', '.join(plain)}"
        return CheckResult(
            part,
            topic,
            "unknown" if plain is None else "wrong",
            f"{areas}: between two runs the page may reach a disk",
            "mount it with noswap, or encrypt the swap",
        )
    return CheckResult(part, topic, "good", f"{directory}, on memory that reaches no disk")


def _noswap(directory: Path) -> bool:
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if fields[2] == wanted and "noswap" in fields[-1].split(","):
            return True
    return False


def nearest_directory(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    path = directory.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
