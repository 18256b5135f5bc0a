"""The files that stood at one path, the oldest first: found again after a restart or a rotation."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import Content, LogFile, open_content
from epochseal.sources.rotated_files import Rotated, find_file, list_rotated, missing_numbers


class FileQueue:
    """The open files of one path; only the first is read, the others wait for it.

    Args:
        path: absolute.
        lost: is told, in words, of every case in which lines may be missing.
    """

    def __init__(self, path: str, lost: Callable[[str], None]) -> None:
        self._path = path
        self._lost = lost
        self._files: deque[Content] = deque()

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

    @property
    def later_bytes(self) -> int:
        """Bytes of the files behind the first; 0 for a compressed one, whose content has no known length."""
        return sum(content.size() for content in tuple(self._files)[1:])

    @property
    def gone(self) -> bool:
        """Whether the only file has no name any more, and nothing else stands at the path."""
        return len(self._files) == 1 and self._files[0].removed and not os.path.lexists(self._path)

    # --- what stands at the path ----------------------------------------------------------------------------

    def open_path(self) -> LogFile | None:
        """Open the file that stands at the path; None if it is in the queue already.

        Raises:
            OSError: there is none, or it cannot be opened.
        """
        found = Path(self._path).stat()
        # An older file may have been renamed back to the path: it is being read already.
        if (found.st_dev, found.st_ino) in self.keys:
            return None
        content = LogFile.open(self._path)
        if content.key in self.keys:
            # It was renamed back between the two calls above.
            content.close()
            return None
        return content

    def append(self, content: Content) -> None:
        """Queue a file as the last."""
        self._files.append(content)

    def append_rotation(self, content: LogFile) -> None:
        """Queue what now stands at the path, behind the files that stood there since the last one queued."""
        last = self._files[-1].key
        rotated = list_rotated(self._path)
        place = next((i for i, item in enumerate(rotated) if _key(item) == last), None)
        if place is not None:
            self._append_after(rotated, place, content)
            return
        # The last one queued has no name here any more. Files that were written to after it stood at the path
        # since; whether others did that are gone too, nobody can tell.
        newest = self._last_write()
        newer = [item for item in rotated if item.found.st_mtime_ns >= newest and _key(item) not in self.keys]
        if newer:
            self._lost(f"{self._path} was rotated faster than it was read: lines may be lost")
        self._append_after(newer, -1, content)

    def _last_write(self) -> int:
        last = self._files[-1]
        return last.stat().st_mtime_ns if isinstance(last, LogFile) else 0

    def resume(self, mark: SourceMark, content: LogFile) -> bytes | None:
        """Queue the file that `mark` is of, set to its offset, and all that came after it.

        The answer are the last of its sealed bytes, at most `TRAIL`. It is None where no such file is there
        any more; then `content`, which stands at the path now, is the first.
        """
        files = [*list_rotated(self._path), Rotated(self._path, content.stat(), (3, 0, 0))]
        try:
            wanted = Identity.parse(mark.file)
        except FormatError:
            wanted = None
        place, old = len(files) - 1, None
        for copies in (False, True):
            if wanted is not None and old is None:
                place, old = find_file(files, wanted, mark.offset, copies=copies) or (place, None)
        if old is None:
            self._files.append(content)
            return None
        _, trail = old.ends(mark.offset)
        old.go_to(mark.offset)
        if wanted is not None and old.key != content.key and wanted.inode == content.key[1]:
            self._lost(f"{self._path} was truncated, or its inode given to a new file: lines may be lost")
        self._files.append(old)
        if old.key == content.key:
            content.close()
        else:
            # Found by its content under another inode, it is a copy, and nobody writes to a copy.
            old.static = old.static or wanted is None or old.key[1] != wanted.inode
            self._append_after(files[:-1], place, content)
        return trail

    def _append_after(self, files: list[Rotated], place: int, content: LogFile) -> None:
        """Queue those behind the one at `place` (already queued; -1: none), then `content`."""
        if holes := missing_numbers(files[max(place, 0) :]):
            self._lost(f"{self._path}: rotated files are missing in between: {holes} of them")
        for item in files[place + 1 :]:
            if item.found.st_size and _key(item) != content.key:
                try:
                    self._files.append(open_content(item.path))
                except OSError as exc:
                    self._lost(f"cannot read {item.path}: {exc.strerror}")
        self._files.append(content)

    # --- the files themselves -------------------------------------------------------------------------------

    def first_has_more(self) -> bool:
        """Whether there is more to read in the first file, or it was truncated; looks at all of them.

        Raises:
            OSError: a file cannot be looked at.
        """
        # Each of them is asked, since it is by asking that a truncation is noticed.
        grown = [content.has_more() or content.truncated for content in self._files]
        return grown[:1] == [True]

    def quiet_since(self) -> float:
        """Since when (`time.monotonic`) the first has not grown while another one waited behind it."""
        first, *later = islice(self._files, 2)
        return max([first.grew_at, *(content.queued_at for content in later)])

    def later_has_more(self) -> bool:
        """Whether a file behind the first has anything in it."""
        return any(content.has_more() for content in islice(self._files, 1, None))

    def queue_truncated(self, content: LogFile) -> bool:
        """The first file was truncated: queue it anew; whether a copy of its old content takes its place.

        A rotation by copytruncate leaves such a copy. It has what was not read yet, but nothing that was
        written after the copy was made.
        """
        wanted, seen = content.was
        found = find_file(list_rotated(self._path), wanted, seen, copies=True)
        self._files.insert(1, content.again())
        if found is None:
            return False
        copy = found[1]
        copy.static = True
        copy.go_to(content.position)
        content.close()
        self._files[0] = copy
        return True

    def take_first(self) -> Content:
        """Take the first file out of the queue."""
        return self._files.popleft()

    def limit(self) -> None:
        """Nothing that is written from now on is read any more."""
        for content in self._files:
            if isinstance(content, LogFile):
                content.limit = content.size()

    def close(self) -> None:
        """Close all files."""
        for content in self._files:
            content.close()


def _key(item: Rotated) -> tuple[int, int]:
    return item.found.st_dev, item.found.st_ino
