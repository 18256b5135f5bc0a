"""Durable files. What must survive a crash goes through here, by exactly these system calls.

`sync_directory`: open, fsync, close.
`AppendFile.open`: open (O_CREAT and O_EXCL with `create`), fstat; `sync_directory` of its directory.
`AppendFile.append`: write, until all is written. Nothing is durable yet.
`AppendFile.append_hole`: ftruncate. Nothing is durable yet.
`AppendFile.sync`: fdatasync. What was appended is durable, and the length.
`AppendFile.check_length`: fstat.
`AppendFile.truncate`: ftruncate, fsync.
`replace_file`: unlink of a left temporary file, open (O_CREAT, O_EXCL), write, fsync, close, rename;
`sync_directory` of its directory.
`make_directory`: stat, up to the first level that exists; `sync_directory` of the level above that one; then
for each missing level mkdir, `sync_directory` of the level above.
`DirectoryLock`: open, flock.

When a call fails:

* write: fstat, and ftruncate back to the length before, so that nothing half-written stays. If that fails,
  or the file was shorter than it should be, the object is unusable.
* fdatasync, fsync: the object is unusable for good. The kernel may have marked the unwritten pages clean, so
  that a second fdatasync would succeed without the data being on the disk.
* ftruncate in `truncate`: the object is unusable, because the file may have been cut.
* no room (ENOSPC, EDQUOT), or no descriptors (EMFILE, ENFILE), in any other call than those two:
  `DiskFullError`. Nothing of the call is left, so the same call may be made again, and succeeds once there
  is room (sealing/full_disk.py).
* an unusable object: close it, open the file again, and trust only what a reader finds in it.
* `replace_file`, at any call: the file has its old or its new content, whole. A temporary file left by a
  crash is removed by the next call.

A call that reports an error may have taken effect all the same; nothing here relies on the opposite.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from epochseal.errors import LogBusy, StorageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
_HINTS = {
    errno.ENOSPC: "free or add disk space",
    errno.EDQUOT: "raise the quota",
    errno.EMFILE: "raise the limit of descriptors: LimitNOFILE= in the unit, or ulimit -n",
    errno.ENFILE: "raise fs.file-max, or find out who has so many files open",
    errno.EROFS: "remount the file system writable",
    errno.EACCES: "give this user write permission",
    errno.ELOOP: "symbolic links are not followed here: name the file itself",
}


class DurabilityError(StorageError):
    """A file could not be written, made durable, or was changed behind our back.

    Attributes:
        errno: the system's error number, None where no system call failed.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message, _HINTS.get(number) if number is not None else None)
        self.errno = number


class DiskFullError(DurabilityError):
    """There is no room, and nothing of the call is left: it may be made again as it was."""


