"""Which files stand at one path, one after the other, and which of them was sealed last.

What has to be searched for (a file of before a restart, the copy of a truncated one) may be in compressed
files: then it is done bit by bit (`search_on`), and the path is not looked at meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.announcement import Announcement
from epochseal.sources.compressed_copy import Search
from epochseal.sources.file_queue import FileQueue
from epochseal.sources.log_file import LogFile
from epochseal.sources.resting_files import Look, Resting
from epochseal.sources.rotated_names import RotatedNames
from epochseal.sources.sightings import Sight, Sighting
from epochseal.sources.watches import Watches


class Begin(Protocol):
    """Reads the first file of the queue: from an offset on, before which these were the last bytes."""

    def __call__(self, offset: int, trail: bytes, *, is_new: bool) -> None: ...  # noqa: D102  # as above


class Succession:
    """Of one path.

    Args:
        resting: what is known of the path.
        told: what people and the chain are told of it.
        watches: the news.
        names: of rotated files.
        is_foreign: whether a file, by device and inode, is read under another path.
        claim: whether a new file is to be read here; it is set to begin where it is sealed.
        begin: is called when the first file of the queue is known.
    """

    def __init__(
        self,
        path: str,
        resting: Resting,
        told: Announcement,
        *,
        watches: Watches,
        names: RotatedNames,
        is_foreign: Callable[[tuple[int, int]], bool],
        claim: Callable[[LogFile], bool],
        begin: Begin,
    ) -> None:
        self._path = path
        self._told = told
        self._begin = begin
        self._sight = Sight(path, watches, resting.generation)
        self.resume = resting.mark
        """Up to where the file is sealed that was not found again yet."""
        # Whether the file that was sealed last may be looked for under other names once; and whether it is to
        # be told if it is not found.
        self._to_find = self.resume is not None
        self._is_news = resting.seen is not None or resting.is_missing
        self._missing_said = resting.missing_said
        self._since = resting.since
        self._is_foreign = is_foreign
        self._claim = claim
        self.files = FileQueue(path, names, told.gap, is_foreign)
        self._search: Search[None] | None = None
        self._held: list[LogFile] = []
        self._finishing = False
        self.is_abandoned = False
        """Whether a search was given up for a stop: the next start begins it again."""

    # --- what stands at the path ----------------------------------------------------------------------------

    def look(self) -> None:
        """See whether files were rotated, or removed."""
        if self._search is not None:
            with suppress(OSError):
                for content in self._held:
                    content.has_more()
            return
        try:
            if (sighting := self._sight.look(self.files.keys)) is not None:
                self._see(sighting)
            self._told.well()
        except FileNotFoundError:
            self._told.well()
            self._find_moved()
        except OSError as exc:
            self._told.error(exc)

    def _see(self, sighting: Sighting) -> None:
        if sighting.lost:
            self._told.gap(
                f"{self._path} was rotated or removed before it could be opened: lines may be lost"
            )
        own = self._own(sighting)
        if self.files.is_back(own):
            # After a restart the others would count as older than it.
            self._told.gap(f"{self._path}: its file was away, and another one in its place meanwhile")
        if own.files:
            self.search(self._take_in(own), own.files)
        elif sighting.files:
            # A file of another path took the place of this one's, which may be lost.
            self._is_news = True
            self._find_moved()

    def _own(self, sighting: Sighting) -> Sighting:
        """What was sighted, but for files that are read under another path, which they had before."""
        own = []
        for content in sighting.files:
            if self._is_foreign(content.key) or not self._claim(content):
                content.close()
            else:
                own.append(content)
                # How it is now: by that a truncation shows, however long it waits to be read.
                content.has_more()
        here = sighting.here if sighting.here in own else None
        between = [content for content in own if content is not here]
        return replace(sighting, between=between, here=here)

    def _take_in(self, sighting: Sighting) -> Search[None]:
        if self.resume is not None:
            yield from self._go_on(self.resume, sighting)
        elif self.files:
            yield from self.files.rotate(sighting)
        else:
            yield from self.files.begin_since(self._since, sighting)
            self._begin(*self.files.first.start, is_new=True)

    def _go_on(self, mark: SourceMark, sighting: Sighting) -> Search[None]:
        """Find the file again that was sealed last, and what followed it."""
        trail = yield from self.files.resume(mark, sighting)
        if not self.files:
            if self._is_news:
                self._say_missing(mark, None)
            return
        self.resume = None
        if trail is not None:
            self._begin(mark.offset, trail, is_new=False)
        else:
            self._begin(*self.files.first.start, is_new=True)
            self._say_missing(mark, sighting.here)

    def _find_moved(self) -> None:
        """Nothing stands at the path: the file that was sealed last may go on under another name."""
        if self.resume is not None and self._to_find:
            self._to_find = False
            self.search(self._go_on(self.resume, Sighting([], None)), [])

    def _say_missing(self, mark: SourceMark, here: LogFile | None) -> None:
        if self._missing_said or self.files.is_elsewhere:
            return
        self._missing_said = True
        if here is not None and mark.file.split("-")[1:2] == [str(here.key[1])]:
            self._told.gap(f"{self._path} was truncated: lines that were written just before may be lost")
        else:
            self._told.gap(
                f"{self._path}: the file that was sealed up to byte {mark.offset} is not there any more"
            )

    # --- searches -------------------------------------------------------------------------------------------

    @property
    def is_searching(self) -> bool:
        """Whether a search is under way."""
        return self._search is not None

    def search(self, search: Search[None], held: list[LogFile]) -> None:
        """Begin one: its first step is made at once, the others by `search_on`.

        Args:
            search: what is to be done.
            held: files that are open for it, and will be in the queue after it.
        """
        self._search, self._held = search, held
        self.search_on()
        if self._finishing:
            self._abandon()

    def search_on(self) -> None:
        """One step more."""
        if (search := self._search) is None:
            return
        try:
            next(search)
        except StopIteration:
            # It may have begun another one.
            if self._search is search:
                self._search, self._held = None, []

    def finish(self) -> None:
        """Search no more: what was not found yet is left to the next start."""
        self._finishing = True
        self._abandon()

    def _abandon(self) -> None:
        if self._search is not None:
            self.is_abandoned = True
            self._end_search()

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.close()
            for content in self._held:
                content.close()
            self._search, self._held = None, []

    # --- ending ---------------------------------------------------------------------------------------------

    def has(self, key: tuple[int, int]) -> bool:
        """Whether a file, by device and inode, stands here, or stood and is not read to its end."""
        return self.files.has(key) or any(content.key == key for content in self._held)

    @property
    def unfound(self) -> SourceMark | None:
        """Up to where the path is sealed, while nothing of it is read."""
        # A file that was told to be missing is not waited for beyond the next start.
        return None if self._missing_said else self.resume

    def rest(self, mark: SourceMark | None) -> Resting | None:
        """What to know of the path when its files are closed; None if that would lose sight of something.

        Args:
            mark: up to where the first file is sealed.
        """
        found = Look.at(self._path)
        if not self.files:
            rested = Resting(
                self.resume, None, self._sight.generation, self._told.said, missing_said=self._missing_said
            )
            return rested if found is None or self._told.said else None
        content = self.files.first
        whole = isinstance(content, LogFile) and found == Look.of(content.stat()) and not content.has_more()
        return Resting(mark, found, self._sight.generation) if whole else None

    def close(self) -> None:
        """Close all files."""
        self._end_search()
        self.files.close()
