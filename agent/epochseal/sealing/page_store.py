"""Where the ratchet lives between commits: a page of this process, or files on a tmpfs that outlive it.

The runtime directory holds, for one log, `NAME.page` (the ratchet's page) and `NAME.pending` (the entries of
the commit under way, no secret), NAME being 16 hex digits of the log directory's real path. Both are gone
with a reboot.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from epochseal.custody.memory import SecretPage, require_tmpfs
from epochseal.custody.ratchet_page import PAGE_SIZE, RatchetPage
from epochseal.errors import StorageError
from epochseal.storage.durable import DiskFullError, make_directory


class PageStore:
    """The ratchet's page, and what is kept beside it if it survives this process."""

    def __init__(self, page: RatchetPage, pending: _PendingFile | None) -> None:
        self.page = page
        self._pending = pending

    @classmethod
    def in_memory(cls) -> PageStore:
        """A page in memory, kept from children and wiped at the end: the next start has no page."""
        return cls(RatchetPage(SecretPage(PAGE_SIZE, private=True)), None)

    @classmethod
    def in_directory(cls, directory: Path, logdir: Path) -> PageStore:
        """A page in a file, so that the next start goes on with the same chain.

        A directory that is missing is made, for this user alone, in the one above it.

        Raises:
            ConfigError: the directory is not on tmpfs or ramfs, where key material would reach a disk.
            StorageError: the files cannot be made or are not ours.
        """
        if not directory.exists():
            require_tmpfs(directory.parent)
            make_directory(directory, 0o700)
        require_tmpfs(directory)
        page, pending = _paths(directory, logdir)
        return cls(RatchetPage(SecretPage.in_file(page, PAGE_SIZE)), _PendingFile(pending))

    @classmethod
    def forget(cls, directory: Path, logdir: Path) -> bool:
        """Wipe and delete what the directory has of this log; whether there was anything.

        Raises:
            ConfigError: as `in_directory`.
            StorageError: the files are not ours, or cannot be deleted.
        """
        paths = _paths(directory, logdir)
        if not any(path.exists() for path in paths):
            return False
        store = cls.in_directory(directory, logdir)
        try:
            store.page.wipe()
        finally:
            store.close()
        try:
            for path in paths:
                path.unlink()
        except OSError as exc:
            raise StorageError(f"cannot remove {exc.filename}: {exc.strerror}") from exc
        return True

    @property
    def survives(self) -> bool:
        """Whether the state outlives the process."""
        return self._pending is not None

    def keep_pending(self, data: memoryview) -> None:
        """Keep the entries of the commit under way, so that a kill in mid-write can be completed.

        Raises:
            DiskFullError: the tmpfs is full; the call may be made again.
            StorageError: it cannot be written for another reason.
        """
        if self._pending is not None:
            self._pending.replace(data)

    def pending(self, blocks: Sequence[tuple[int, bytes]]) -> bytes:
        """The kept entries, if they are the blocks with these sizes and SHA-256 digests; else no bytes."""
        size = sum(size for size, _ in blocks)
        data = self._pending.read(size) if self._pending is not None and size else b""
        start = 0
        for length, digest in blocks:
            if hashlib.sha256(data[start : start + length]).digest() != digest:
                return b""
            start += length
        return data if start == len(data) else b""

    def close(self) -> None:
        """Let go; a page in memory is wiped, one in a file stays."""
        self.page.close()
        if self._pending is not None:
            self._pending.close()


def _paths(directory: Path, logdir: Path) -> tuple[Path, Path]:
    name = hashlib.sha256(str(logdir.resolve()).encode()).hexdigest()[:16]
    return directory / f"{name}.page", directory / f"{name}.pending"


class _PendingFile:
    """Bytes on a tmpfs that a killed process leaves behind; never synced: there is no disk under it."""

    _KEPT = 1 << 20

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as exc:
            raise StorageError(f"cannot open {path}: {exc.strerror}") from exc
        found = os.fstat(self._fd)
        # A tmpfs may be open to all: the entries go into no file that somebody else made or can read.
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            self.close()
            raise StorageError(f"{path} is not a file of ours alone", "find out who made it, then remove it")

    def replace(self, data: memoryview) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], written)
            if written < self._KEPT < os.fstat(self._fd).st_size:
                # One huge entry made the file large: what is not needed any more goes back to the tmpfs.
                os.ftruncate(self._fd, self._KEPT)
        except OSError as exc:
            if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageError(f"cannot write {self._path}: {exc.strerror}") from exc
            error = DiskFullError(f"cannot write {self._path}: {exc.strerror}", exc.errno)
            error.hint = "the runtime directory needs room for one commit"
            raise error from exc

    def read(self, size: int) -> bytes:
        try:
            return os.pread(self._fd, size, 0)
        except OSError as exc:
            raise StorageError(f"cannot read {self._path}: {exc.strerror}") from exc

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