class AppendFile:
    """A file that only grows at its end, and whose length is known.

    Attributes:
        length: bytes in the file as this object wrote them.
        path: where it was opened.

    Every method but `fileno` and `close` raises `DurabilityError`.
    """

    __slots__ = ("_fd", "_unusable", "length", "path")

    def __init__(self, fd: int, path: Path, length: int) -> None:
        self._fd = fd
        self.path = path
        self._unusable: OSError | None = None
        self.length = length

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open a regular file for appending, its name made durable; with `create` it must not exist.

        Raises:
            DurabilityError: it cannot be opened or created (mode 0640), or is a link or not a regular file.
        """
        # O_RDWR: so a FIFO in the place of the file is opened, and refused, without waiting for a reader.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with _translated(path):
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL if create else flags, 0o640)
        try:
            length = _length_of_regular(fd, path)
            # An existing file too: whoever created it may have been killed before this.
            sync_directory(path.parent)
        except BaseException:
            os.close(fd)
            if create:  # or the next attempt would find it in its way
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return cls(fd, path, length)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at the end, or nothing; not durable before `sync`."""
        if self._unusable is not None:
            raise self._refusal()
        try:
            _write_all(self._fd, data)
        except OSError as exc:
            raise self._cut_back(exc) from exc
        self.length += len(data)

    def append_hole(self, count: int) -> None:
        """Make the file `count` bytes longer, by zeros that take no room; not durable before `sync`."""
        if self._unusable is not None:
            raise self._refusal()
        try:
            os.ftruncate(self._fd, self.length + count)
        except OSError as exc:
            raise self._cut_back(exc) from exc
        self.length += count

    def sync(self) -> None:
        """Make all appended bytes durable; when it fails, this object refuses all further work."""
        if self._unusable is not None:
            raise self._refusal()
        try:
            os.fdatasync(self._fd)
        except OSError as exc:
            self._unusable = exc
            raise _lasting(self.path, exc) from exc

    def check_length(self) -> None:
        """Refuse a file that somebody else made longer or shorter, or deleted."""
        if self._unusable is not None:
            raise self._refusal()
        try:
            found = os.fstat(self._fd)
        except OSError as exc:
            raise _failure(self.path, exc) from exc
        if found.st_nlink < 1:
            raise DurabilityError(f"{self.path} was deleted behind our back")
        if found.st_size != self.length:
            change = "grew" if found.st_size > self.length else "shrank"
            raise DurabilityError(
                f"{self.path} {change} behind our back: {found.st_size} bytes instead of {self.length}"
            )

    def truncate(self, length: int) -> None:
        """Cut the file to `length` bytes, durably; it never gets longer (ValueError)."""
        if self._unusable is not None:
            raise self._refusal()
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot cut {self.length} bytes to {length}")
        try:
            os.ftruncate(self._fd, length)
            self.length = length
            os.fsync(self._fd)
        except OSError as exc:
            self._unusable = exc
            raise _lasting(self.path, exc) from exc

    def fileno(self) -> int:
        """Return the descriptor, open for reading too; -1 after `close`."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor, without a sync; closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # Errors of earlier writes may show up here, but `sync` has reported what mattered.
            with contextlib.suppress(OSError):
                os.close(fd)

    def _cut_back(self, cause: OSError) -> DurabilityError:
        """Take back what a failed write left; the error to raise."""
        try:
            size = os.fstat(self._fd).st_size
            if size > self.length:
                os.ftruncate(self._fd, self.length)
            elif size < self.length:  # not our doing, and ftruncate would fill the gap with zero bytes
                self._unusable = cause
        except OSError:
            self._unusable = cause
        return (_failure if self._unusable is None else _lasting)(self.path, cause)

    def _refusal(self) -> DurabilityError:
        cause = self._unusable
        number = None if cause is None else cause.errno
        reason = "" if cause is None else f": {cause.strerror}"
        error = DurabilityError(f"cannot write {self.path}: an earlier write or sync failed{reason}", number)
        error.hint = "the state on the disk is unknown: open the file again and read what it holds"
        return error


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Give `path` the content `data`, durably: a reader sees the old or the new content, whole.

    The new file has `mode`, less the umask. One writer at a time: the temporary name is fixed (`.NAME.new`),
    so that crashes leave at most one file.

    Raises:
        DurabilityError: a system call failed; the content is the old or the new one.
    """
    temporary = path.with_name(f".{path.name}.new")
    with _translated(path):
        temporary.unlink(missing_ok=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, mode)
            try:
                _write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        DurabilityError: it is not a directory, or the sync failed.
    """
    with _translated(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as exc:
        raise _lasting(path, exc) from exc
    finally:
        os.close(fd)


def make_directory(path: Path, mode: int = 0o750) -> None:
    """Create a directory and its missing parents (`mode` less the umask), each durable before the next.

    Raises:
        DurabilityError: a level cannot be created or is not a directory.
    """
    missing = []
    level = path.absolute()
    with _translated(level):
        while not level.is_dir():
            missing.append(level)
            level = level.parent
    # The level that exists may be ours, from a call that was killed here. If it is not, nor are its errors.
    with contextlib.suppress(DurabilityError):
        sync_directory(level.parent)
    for level in reversed(missing):
        with _translated(level):
            level.mkdir(mode)
        sync_directory(level.parent)


class DirectoryLock:
    """Holds a directory against other agents until `close`, or until the process dies, however it dies.

    The lock lies on the directory itself (flock), so there is no lock file to go stale. Children forked while
    it is held keep it alive: fork them before, or see that they die with this process. Closing it in a child
    does not release it here.

    Raises:
        LogBusy: another process, or another lock in this one, holds it.
        DurabilityError: it is not a directory or cannot be locked.
    """

    __slots__ = ("_fd",)

    def __init__(self, path: Path) -> None:
        self._fd = -1
        with _translated(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                os.close(fd)
                hint = "stop it first, or give this one a directory of its own"
                raise LogBusy(f"another agent holds {path}", hint) from exc
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd

    def close(self) -> None:
        """Release the directory; closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)  # not LOCK_UN, which would also release it for the process that forked us

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _length_of_regular(fd: int, path: Path) -> int:
    with _translated(path):
        found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise DurabilityError(f"cannot write {path}: not a regular file")
    return found.st_size


def _write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    while rest.nbytes:
        written = os.write(fd, rest)
        if written == 0:
            raise OSError(errno.EIO, "the kernel took no byte")
        rest = rest[written:]


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise _failure(path, exc) from exc


def _failure(path: Path, exc: OSError) -> DurabilityError:
    kind = DiskFullError if exc.errno in _NO_ROOM else DurabilityError
    return kind(f"cannot write {path}: {exc.strerror or exc}", exc.errno)


def _lasting(path: Path, exc: OSError) -> DurabilityError:
    """A failure after which the same call is not to be made again, whatever its cause."""
    return DurabilityError(f"cannot write {path}: {exc.strerror or exc}", exc.errno)
