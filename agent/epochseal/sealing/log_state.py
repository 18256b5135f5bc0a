"""What an agent remembers of a log outside of its directory: its id, a tree size and root, and the carry.

There is one directory a log: `STATE_DIR/NAME/`, NAME being 16 hex digits of the SHA-256 of the log
directory's absolute path as it was named, links not followed. So a link that is made to lead to another log
still finds the memory of the first one, which then speaks against what is there. It holds

* `state`, one line of JSON, replaced as a whole: never ahead of lines that are durable, and durable itself
  before a signature over them is asked for;
* `carry`, after a clean close (carry_file.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from epochseal.encoding import b64decode, b64encode, decode_json, encode_json
from epochseal.errors import EpochsealError, FormatError, StorageError
from epochseal.format.seal_lines import Abandoned, UInt
from epochseal.sealing.carry_file import CarriedClose, destroy_carry, read_carry, write_carry
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.durable import DirectoryLock, make_directory, replace_file, sync_directory
from epochseal.storage.own_files import OWN_FOLDER_MODE, OWN_MODE, check_own_folder, read_own
from epochseal.storage.segments import list_segments

_STATE, _CARRY = "state", "carry"
_LIMIT = 1 << 16
_VERSION = 1


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file `state` holds; paths are percent-encoded, hashes base64.

    Attributes:
        version: of this form.
        place: the log directory's absolute path, as it was named.
        real: the same, links followed.
        log: the log's id.
        size: a tree size that the log had.
        root: its root there.
        abandoned: the issue calls since the last epoch line that no epoch adopted.
    """

    version: Annotated[int, msgspec.Meta(ge=_VERSION, le=_VERSION)]
    place: str
    real: str
    log: str
    size: UInt
    root: str
    abandoned: list[Abandoned]


class LogState:
    """The memory of one log; made by `none`, it remembers nothing and every method does nothing.

    Attributes:
        state: what it says; None where it says nothing.
        unreadable: there was a file `state` that could not be read; it was renamed `state.unreadable`.
    """

    def __init__(
        self, directory: Path | None, logdir: Path, lock: DirectoryLock | None, *, keep_carry: bool
    ) -> None:
        self._directory, self._logdir, self._lock, self._keep_carry = directory, logdir, lock, keep_carry
        self.state: State | None = None
        self.unreadable = False
        if directory is not None:
            self._load(directory)

    @classmethod
    def none(cls) -> LogState:
        """For a log that nothing is remembered of."""
        return cls(None, Path(), None, keep_carry=False)

    @classmethod
    def open(cls, state_dir: Path | None, logdir: Path, *, keep_carry: bool) -> LogState:
        """Find and lock the memory of the log in `logdir`; with no directory it is `none`.

        It is that of this name; or that of another name of the same directory; or that of the log which lies
        here and is not any more where it was: its directory was moved.

        Raises:
            LogBusy: another agent holds it.
            ConfigError: a file or folder of it is not ours alone.
            StorageError: it cannot be used.
        """
        if state_dir is None:
            return cls.none()
        directory = _find(state_dir, logdir) or state_dir / _name(logdir)
        make_directory(directory, OWN_FOLDER_MODE)
        check_own_folder(directory)
        lock = DirectoryLock(directory)
        try:
            return cls(directory, logdir, lock, keep_carry=keep_carry)
        except BaseException:
            lock.close()
            raise

    @property
    def kept(self) -> bool:
        """Whether anything is remembered at all."""
        return self._directory is not None

    @property
    def size(self) -> int:
        """The tree size that it says; 0 where it says none."""
        return self.state.size if self.state is not None else 0

    @property
    def log(self) -> bytes:
        """The id of the log that it is of, 32 bytes; empty where it says nothing."""
        return b64decode(self.state.log, "log", 32) if self.state is not None else b""

    @property
    def root(self) -> bytes:
        """The root at `size`, 32 bytes; empty where it says nothing."""
        return b64decode(self.state.root, "root", 32) if self.state is not None else b""

    def replace(self, log: bytes, size: int, root: bytes, abandoned: Sequence[Abandoned]) -> None:
        """Remember where the log stands, durably; its lines up to `size` are durable already.

        Raises:
            StorageError: it cannot be written; the old content stands.
        """
        if self._directory is None:
            return
        state = State(
            _VERSION,
            _quoted(_place(self._logdir)),
            _quoted(os.path.realpath(self._logdir)),
            b64encode(log),
            size,
            b64encode(root),
            list(abandoned),
        )
        if state != self.state:
            replace_file(self._directory / _STATE, encode_json(state) + b"\n", OWN_MODE)
            self.state = state

    def take_back(self) -> None:
        """Remember no lines, durably: the only one that there was is about to be taken from the disk.

        Raises:
            StorageError: it cannot be deleted.
        """
        if self._directory is None or self.state is None:
            return
        path = self._directory / _STATE
        try:
            path.unlink()
        except OSError as exc:
            raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc
        sync_directory(self._directory)
        self.state = None

    def write_carry(self, log: bytes, size: int, root: bytes, secret: memoryview) -> None:
        """Keep the carry of the close that ends the tree of this size, durably; nothing if it is not kept.

        Raises:
            StorageError: it cannot be written.
        """
        if self._directory is not None and self._keep_carry:
            write_carry(self._directory / _CARRY, CarriedClose(log, size, root), secret)

    def read_carry(self, into: memoryview) -> CarriedClose | None:
        """Read the carry into 32 bytes of a page; None, and zeros there, where no whole one is kept.

        Raises:
            StorageError: it cannot be read.
        """
        if self._directory is None:
            return None
        return read_carry(self._directory / _CARRY, into)

    def destroy_carry(self) -> None:
        """Overwrite and delete the carry, durably; nothing where there is none.

        Raises:
            StorageError: it cannot be deleted.
        """
        if self._directory is not None:
            destroy_carry(self._directory / _CARRY)

    def forget(self) -> None:
        """Delete all of it, the carry first.

        Raises:
            StorageError: it cannot be deleted.
        """
        if self._directory is None:
            return
        self.destroy_carry()
        try:
            for path in list(self._directory.iterdir()):
                path.unlink()
            self._directory.rmdir()
        except OSError as exc:
            raise StorageError(f"cannot remove {exc.filename}: {exc.strerror}") from exc
        self.state = None

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _load(self, directory: Path) -> None:
        path = directory / _STATE
        try:
            self.state = _read(path)
        except FormatError:
            self.unreadable = True
            try:
                path.rename(path.with_name("state.unreadable"))
            except OSError as exc:
                raise StorageError(f"cannot rename {path}: {exc.strerror}") from exc


