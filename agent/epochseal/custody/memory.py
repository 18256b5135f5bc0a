"""Memory for keys: locked pages that are wiped in place, and process settings that keep them from leaking.

Key material lives in a `SecretPage` and is handled through its memoryview only: a `bytes` or `str` of it is
copied here and there, and freed without being wiped.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import stat
import weakref
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn, Self

from epochseal.errors import ConfigError, StorageError

_MEMFD_SECRET = 447  # on every architecture that has the call; elsewhere it fails, and we lock instead
_MAP_FIXED = 0x10
_MAP_FIXED_NOREPLACE = 0x100000
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_OURS_ONLY = 0o600
_TMPFS = 0x01021994
_RAMFS = 0x858458F6
_FILESYSTEMS = {  # statfs(2), only to name in a message what was found
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x794C7630: "overlayfs",
    0x2FC12FC1: "zfs",
    0x6969: "nfs",
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_ulong]
_libc.syscall.restype = ctypes.c_long
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mmap.restype = ctypes.c_void_p
_libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]

_not_inherited: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class SecretPage:
    """Zero-filled memory for keys that is never swapped or dumped; use it as a context manager.

    Children forked later share the page, both ways, unless it is private. Its protection in a child is the
    parent's: a child must not outlive the process that made the page.

    Args:
        size: length of `view` in bytes; memory is taken in whole pages.
        private: keep the page out of children forked later; a child that touches it dies by SIGSEGV.

    Attributes:
        view: the writable memory.
        kind: "memfd_secret" (not even root reads it through /proc/PID/mem), "locked" (mlock, where the kernel
            or the container refuses memfd_secret) or "file" (see `in_file`).

    Raises:
        StorageError: there is no memory, or it cannot be locked; the message names the limit.
    """

    __slots__ = ("_owner", "_region", "kind", "view")

    view: memoryview
    kind: Literal["memfd_secret", "locked", "file"]
    _region: mmap.mmap | None
    _owner: int

    def __init__(self, size: int = 4096, *, private: bool = False) -> None:
        try:
            region = mmap.mmap(-1, size)
            if _map_secret(region):
                self._adopt(region, "memfd_secret", private=private)
            else:
                _map_locked(region)
                self._adopt(region, "locked", private=private)
        except OSError as exc:
            raise StorageError(f"cannot map {size} bytes of memory: {exc.strerror}") from exc
        self.wipe()  # touches every page, so that the memory is really there before a key depends on it

    @classmethod
    def in_file(cls, path: Path, size: int) -> Self:
        """Map a file on tmpfs or ramfs, so that the content outlives this process; private to it.

        A missing file is created with mode 0600; a new or empty one is filled with zeros. Locking keeps the
        content out of swap only while a process has it mapped: for the time between two processes the tmpfs
        needs the mount option `noswap`, or the machine no swap.

        Args:
            path: the file; its directory exists.
            size: exact length in bytes.

        Raises:
            ConfigError: `path` is not on tmpfs or ramfs.
            StorageError: the file is not ours alone (another owner, mode, type or size, a symbolic link, a
                second hard link), there is no room for it, or it cannot be locked.
        """
        require_tmpfs(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OURS_ONLY)
        except OSError as exc:
            raise StorageError(f"cannot open {path}: {exc.strerror}") from exc
        try:
            _require_memory_filesystem(fd, path)
            _require_ours(fd, path, size)
            # Room is taken now: a full tmpfs is an error here, and would be a SIGBUS at a write to the page.
            os.posix_fallocate(fd, 0, size)
            region = mmap.mmap(-1, size)
            _map_over(region, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED, fd)
        except OSError as exc:
            raise StorageError(f"cannot map {path}: {exc.strerror}") from exc
        finally:
            os.close(fd)
        _lock(region)
        page = cls.__new__(cls)
        page._adopt(region, "file", private=True)  # noqa: SLF001 - this is a constructor too
        return page

    def _adopt(
        self, region: mmap.mmap, kind: Literal["memfd_secret", "locked", "file"], *, private: bool
    ) -> None:
        region.madvise(mmap.MADV_DONTDUMP)
        self.view = memoryview(region)
        self.kind = kind
        self._region = region
        if private:
            self.keep_from_children()
        self._owner = os.getpid()

    def keep_from_children(self) -> None:
        """From now on no child that is forked inherits the page; those that have it keep it."""
        if self._region is not None:
            self._region.madvise(mmap.MADV_DONTFORK)
            _not_inherited.add(self._region)

    def wipe(self) -> None:
        """Set the whole page to zero, for every process that shares it."""
        self.view[:] = bytes(self.view.nbytes)

    def wipe_range(self, start: int, stop: int) -> None:
        """Set the bytes from `start` up to, not including, `stop` to zero.

        Raises:
            ValueError: not 0 <= start <= stop <= size.
        """
        if not 0 <= start <= stop <= self.view.nbytes:
            raise ValueError(f"range {start}..{stop} is not in a page of {self.view.nbytes} bytes")
        self.view[start:stop] = bytes(stop - start)

    def close(self) -> None:
        """Wipe the page (not the kind "file") and unmap it; closing again does nothing.

        In a forked child it only unmaps: a child on its way out must not zero a key that its parent uses.
        A slice of `view` that is still held keeps the mapping until it goes; what it shows is wiped.
        """
        region, self._region = self._region, None
        if region is None:
            return
        if self.kind != "file" and self._owner == os.getpid():
            self.wipe()
        self.view.release()
        with contextlib.suppress(BufferError):  # slices are held: the last one to go unmaps
            region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._region is None else f"{self.view.nbytes} bytes"
        return f"<SecretPage {self.kind}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretPage cannot be copied or pickled")


def require_tmpfs(path: Path) -> None:
    """Refuse a path whose content would reach a disk.

    Raises:
        ConfigError: `path` does not exist, or is neither on tmpfs nor on ramfs.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(f"cannot look at {path}: {exc.strerror}", "create the directory first") from exc
    try:
        _require_memory_filesystem(fd, path)
    finally:
        os.close(fd)


