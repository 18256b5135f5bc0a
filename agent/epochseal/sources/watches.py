"""What the kernel tells of folders and of files at rest; everything works without it, only later.

News say where to look at once. They also say what a look cannot show: which files stood at a path since the
last one. Where a folder is not watched, or news were lost, that is unknown, and `generation` tells it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from epochseal.sources.arrivals import Arrivals
from epochseal.sources.inotify import (
    CREATED,
    DELETED,
    FOLDER_MOVED,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    WATCH_ENDED,
    Event,
    Inotify,
)
from epochseal.sources.rotated_names import RotatedNames


class Watches:
    """Watched folders, and files whose next write is awaited.

    Args:
        is_followed: whether a path is one at which files are waited for.
        is_named: whether a glob names it.
    """

    def __init__(self, is_followed: Callable[[str], bool], is_named: Callable[[str], bool]) -> None:
        try:
            self._inotify: Inotify | None = Inotify()
        except OSError:
            self._inotify = None
        self.arrivals = Arrivals(is_followed)
        self._is_followed = is_followed
        self._is_named = is_named
        self._touched: dict[str, None] = {}
        self._made: dict[str, None] = {}
        # By path: the watch, its generation, and the inode of the folder.
        self._folders: dict[str, tuple[int, int, int]] = {}
        self._folder_of: dict[int, str] = {}
        self._files: dict[str, int] = {}
        self._file_of: dict[int, str] = {}
        self._removed_unwritten: set[str] = set()
        self._generation = 0

    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [self._inotify.fileno()] if self._inotify is not None else []

    # --- folders --------------------------------------------------------------------------------------------

    def watch_folders(self, folders: Iterable[tuple[str, os.stat_result]], names: RotatedNames) -> set[str]:
        """Watch these folders, and those where their rotated files go; those that were not watched yet."""
        unwatched = set[str]()
        for folder, found in folders:
            if not self.watch_folder(folder, found):
                unwatched.add(folder)
            for other in names.folders(folder)[1:]:
                with suppress(OSError):
                    self.watch_folder(other, os.stat(other))  # noqa: PTH116  # as of all others
        return unwatched

    def watch_folder(self, folder: str, found: os.stat_result) -> bool:
        """Watch a folder that looks like this; again, if it is another one than before.

        Whether all names in it were told of already.
        """
        known = self._folders.get(folder)
        if known is not None and known[2] == found.st_ino:
            return True
        if self._inotify is None:
            return False
        if known is not None:
            self._drop_folder(folder)
        try:
            watch = self._inotify.watch_folder(folder)
        except OSError:
            return False
        self._generation += 1
        self._folders[folder] = watch, self._generation, found.st_ino
        self._folder_of[watch] = folder
        return False

    def generation(self, path: str) -> int:
        """A number that stays the same while all names in a path's folder are told of; 0 if they are not."""
        folder = self._folders.get(os.path.dirname(path))  # noqa: PTH120  # text in, text out, a thousand times
        return folder[1] if folder is not None else 0

    # --- files ----------------------------------------------------------------------------------------------

    def watch_next_write(self, path: str) -> None:
        """Be told when the file that stands there is written to."""
        self._removed_unwritten.discard(path)
        if self._inotify is None:
            return
        try:
            watch = self._inotify.watch_next_write(path)
        except OSError:
            return
        # Two names of one file have one watch; the earlier name is found by the looks of all files.
        if (other := self._file_of.pop(watch, None)) is not None:
            del self._files[other]
        self._files[path], self._file_of[watch] = watch, path

    def awaits_write(self, path: str) -> bool:
        """Whether the next write to the file of this path will be told of."""
        return path in self._files

    def release(self, path: str) -> bool:
        """Await no write any more; whether the file is gone for good, and was not written to before."""
        self.pump()
        if path in self._removed_unwritten:
            self._removed_unwritten.discard(path)
            return True
        if (watch := self._files.pop(path, None)) is not None:
            del self._file_of[watch]
            if self._inotify is not None:
                self._inotify.forget(watch)
        return False

    # --- news -----------------------------------------------------------------------------------------------

    def touched(self) -> list[str]:
        """Paths to look at, each once."""
        self.pump()
        touched, self._touched = list(self._touched), {}
        return touched

    def made(self) -> list[str]:
        """Paths that a glob names and nobody follows, at which a file was made; each once."""
        made, self._made = list(self._made), {}
        return made

    def pump(self) -> None:
        """Take in all news there are."""
        if self._inotify is None:
            return
        for event in self._inotify.read():
            if event.mask & OVERFLOW:
                self._lose_track()
            elif (folder := self._folder_of.get(event.watch)) is not None:
                self._name_changed(folder, event)
            elif (path := self._file_of.get(event.watch)) is not None:
                self._file_changed(path, event)
        self.arrivals.moved_away()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _name_changed(self, folder: str, event: Event) -> None:
        if event.mask & (WATCH_ENDED | FOLDER_MOVED):
            self._drop_folder(folder)
            return
        path = f"{folder.rstrip('/')}/{event.name}"
        if event.mask & CREATED:
            self.arrivals.appeared(path)
            if not self._is_followed(path) and self._is_named(path):
                self._made[path] = None
        elif event.mask & DELETED:
            self.arrivals.removed(path)
        elif event.mask & MOVED_FROM:
            self.arrivals.moved_from(path, event.cookie)
        elif event.mask & MOVED_TO:
            self.arrivals.moved_to(path, event.cookie)
        if self._is_followed(path):
            self._touched[path] = None

    def _file_changed(self, path: str, event: Event) -> None:
        del self._files[path], self._file_of[event.watch]
        if event.mask & WATCH_ENDED:
            self._removed_unwritten.add(path)
        self._touched[path] = None

    def _drop_folder(self, folder: str) -> None:
        watch, _, _ = self._folders.pop(folder)
        del self._folder_of[watch]
        if self._inotify is not None:
            self._inotify.forget(watch)

    def _lose_track(self) -> None:
        self.arrivals.clear()
        for folder, (watch, _, inode) in self._folders.items():
            self._generation += 1
            self._folders[folder] = watch, self._generation, inode
        # A write may be among what was lost: no file at rest is known to be unwritten any more.
        for watch in self._file_of:
            if self._inotify is not None:
                self._inotify.forget(watch)
        self._files, self._file_of, self._removed_unwritten = {}, {}, set()
