"""A disk that loses power: of what was not synced any part is left, bytes and names alike.

Files: each sector that was written since the last sync of its file is there or is not, and the length is the
old one, the new one, or between. Folders: of the names that were made, changed or removed since the last
sync of their folder any may be there or not; a rename is done or not done. On one disk in order (a journal)
only the last ones are lost.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fault.test_sealer_faults import Killed

SECTOR = 512

Names = dict[str, int]


class Change(NamedTuple):
    """A change in a folder: `name` gets an inode, or goes (None); `gone` is the name that a rename took."""

    folder: int
    name: str
    inode: int | None
    gone: str = ""


@dataclass
class Image:
    """What lies on the disk: folders by their inodes, files by theirs."""

    names: dict[int, Names] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)


class LostDisk:
    """Ends the process before one sync, counted from 0, and keeps what is on the disk then.

    Attributes:
        syncs: how many there were; `lost` names and `torn` sectors that the power cut took.
    """

    def __init__(self, roots: list[Path], victim: int) -> None:
        self._roots, self._victim, self.syncs = roots, victim, 0
        self.lost = self.torn = 0
        self._durable = Image()
        self._changes: list[Change] = []
        self._now: Image | None = None
        self._top: dict[Path, int] = {}

    def run(self, act: Callable[[], object]) -> bool:
        """Do something; whether the power was cut in it."""
        for root in self._roots:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._top[root] = root.stat().st_ino
            self._keep_tree(root, self._durable)
        with pytest.MonkeyPatch.context() as patch:
            self._watch(patch)
            try:
                act()
            except Killed:
                return True
        return False

    def leave(self, chance: random.Random) -> None:
        """Put on the disk what the power cut has left of it."""
        now = self._now if self._now is not None else self._picture()
        in_order = chance.random() < 0.5
        durable = {folder: dict(names) for folder, names in self._durable.names.items()}
        kept = chance.randrange(len(self._changes) + 1) if in_order else 0
        share = chance.choice((0.2, 0.5, 0.8))
        for place, change in enumerate(self._changes):
            if place < kept if in_order else chance.random() < share:
                _apply(durable, change)
            else:
                self.lost += 1
        for root, inode in self._top.items():
            shutil.rmtree(root)
            self._write(root, inode, Image(durable, now.content), chance)

    def _write(self, folder: Path, inode: int, left: Image, chance: random.Random) -> None:
        folder.mkdir(mode=0o700, parents=True)
        for name, item in left.names.get(inode, {}).items():
            if item in left.names:
                self._write(folder / name, item, left, chance)
                continue
            old = self._durable.content.get(item, b"")
            data = self._tear(old, left.content.get(item, old), chance)
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)

    def _tear(self, old: bytes, new: bytes, chance: random.Random) -> bytes:
        if old == new:
            return new
        share = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        low, high = sorted((len(old), len(new)))
        length = chance.choice((len(new), len(new), len(old), chance.randint(low, high)))
        parts = []
        for at in range(0, length, SECTOR):
            fresh = chance.random() < share
            self.torn += not fresh
            part = (new if fresh else old)[at : at + SECTOR]
            parts.append(part.ljust(min(SECTOR, length - at), b"\0")[: length - at])
        return b"".join(parts)

    # --- what the process does ------------------------------------------------------------------------------

    def _watch(self, patch: pytest.MonkeyPatch) -> None:
        """Every call of the os module that changes names, and every sync."""
        for name in ("open", "fsync", "fdatasync", "rename", "unlink", "mkdir"):
            watched = self._synced if name.endswith("sync") else getattr(self, f"_{name}")
            patch.setattr(os, name, partial(watched, getattr(os, name)))

    def _open(self, real: Any, path: Any, flags: int, *args: Any, **more: Any) -> int:  # noqa: ANN401  # as os.open
        made = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        descriptor: int = real(path, flags, *args, **more)
        if made:
            self._change(Path(path), os.fstat(descriptor).st_ino)
        return descriptor

    def _synced(self, real: Callable[[int], None], descriptor: int) -> None:
        if self._now is None and self.syncs == self._victim:
            self._now = self._picture()
        if self._now is not None:
            raise Killed
        self.syncs += 1
        real(descriptor)
        self._is_durable(descriptor)

    def _rename(self, real: Any, source: Any, target: Any, **more: Any) -> None:  # noqa: ANN401  # as os.rename
        real(source, target, **more)
        inode, beside = Path(target).lstat().st_ino, Path(source).parent == Path(target).parent
        self._change(Path(target), inode, Path(source).name if beside else "")
        if not beside:
            self._change(Path(source), None)

    def _unlink(self, real: Any, path: Any, **more: Any) -> None:  # noqa: ANN401  # as os.unlink
        real(path, **more)
        self._change(Path(path), None)

    def _mkdir(self, real: Any, path: Any, *args: Any, **more: Any) -> None:  # noqa: ANN401  # as os.mkdir
        real(path, *args, **more)
        inode = Path(path).stat().st_ino
        self._change(Path(path), inode)
        self._durable.names.setdefault(inode, {})

    def _change(self, path: Path, inode: int | None, gone: str = "") -> None:
        if self._now is None and any(path.is_relative_to(root) for root in self._roots):
            self._changes.append(Change(path.parent.stat().st_ino, path.name, inode, gone))

    def _is_durable(self, descriptor: int) -> None:
        """What the disk has for certain since this sync."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            left = []
            for change in self._changes:
                if change.folder == status.st_ino:
                    _apply(self._durable.names, change)
                else:
                    left.append(change)
            self._changes = left
            return
        # Not by the descriptor itself, which may be for writing alone.
        self._durable.content[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def _picture(self) -> Image:
        image = Image()
        for root in self._roots:
            self._keep_tree(root, image)
        return image

    def _keep_tree(self, folder: Path, image: Image) -> None:
        names = image.names.setdefault(folder.stat().st_ino, {})
        for path in folder.iterdir():
            names[path.name] = path.lstat().st_ino
            if path.is_dir():
                self._keep_tree(path, image)
            else:
                image.content[path.lstat().st_ino] = path.read_bytes()


def _apply(names: dict[int, Names], change: Change) -> None:
    folder = names.setdefault(change.folder, {})
    if change.gone:
        folder.pop(change.gone, None)
    if change.inode is None:
        folder.pop(change.name, None)
    else:
        folder[change.name] = change.inode