def fill_random(view: memoryview) -> None:
    """Fill `view` with the kernel's random bytes, without a copy of them anywhere else.

    Raises:
        StorageError: /dev/urandom cannot be read.
    """
    os.getrandom(1)  # waits, early at boot, until the kernel's pool is seeded; /dev/urandom would not wait
    try:
        with Path("/dev/urandom").open("rb", buffering=0) as source:
            rest = view
            while rest.nbytes and (count := source.readinto(rest)):  # a signal can cut a long read short
                rest = rest[count:]
    except OSError as exc:
        raise StorageError(f"cannot read /dev/urandom: {exc.strerror}") from exc
    if rest.nbytes:
        raise StorageError(f"/dev/urandom ended {rest.nbytes} bytes early", "it must be the kernel's device")


def harden_process() -> None:
    """Make this process, and what it forks, undumpable and closed to debuggers of the same user.

    Call it before the first key, and after any change of user id.

    Raises:
        StorageError: the kernel refuses.
    """
    # Both are needed: a core_pattern that is a pipe ignores the limit, a change of user id undoes the first.
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    # Best effort: where more memory is needed than may be locked, locking it fails with a message of its own.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def die_with_parent(expected_parent_pid: int) -> None:
    """Have the kernel kill this process (SIGKILL) when its parent dies; exit at once if it already has.

    The kernel watches the *thread* that forked: fork from one that lives as long as the parent. A child does
    not inherit the setting.

    Args:
        expected_parent_pid: the parent's `os.getpid()` from before the fork.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != expected_parent_pid:
        os._exit(1)


def _map_secret(region: mmap.mmap) -> bool:
    """Put a memfd_secret mapping under `region`; False where the kernel does not grant it."""
    fd = _libc.syscall(_MEMFD_SECRET, os.O_CLOEXEC)
    if fd < 0:
        return False
    try:
        os.ftruncate(fd, len(region))
        _map_over(region, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED, fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _map_locked(region: mmap.mmap) -> None:
    # Mapped anew, because a memfd_secret that failed half-way may have left a hole in the range.
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_FIXED
    _map_over(region, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1)
    _lock(region)


def _map_over(region: mmap.mmap, protection: int, flags: int, fd: int) -> None:
    """Map `fd` at the address of `region`, whose owner stays Python's mmap object.

    That object refuses to unmap while a view exists, so no view can dangle; and unlike one that was made from
    `fd` it keeps no duplicate of it, through which another process could map the page (pidfd_getfd).
    """
    address = _address(region)
    if _libc.mmap(address, len(region), protection, flags, fd, 0) != address:
        raise _os_error()


def _lock(region: mmap.mmap) -> None:
    if _libc.mlock(_address(region), len(region)) != 0:
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} bytes"
        raise StorageError(
            f"cannot lock {len(region)} bytes of memory: {_os_error().strerror}; RLIMIT_MEMLOCK is {shown}",
            "raise the limit: LimitMEMLOCK=1M in the systemd unit, or ulimit -l 1024",
        )


def _address(region: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(region))


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise StorageError(f"the kernel refuses prctl option {option}: {_os_error().strerror}")


def _require_memory_filesystem(fd: int, path: Path) -> None:
    # struct statfs starts with f_type, a long (negative for some if it has 32 bits), and fits in 512 bytes.
    result = (ctypes.c_long * (512 // ctypes.sizeof(ctypes.c_long)))()
    if _libc.fstatfs(fd, result) != 0:
        raise ConfigError(f"cannot find the file system of {path}: {_os_error().strerror}")
    magic = result[0] & 0xFFFFFFFF
    if magic not in (_TMPFS, _RAMFS):
        found = _FILESYSTEMS.get(magic, f"a file system of type {magic:#x}")
        raise ConfigError(
            f"{path} is on {found}, not on tmpfs or ramfs: keys would reach a disk",
            "use a directory below /dev/shm, or below /run where that is a tmpfs",
        )


def _require_ours(fd: int, path: Path, size: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        problem = "is not a regular file"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid} instead of {os.geteuid()}"
    elif stat.S_IMODE(found.st_mode) != _OURS_ONLY:
        problem = f"has mode {stat.S_IMODE(found.st_mode):04o} instead of 0600"
    elif found.st_nlink != 1:
        problem = f"has {found.st_nlink} links instead of 1"
    elif found.st_size not in (0, size):  # 0: just created, now or by a start that was killed here
        problem = f"has {found.st_size} bytes instead of {size}"
    else:
        return
    raise StorageError(f"{path} {problem}", "find out who made it, then remove it")


def _hold_ranges_after_fork() -> None:
    # The kernel left the private ranges out of this child. Unless they are taken, an allocation could land
    # there, under views that were inherited, and be unmapped with them.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED_NOREPLACE
    for region in _not_inherited:
        try:
            _map_over(region, 0, flags, -1)
        except OSError:
            os.abort()
    _not_inherited.clear()


os.register_at_fork(after_in_child=_hold_ranges_after_fork)
