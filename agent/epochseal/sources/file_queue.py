"""The files that stood at one path, the oldest first: found again after a restart or a rotation."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import islice

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.compressed_copy import CompressedCopy, Content, Search, open_content, reach
from epochseal.sources.file_identity import HEAD, Identity, holds
from epochseal.sources.log_file import LogFile
from epochseal.sources.resting_files import Look
from epochseal.sources.rotated_files import (
    Rotated,
    find_by_inode,
    find_file,
    has_others,
    is_copy_of,
    list_rotated,
)
from epochseal.sources.rotated_names import RotatedNames, is_compressed, missing_numbers
from epochseal.sources.sightings import Sighting

_MOST_LEFT = 32
_MOST_SEARCHES = 3


class FileQueue:
    """The open files of one path; only the first is read, the others wait for it.

    Args:
        path: absolute.
        names: of rotated files.
        lost: is told, in words, of every case in which lines may be missing.
        is_foreign: whether a file, by device and inode, is read under another path.
    """

    def __init__(
        self,
        path: str,
        names: RotatedNames,
        lost: Callable[[str], None],
        is_foreign: Callable[[tuple[int, int]], bool],
    ) -> None:
        self._path = path
        self._names = names
        self._lost = lost
        self._is_foreign = is_foreign
        self._files: deque[Content] = deque()
        self.is_elsewhere = False
        """Whether the file that was to be resumed is read under another path."""
        # What was read of the files before, and how they began, by which a compressed copy of one is known.
        self._left: deque[tuple[Identity, int, bytes]] = deque(maxlen=_MOST_LEFT)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def first(self) -> Content:
        """The file that is being read."""
        return self._files[0]

    @property
    def keys(self) -> set[tuple[int, int]]:
        """Device and inode of every file in the queue."""
        return {content.key for content in self._files}

    def has(self, key: tuple[int, int]) -> bool:
        """Whether the file with this device and inode is in the queue."""
        # Asked of each awake path for each file that appears: a set of them would cost more than it saves.
        for content in self._files:  # noqa: SIM110  # as above
            if content.key == key:
                return True
        return False

    @property
    def heads(self) -> list[bytes]:
        """The first bytes of the files that were read lately, and of those in the queue."""
        return [*(head for _, _, head in self._left), *(content.head for content in self._files)]

    @property
    def later_bytes(self) -> int:
        """Bytes of the files behind the first; 0 for a compressed one, whose content has no known length."""
        return sum(content.size() for content in tuple(self._files)[1:])

    @property
    def gone(self) -> bool:
        """Whether the only file has no name any more, and nothing else stands at the path."""
        return len(self._files) == 1 and self._files[0].removed and not os.path.lexists(self._path)

    # --- what stands at the path ----------------------------------------------------------------------------

    def begin(self, sighting: Sighting) -> None:
        """The first files of a path."""
        self._files.extend(sighting.files)

    def begin_since(self, since: int, sighting: Sighting) -> Search[None]:
        """The first files of a path; before them those that were written to since then, and rotated."""
        rotated = [item for item in self._own_rotated() if item.found.st_mtime_ns >= since] if since else []
        if not rotated:
            self.begin(sighting)
            return
        self._files.extend(sighting.between)
        yield from self._append_after(rotated, -1, sighting.here)

    def is_back(self, sighting: Sighting) -> bool:
        """Whether one of the files came to the path again, and others stood there after it."""
        returned = set(sighting.returned)
        if sighting.here is None and (look := Look.at(self._path)) is not None and self.has(look.key):
            returned.add(look.key)
        return bool(returned) and (bool(sighting.between) or self._files[-1].key not in returned)

    def rotate(self, sighting: Sighting) -> Search[None]:
        """Queue what now stands at the path, behind the files that stood there since the last one queued."""
        here, newest = sighting.here, self._files[-1]
        begun = newest.head
        if here is not None and newest.removed and begun and here.bytes_at(0, len(begun)) == begun:
            self._lost(f"{self._path} was written anew instead of appended to: lines may be sealed twice")
        if sighting.complete or here is None:
            self._files.extend(sighting.files)
            return
        last = newest.key
        self._files.extend(sighting.between)
        rotated = self._rotated()
        place = next((i for i, item in enumerate(rotated) if item.key == last), None)
        if place is not None:
            yield from self._append_after(rotated, place, here)
            return
        # The last one queued has no name here any more. Files that were written to after it stood at the path
        # since; whether others did that are gone too, nobody can tell.
        self._lost(f"{self._path} may have been rotated faster than it was read: lines may be lost")
        yield from self._append_after(self._written_since(rotated), -1, here)

    def _rotated(self) -> list[Rotated]:
        return list_rotated(self._path, self._names)

    def _written_since(self, rotated: list[Rotated]) -> list[Rotated]:
        last = self._files[-1]
        newest = last.stat().st_mtime_ns if isinstance(last, LogFile) else 0
        return [item for item in rotated if item.found.st_mtime_ns >= newest and not self.has(item.key)]

    def resume(self, mark: SourceMark, sighting: Sighting) -> Search[bytes | None]:
        """Queue the file that `mark` is of, set to its offset, and all that came after it.

        The answer are the last of its sealed bytes, at most `TRAIL`. It is None where no such file is there
        any more; then what was sighted is all there is.
        """
        try:
            wanted = Identity.parse(mark.file)
        except FormatError:
            self.begin(sighting)
            return None
        if (trail := self._resume_sighted(wanted, mark.offset, sighting)) is not None:
            return trail
        found = yield from self._find(wanted, mark.offset)
        if found is None:
            self.begin(sighting)
            return None
        rotated, place, old, trail = found
        # Found by its content under another inode it is a copy, and nobody writes to a copy.
        same = old.key[1] == wanted.inode
        old.static = old.static or not same
        self._files.append(old)
        here = sighting.here
        truncated = here is not None and not same and here.key[1] == wanted.inode
        if truncated:
            self._lost(f"{self._path} was truncated, or its inode given to a new file: lines may be lost")
        if sighting.complete and not truncated:
            self._files.extend(sighting.files)
        else:
            if place is None and here is not None and has_others(self._path, old, here, rotated):
                self._lost(f"{self._path}: files of names that are not known may have been rotated since")
            # Of copies the news say nothing: there may be one of each truncation.
            self._files.extend(sighting.between)
            after = rotated if place is not None else self._written_since(rotated)
            yield from self._append_after(after, -1 if place is None else place, here)
        if truncated:
            # The next start, too, is to see that the file was truncated since.
            for content in self._files:
                content.origin = wanted.device, wanted.inode
        return trail

    def _resume_sighted(self, wanted: Identity, offset: int, sighting: Sighting) -> bytes | None:
        files = sighting.files
        for place in range(len(files) - 1, -1, -1):
            content = files[place]
            same = wanted.is_file(content.key)
            if same and holds(content.ends(offset), wanted, offset) and content.go_to(offset):
                if any(older.size() for older in files[:place]):
                    self._lost(f"{self._path}: its file was away, and another one in its place is not read")
                for older in files[:place]:
                    older.close()
                self._files.extend(files[place:])
                return content.ends(offset)[1]
        return None

    def _find(
        self, wanted: Identity, offset: int
    ) -> Search[tuple[list[Rotated], int | None, Content, bytes] | None]:
        """The file that was sealed up to `offset`, its place among the rotated ones, and its last bytes."""
        for _ in range(_MOST_SEARCHES):
            rotated = self._own_rotated()
            found = yield from find_file(rotated, wanted, offset, copies=False)
            if (
                found is None
                and (moved := find_by_inode(self._path, self._names, wanted, offset)) is not None
            ):
                # A name that no rotation gives, or another one that the link led to.
                if self._is_foreign(moved.key):
                    moved.close()
                    self.is_elsewhere = True
                    return None
                found = moved, moved.ends(offset)[1]
            is_copy = found is None
            if found is None:
                found = yield from find_file(rotated, wanted, offset, copies=True)
            # It may have taken minutes: they have other names now, if they were rotated again meanwhile.
            now = self._own_rotated()
            if found is None and {item.key for item in now} <= {item.key for item in rotated}:
                return None
            if found is not None:
                place = next((i for i, item in enumerate(now) if item.key == found[0].key), None)
                if place is not None or not is_copy:
                    return now, place, *found
                found[0].close()
        return None

    def _own_rotated(self) -> list[Rotated]:
        return [item for item in self._rotated() if not self._is_foreign(item.key)]

    def _append_after(self, files: list[Rotated], place: int, content: LogFile | None) -> Search[None]:
        """Queue those behind the one at `place` (queued already; -1: none), and `content` if there is one."""
        if holes := missing_numbers([item.age for item in files[max(place, 0) :]]):
            self._lost(f"{self._path}: rotated files are missing in between: {holes} of them")
        if len(files) > 1 and not files[0].certain:
            self._lost(f"{self._path}: which of the rotated files are newer cannot be told")
        for item in files[place + 1 :]:
            if content is not None and item.key == content.key:
                # Rotated since it was sighted: others follow it.
                self._files.append(content)
                content = None
            elif (item.found.st_size or is_compressed(item.path)) and not (
                self.has(item.key) or self._is_foreign(item.key)
            ):
                found = yield from self._open_unread(item)
                self._files.extend([found] if found is not None else [])
        if content is not None:
            self._files.append(content)

    def _open_unread(self, item: Rotated) -> Search[Content | None]:
        """A rotated file; None if it is a compressed copy of one that was read, or waits here to be read."""
        if not item.found.st_size:
            self._lost(f"cannot read {item.path}: it is empty")
            return None
        try:
            found = open_content(item.path)
        except OSError as exc:
            self._lost(f"cannot read {item.path}: {exc.strerror}")
            return None
        is_new = False
        try:
            is_new = not (isinstance(found, CompressedCopy) and (yield from self._is_known(found)))
        finally:
            if not is_new:
                found.close()
        return found if is_new else None

    def _is_known(self, content: CompressedCopy) -> Search[bool]:
        """Whether a compressed file has the content of one that is known; its time of change says nothing."""
        waiting = [_whole(other) for other in self._files if isinstance(other, LogFile)]
        known = False
        if self._left or waiting:
            head, _ = yield from content.reach(HEAD)
            for wanted, offset, begun in [*self._left, *waiting]:
                if offset and head[:offset] == begun:
                    known = known or (yield from is_copy_of(content, wanted, offset))
            content.rewind()
        return known

    # --- the files themselves -------------------------------------------------------------------------------

    def first_has_more(self) -> bool:
        """Whether there is more to read in the first file, or it was truncated; looks at all of them.

        Raises:
            OSError: a file cannot be looked at.
        """
        if len(self._files) > 1:
            self._tell_of_removed()
        # Each of them is asked, since it is by asking that a truncation is noticed.
        grown = [content.has_more() or content.truncated for content in self._files]
        return grown[:1] == [True]

    def _tell_of_removed(self) -> None:
        """A file that waits has no name any more, and one before it has: that one a later start goes on with.

        If the agent is killed before the file is read, nothing else says that it was there.
        """
        is_named = False
        for content in self._files:
            if not isinstance(content, LogFile):
                continue
            if not content.removed:
                is_named = True
            elif is_named and content.size() and not content.is_told:
                content.is_told = True
                self._lost(f"{self._path}: a file that stood there was removed before it was read")

    def quiet_since(self) -> float:
        """Since when (`time.monotonic`) the first has not grown while another one waited behind it."""
        first, *later = islice(self._files, 2)
        return max([first.grew_at, *(content.queued_at for content in later)])

    def later_has_more(self) -> bool:
        """Whether a file behind the first has anything in it, or was sealed under another path until now."""
        later = islice(self._files, 1, None)
        return any(content.has_more() or content.truncated or content.start[0] for content in later)

    def queue_truncated(self, content: LogFile, again: LogFile, position: int) -> Search[bool]:
        """The first file was truncated: queue it `again`; whether a copy of its old content takes its place.

        A rotation by copytruncate leaves such a copy. It has what was not read yet, but nothing that was
        written after the copy was made. It is set to `position`.
        """
        wanted, seen = content.was
        rotated = self._rotated()
        found = yield from find_file(rotated, wanted, seen, copies=True)
        copies = list[Content]()
        if found is not None:
            yield from reach(found[0], position)
            copies = [found[0]]
            place = next((i for i, item in enumerate(rotated) if item.key == found[0].key), len(rotated))
            # It may have been truncated more than once between two looks.
            for item in rotated[place + 1 :]:
                if item.found.st_size and not self.has(item.key):
                    later = yield from self._open_unread(item)
                    copies.extend([later] if later is not None else [])
        for copy in copies:
            copy.static, copy.origin = True, content.origin
        if copies:
            content.close()
        self._files.popleft()
        self._files.extendleft(reversed([*(copies or [content]), again]))
        return bool(copies)

    def take_first(self) -> Content:
        """Take the first file out of the queue."""
        content = self._files.popleft()
        if isinstance(content, LogFile):
            self._left.append((*content.was, content.head))
        return content

    def limit(self) -> None:
        """Nothing that is written from now on is read any more."""
        for content in self._files:
            if isinstance(content, LogFile):
                content.limit = content.size()

    def close(self) -> None:
        """Close all files."""
        for content in self._files:
            content.close()


def _whole(content: LogFile) -> tuple[Identity, int, bytes]:
    """What a file that waits is, all of it, and how it begins."""
    size = content.size()
    ends = content.ends(size)
    return Identity.of(content.key, *ends), size, ends[0]
