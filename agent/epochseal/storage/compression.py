"""Replace a segment's `.log` by its compressed form in one step that no reader and no crash can see half of.

A log that is there in two forms, or in none, is tampering to every verifier, and two names cannot be changed
at once. But two directories can be exchanged: a second folder is made of hard links to all files of
`segments/`, the compressed log in it instead of the plain one, and then takes its place
(docs/decisions/002-compression.md). The system calls of `exchange`, in order:

mkdir `.segments.new`; link for every file but the plain log; rename of the compressed log into it; fsync of
it; renameat2 (RENAME_EXCHANGE) with `segments`; fsync of the log directory; rename of what was `segments` to
`.segments.old`, which readers that have it open may finish with before it is removed.

Whatever a crash leaves under these names is links to files that `segments/` has, or a file that is not
needed: `clean` removes it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Literal

from epochseal.errors import ConfigError, StorageError
from epochseal.storage.durable import sync_directory
from epochseal.storage.exchange import NoExchangeError, exchange_folders
from epochseal.storage.holes import TIMES
from epochseal.storage.opener import open_disk_file
from epochseal.storage.segments import COMPRESSED_ENDINGS

Kind = Literal["gzip", "zstd"]
_NEW, _OLD, _PACKED = ".segments.new", ".segments.old", ".packed"
_PIECE = 1 << 20
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3


class ExchangeUnsureError(StorageError):
    """The exchange was made, and could not be made durable: nobody knows which folder a crash would leave."""


class ShrinksTooFarError(Exception):
    """The log would shrink so much that a verifier would not read all of it: it stays as it is."""


class StoppedError(Exception):
    """A stop was asked for before the work was done."""


def require_compressor(kind: Kind) -> None:
    """Refuse a compression whose library is not installed.

    Raises:
        ConfigError: `zstandard` is missing.
    """
    if kind == "zstd":
        try:
            import zstandard  # noqa: F401, PLC0415  # an extra: only who compresses with it needs it
        except ImportError as exc:
            raise ConfigError(
                'compress = "zstd" needs the library zstandard', "in a checkout: pip install '.[zstd]'"
            ) from exc


def compress(source: Path, kind: Kind, stopped: Callable[[], bool]) -> Path:
    """Write the compressed form of a segment's log, durable and read back, outside of `segments/`; its name.

    Raises:
        StoppedError: `stopped` said so.
        ShrinksTooFarError: it would take less than one byte for each 64; nothing is left of it.
        StorageError: a file cannot be read or written, or does not give back what went in.
    """
    packed = source.parent.parent / _PACKED
    try:
        packed.unlink(missing_ok=True)
        with open_disk_file(source) as plain:
            size, written = os.fstat(plain.fileno()).st_size, hashlib.sha256()
            with packed.open("xb") as file:
                os.fchmod(file.fileno(), os.fstat(plain.fileno()).st_mode & 0o7777)
                with _compressor(file, kind, size) as sink:
                    _copy(plain, stopped, written.update, sink.write)
                file.flush()
                if file.tell() * TIMES < size:
                    packed.unlink()
                    raise ShrinksTooFarError
                os.fsync(file.fileno())
            read = hashlib.sha256()
            with _decompressor(packed, kind) as stream:
                _copy(stream, stopped, read.update)
            if read.digest() != written.digest():
                raise StorageError(f"{source.name} does not come out of its compressed form as it was")
            _drop_from_cache(plain)
    except OSError as exc:
        raise StorageError(f"cannot compress {source.name}: {exc.strerror or exc}") from exc
    return packed


def exchange(plain: Path, packed: Path, kind: Kind) -> None:
    """Put the compressed log in the place of the plain one; no file may be made in `segments/` meanwhile.

    Raises:
        NoExchangeError: the file system cannot do that; `segments/` is as it was.
        ExchangeUnsureError: the sync behind the exchange failed: as after any failed sync, the log must not
            go on. What is written into the folder now could be lost with it, acknowledged or not.
        StorageError: a link cannot be made; `segments/` is as it was.
    """
    folder = plain.parent
    new = folder.with_name(_NEW)
    try:
        _remove(new)
        _remove(folder.with_name(_OLD))
        new.mkdir(0o700)
        for entry in os.scandir(folder):
            if entry.name != plain.name:
                os.link(entry.path, new / entry.name, follow_symlinks=False)
        packed.rename(new / (plain.name + COMPRESSED_ENDINGS[kind]))
        _copy_rights(folder, new)
    except OSError as exc:
        raise StorageError(f"cannot link the files of {folder}: {exc.strerror or exc}") from exc
    sync_directory(new)
    _swap(new, folder)
    try:
        sync_directory(folder.parent)
    except StorageError as exc:
        raise ExchangeUnsureError(str(exc), exc.hint) from exc
    with suppress(OSError):
        # If it fails, the old folder keeps the name of the new one: `clean` and `exchange` remove either.
        new.rename(folder.with_name(_OLD))


def clean(logdir: Path) -> None:
    """Remove what an exchange left, or a crash in the middle of one; to be called with the directory locked.

    Raises:
        StorageError: a file cannot be removed.
    """
    try:
        (logdir / _PACKED).unlink(missing_ok=True)
        for name in (_NEW, _OLD):
            _remove(logdir / name)
    except OSError as exc:
        raise StorageError(f"cannot remove {exc.filename}: {exc.strerror}") from exc


def _swap(new: Path, folder: Path) -> None:
    try:
        exchange_folders(new, folder)
    except NoExchangeError as exc:
        exc.hint = 'set compress = "none", or keep the log on ext4, xfs, btrfs or tmpfs'
        raise


def _copy_rights(folder: Path, new: Path) -> None:
    found = folder.stat()
    made = new.stat()
    if (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        os.chown(new, found.st_uid, found.st_gid)
    # Mode and access list too: shippers go on reading.
    shutil.copystat(folder, new)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _copy(source: IO[bytes] | FileIO, stopped: Callable[[], bool], *sinks: Callable[[bytes], object]) -> None:
    while piece := source.read(_PIECE):
        if stopped():
            raise StoppedError
        for sink in sinks:
            sink(piece)


def _drop_from_cache(file: FileIO) -> None:
    # A log of many megabytes is read once here: it must not push out of memory what the service needs.
    with suppress(OSError):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _compressor(file: IO[bytes], kind: Kind, size: int) -> Iterator[IO[bytes]]:
    if kind == "gzip":
        # Without name and time: the same log is always the same file.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packing:
            yield packing  # type: ignore[misc]  # a GzipFile writes bytes, whatever its stub says of IO
        return
    import zstandard  # noqa: PLC0415  # an extra

    packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
    with packer.stream_writer(file, size=size, closefd=False) as writing:
        yield writing


@contextmanager
def _decompressor(path: Path, kind: Kind) -> Iterator[IO[bytes]]:
    if kind == "gzip":
        with open_disk_file(path) as file, gzip.GzipFile(fileobj=file) as stream:
            yield stream  # type: ignore[misc]  # as in _compressor
        return
    import zstandard  # noqa: PLC0415  # an extra

    with open_disk_file(path) as file, zstandard.ZstdDecompressor().stream_reader(file) as reading:
        yield reading
