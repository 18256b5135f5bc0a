"""One file of a log, copied into a folder of ours under its own name: whole and durable there, or not there.

`copy_file`: open of the source (opener.py); open (O_CREAT, O_EXCL) of `.NAME.part`, writes, truncate, fsync;
rename.
`link_file`: link; lstat. The content is durable already: the writer of a log syncs what it has written.
The names are durable when the caller has synced the folder. A file `.NAME.part` that a kill left is
nobody's, and is removed by the next call.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.durable import DurabilityError
from epochseal.storage.holes import data_ranges
from epochseal.storage.opener import GoneError, NotAFileError, open_disk_file

_PIECE = 1 << 20


def link_file(source: Path, target: Path) -> bool:
    """Give a file a second name, in the place of what has that name; False: no link can be made, so copy it.

    Raises:
        GoneError: it is not there.
        NotAFileError: what stands there is a link or no regular file.
    """
    try:
        target.unlink(missing_ok=True)
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {source}") from exc
    except OSError:
        # Another file system, one without links, or a rule of the system against links to somebody else's
        # files. What is wrong with the folder, if anything, the copy will say.
        return False
    # Looked at under our own name, which nobody exchanges: a second name of a link leads where the link does.
    if not stat.S_ISREG(target.lstat().st_mode):
        target.unlink()
        raise NotAFileError(f"{source} is no regular file")
    return True


def copy_file(source: Path, target: Path, copied: Callable[[int], None]) -> os.stat_result:
    """Copy a file as far as it went when it was opened, with its mode and time; what it was then.

    `copied` is told the bytes of each step.

    Raises:
        GoneError: it is not there, or was cut while it was read.
        NotAFileError, StorageError: as `open_disk_file`; or the copy cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    with open_disk_file(source) as file:
        status = os.fstat(file.fileno())
        try:
            part.unlink(missing_ok=True)
            with part.open("xb") as out:
                _copy_bytes(source, file, out.fileno(), status.st_size, copied)
                os.truncate(out.fileno(), status.st_size)
                os.fchmod(out.fileno(), stat.S_IMODE(status.st_mode))
                os.utime(out.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(out.fileno())
            part.rename(target)
        except OSError as exc:
            with suppress(OSError):
                part.unlink()
            raise DurabilityError(f"cannot write {target}: {exc.strerror or exc}", exc.errno) from exc
    return status


def _copy_bytes(source: Path, file: FileIO, out: int, size: int, copied: Callable[[int], None]) -> None:
    """Copy what is not in holes: those can be of any size, and are holes of the copy too."""
    before = 0
    for start, stop in data_ranges(file.fileno(), size):
        file.seek(start)
        os.lseek(out, start, os.SEEK_SET)
        copied(start - before)
        _copy_range(source, file, out, stop - start, copied)
        before = stop
    if os.fstat(file.fileno()).st_size < size:
        raise GoneError(f"{source} was cut while it was copied")
    copied(size - before)


def _copy_range(source: Path, file: FileIO, out: int, left: int, copied: Callable[[int], None]) -> None:
    while left:
        try:
            piece = file.read(min(left, _PIECE))
        except OSError as exc:
            raise StorageError(f"cannot read {source}: {exc.strerror}") from exc
        if not piece:
            raise GoneError(f"{source} was cut while it was copied")
        view = memoryview(piece)
        while view:
            view = view[os.write(out, view) :]
        left -= len(piece)
        copied(len(piece))