def carry_is_kept(state_dir: Path, logdir: Path) -> bool:
    """Whether a carry of the log that is named so lies there; without a lock, so for a look only."""
    return os.path.lexists(state_dir / _name(logdir) / _CARRY)


def _place(logdir: Path) -> str:
    return os.path.abspath(logdir)  # noqa: PTH100  # the name counts: links are not followed


def _name(logdir: Path) -> str:
    return hashlib.sha256(os.fsencode(_place(logdir))).hexdigest()[:16]


def _quoted(path: str) -> str:
    return quote_from_bytes(os.fsencode(path))


def _read(path: Path) -> State | None:
    raw = read_own(path, _LIMIT)
    if raw is None:
        return None
    if not raw.endswith(b"\n"):
        raise FormatError(f"{path} is cut short")
    state = decode_json(raw[:-1], State, str(path))
    b64decode(state.log, "log", 32)
    b64decode(state.root, "root", 32)
    return state


def _find(state_dir: Path, logdir: Path) -> Path | None:
    own = state_dir / _name(logdir)
    if os.path.lexists(own / _STATE):
        return own
    real, gone = _quoted(os.path.realpath(logdir)), []
    for directory, state in _all(state_dir):
        if state.real == real:
            return directory
        if not os.path.lexists(unquote_to_bytes(state.place)):
            gone.append((directory, state))
    if gone and (end := read_chain_end(list_segments(logdir).segments)) is not None:
        return next((directory for directory, state in gone if state.log == b64encode(end.log)), None)
    return None


def _all(state_dir: Path) -> Iterator[tuple[Path, State]]:
    try:
        folders = sorted(state_dir.iterdir())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StorageError(f"cannot list {state_dir}: {exc.strerror}") from exc
    for folder in folders:
        try:
            state = _read(folder / _STATE)
        except (EpochsealError, OSError):
            # What cannot be read is another log's, whose own agent will say so.
            continue
        if state is not None:
            yield folder, state
