"""All paths of one tailed table: awake or at rest, and which of them have something.

Those that have something to read or were written to lately are awake, with a `Follower` and open files; all
others rest, and cost no descriptor. A write to a resting file is news of the kernel, or is found by looking
at each of them: news miss what comes from another host or through another layer of an overlay, and may be
lost. The looks take a hundredth of the time.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import time
from collections.abc import Mapping

from msgspec.structs import replace

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.beginnings import Beginnings
from epochseal.sources.file_reader import FileBuffers
from epochseal.sources.follower import Follower
from epochseal.sources.leftovers import Leftovers
from epochseal.sources.log_file import source_name
from epochseal.sources.matched_paths import MatchedPaths
from epochseal.sources.newcomers import claim, former_path, is_read_elsewhere, take_over
from epochseal.sources.resting_files import Look, Resting, RestingFiles
from epochseal.sources.rotated_names import is_compressed
from epochseal.sources.siblings import Siblings, read_head
from epochseal.sources.source import FileLook
from epochseal.sources.tail_options import TailOptions
from epochseal.sources.watches import Watches

MOST_NAME = 4096
"""Bytes of a source's name: it is part of a line that has to fit in a page."""
SHORTEST, LONGEST = 0.01, 0.25
_LONGEST_WATCHED = 1.5
SCAN_EVERY = 1.0
REST_AFTER = 60.0
_LOOK_SHARE = 100
_MOST_AWAKE, _FEWEST_AWAKE = 256, 4
_log = logging.getLogger(__name__)


class PathTable:
    """The paths that some globs name.

    Args:
        matched: the globs.
        options: how files are followed.
        positions: where the chain says that sealing stopped, by source name.
        buffers: makes them.
    """

    def __init__(
        self,
        matched: MatchedPaths,
        options: TailOptions,
        positions: Mapping[str, SourceMark],
        buffers: FileBuffers,
    ) -> None:
        self._matched = matched
        self._names = options.names
        self._rest_after = REST_AFTER if options.close_inactive is None else options.close_inactive
        self._buffers = buffers
        self._watches = Watches(self._is_followed, self._matched.matches)
        self._siblings = Siblings()
        self._resting = RestingFiles()
        self._awake: dict[str, Follower] = {}
        # The awake ones, in the order in which they are read and sealed.
        self.order: list[Follower] = []
        # Resting paths that have something, in order; those whose position has to be told, and whether they
        # may have been rotated before; other names of files that are read under their first one.
        self._due: dict[str, None] = {}
        self._announce: dict[str, bool] = {}
        self._unwatched = set[str]()
        self._aliases: set[str] = set()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_awake = max(_FEWEST_AWAKE, min(_MOST_AWAKE, limit // 8))
        # What the chain is to be told of names whose file goes on under another one: that they have none.
        self.ended: list[SourceMark] = []
        self._scan_at = self._look_at = self._rest_at = 0.0
        self._finishing = False
        self._scanned = False
        self._resting.remember(positions, matched.matches)
        self._beginnings = Beginnings(options, matched, [path for path, _ in self._resting.items()])

    @property
    def has_due(self) -> bool:
        """Whether a path at rest has something."""
        return bool(self._due)

    def file_looks(self) -> list[FileLook]:
        """The files that cannot be read or have something to be sealed; any thread may ask."""
        awake = [FileLook(item.name, item.told.said, item.lag) for item in tuple(self.order)]
        return [look for look in [*awake, *self._resting.file_looks()] if look.trouble or look.lag]

    def descriptors(self) -> list[int]:
        """News of the kernel."""
        return [] if self._finishing else self._watches.descriptors()

    def next_look(self) -> float:
        """When to look again (`time.monotonic`)."""
        looks = [follower.look_at for follower in self.order]
        return min(looks if self._finishing else [*looks, self._scan_at, self._look_at], default=0.0)

    def positions(self) -> list[SourceMark]:
        """Up to where each file is sealed; also of paths at which nothing stands at the moment."""
        known = [follower.position() for follower in self.order]
        return [*self._resting.marks(), *(position for position in known if position is not None)]

    def look(self) -> None:
        """See what changed, as far as it is time to look."""
        now = time.monotonic()
        if not self._finishing:
            if now >= self._scan_at:
                self._scan()
                self._scan_at = now + max(SCAN_EVERY, _LOOK_SHARE * (time.monotonic() - now))
            if (began := time.monotonic()) >= self._look_at:
                self._look_at_resting()
                self._look_at = now + max(LONGEST, _LOOK_SHARE * (time.monotonic() - began))
            self.take_news()
        self._wake_due()
        for follower in self.order:
            if now >= follower.look_at:
                self._look_at_awake(follower)

    def finish(self) -> None:
        """Take what the files hold now; what is written from now on is left."""
        self._scan()
        self._look_at_resting()
        self.take_news()
        # The next start would take them for rotated files.
        for path in self._siblings.judge(math.inf):
            self._meet(path)
        for follower in self.order:
            follower.finish()
        self._finishing = True

    def close(self) -> None:
        """Close all files."""
        for follower in self.order:
            follower.close()
        self._watches.close()

    # --- which files there are ------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Find files that are new, and folders to be told of."""
        for path in self._matched.fixed:
            if path not in self._resting and path not in self._awake:
                self._resting.put(path, Resting(self._begin(path)))
        found = self._matched.changed()
        self._unwatched = self._watches.watch_folders(self._matched.folders(), self._names)
        if not self._scanned:
            for pattern in self._matched.unmatched(found):
                # A typo looks like a service that has not written yet: only a person can tell which it is.
                _log.warning("%s: no such file yet; it is followed once it is there", pattern)
        for path in [*found, *self._aliases]:
            if self._is_followed(path):
                self._meet(path)
        if not self._scanned:
            self._scanned = True
            self._look_for_rotated()
        for path in self._siblings.judge(time.monotonic()):
            self._meet(path)

    def _look_for_rotated(self) -> None:
        """At the start: what was rotated, or is gone, since the agent ended; of a glob that is to be told."""
        left = Leftovers(self._names)
        for path, resting in self._resting.items():
            if (mark := resting.mark) is None or os.path.lexists(path):
                continue
            here = left.heir(path, mark, self._is_new) or path
            if here != path:
                self._leave(path)
                mark = replace(mark, name=source_name(here))
                self._announce[here] = False
            if here in self._resting:
                self._resting.take(here)
            self._resting.put(here, Resting(mark, is_missing=here not in self._matched.fixed))
            self._due[here] = None
        for path, resting in self._resting.items():
            if resting.mark is None and resting.seen and self._beginnings.knows(path) and left.has(path):
                self._announce[path] = True

    def _is_new(self, path: str) -> bool:
        """Whether a path is followed, and nothing was sealed of it yet."""
        known = self._resting.get(path)
        return (known is None or known.mark is None) and self._matched.matches(path)

    def _is_followed(self, path: str) -> bool:
        if path in self._resting or path in self._awake:
            return True
        return (
            self._matched.matches(path) and len(source_name(path)) <= MOST_NAME and not self._is_rotated(path)
        )

    def _is_rotated(self, path: str) -> bool:
        """Whether it is only a rotated form of another file, as which it is read."""
        return is_compressed(path) or any(
            base in self._awake
            or base in self._resting
            or (self._matched.matches(base) and os.path.lexists(base))
            for base in self._names.former_paths(path)
        )

    def _meet(self, path: str) -> None:
        """A path that may be new."""
        self._aliases.discard(path)
        if path in self._resting or path in self._awake:
            return
        if (look := Look.at(path)) is None:
            if self._watches.arrivals.have(path):
                # It came and went already: that is for a follower to tell.
                self._resting.put(path, Resting(None, None, self._watches.generation(path)))
                self._due[path] = None
            return
        # A new name, but perhaps no new file: it was renamed, and both names match the globs, or it is a hard
        # link. Its lines must not be sealed twice.
        if is_read_elsewhere(look.key, path, self.order, self._resting):
            self._aliases.add(path)
            if self._watches.arrivals.take_others(path):
                _log.warning("%s was rotated or removed before it could be opened: lines may be lost", path)
                self.ended.append(SourceMark(source_name(path), 0, gap=1))
            return
        self.ended = [mark for mark in self.ended if mark.gap or mark.name != source_name(path)]
        mark = self._take_over(path, look.key) or self._begin(path)
        # Where no names were told, what was rotated since the listing before is as new as what is here.
        since = self._matched.since if os.path.dirname(path) in self._unwatched else 0  # noqa: PTH120  # of thousands
        self._resting.put(path, Resting(mark, look, self._watches.generation(path), since=since))
        self._due[path] = None

    def _take_over(self, path: str, key: tuple[int, int]) -> SourceMark | None:
        """The position of a file that had another name until now."""
        found = take_over(path, key, self.order)
        if found is None and (other := former_path(path, key, self._resting)) is not None:
            mark = self._leave(other)
            found = replace(mark, name=source_name(path)) if mark is not None else None
        if found is not None:
            self._announce[path] = False
        return found

    def _leave(self, path: str) -> SourceMark | None:
        """The file of a path goes on under another one: its position."""
        mark = self._resting.take(path).mark
        self._watches.release(path)
        self._due.pop(path, None)
        if self._is_news(path):
            self._resting.put(path, Resting(None, None, self._watches.generation(path)))
            self._due[path] = None
        else:
            self.ended.append(SourceMark(source_name(path), 0))
        return mark

    def _is_news(self, path: str) -> bool:
        """Whether a path whose file is gone has another one to be told of, be that gone again already."""
        return path in self._matched.fixed or self._watches.arrivals.have(path) or os.path.lexists(path)

    def _begin(self, path: str) -> SourceMark | None:
        """Where a file begins that was never read."""
        mark = self._beginnings.mark(path, at_start=not self._scanned)
        if mark is not None:
            self._announce[path] = False
        return mark

    # --- awake and at rest ----------------------------------------------------------------------------------

    def take_news(self) -> None:
        """Look where the kernel says that something changed."""
        for path in self._watches.touched():
            if (follower := self._awake.get(path)) is not None:
                follower.look_at = 0.0
            elif path in self._resting:
                self._due[path] = None
            else:
                self._meet(path)
        for path in self._watches.made():
            if not is_compressed(path):
                heads = [head for base in self._names.former_paths(path) for head in self._heads(base)]
                self._siblings.notice(path, heads, time.monotonic())

    def _heads(self, path: str) -> list[bytes]:
        """How the files begin that stand, or stood a moment ago, at a path."""
        follower = self._awake.get(path)
        return [*(follower.heads if follower is not None else ()), read_head(path) or b""]

    def _look_at_resting(self) -> None:
        """Look at each file at rest."""
        self._due |= dict.fromkeys(self._resting.changed())

    def _wake_due(self) -> None:
        while self._due and self._has_room():
            path = next(iter(self._due))
            del self._due[path]
            if path in self._resting:
                self._wake(path)

    def _has_room(self) -> bool:
        """Whether one more may be awake; the quietest are closed for it, some at a time."""
        if len(self._awake) >= self._most_awake:
            quiet = sorted((follower.quiet_for(), place) for place, follower in enumerate(self.order))
            chosen = [self.order[place] for quiet_for, place in quiet[-self._most_awake // 4 :] if quiet_for]
            for follower in chosen:
                self._rest(follower)
        return len(self._awake) < self._most_awake

    def _wake(self, path: str) -> None:
        removed = self._watches.release(path)
        resting = self._resting.take(path)
        if removed:
            # All of it was sealed, and nobody has it open any more.
            resting = Resting(None, None, resting.generation)
            if not self._is_news(path):
                return
        follower = Follower(
            path,
            resting,
            watches=self._watches,
            names=self._names,
            buffers=self._buffers,
            is_foreign=lambda key: is_read_elsewhere(key, path, self.order, self._resting),
            claim=lambda content: claim(content, path, self.order, self._resting),
        )
        self._awake[path] = follower
        self.order.append(follower)
        self._look_at_awake(follower)
        if (is_late := self._announce.pop(path, None)) is not None:
            follower.told.position()
            if is_late:
                follower.told.gap(
                    f"{path} was rotated before anything of it was sealed: lines may be missing"
                )
        if self._finishing:
            follower.finish()

    def _look_at_awake(self, follower: Follower) -> None:
        if self._finishing:
            follower.look_at_files()
        else:
            follower.look()
        follower.turn()
        follower.pause = min(max(2 * follower.pause, SHORTEST), LONGEST)
        if follower.pause >= LONGEST and follower.quiet_for() > 0 and self._awaits_write(follower):
            follower.pause = _LONGEST_WATCHED
        follower.look_at = time.monotonic() + follower.pause
        if follower.pause >= LONGEST:
            # Quiet files are looked at together: the loop wakes up seldom, however many they are.
            follower.look_at = LONGEST * math.ceil(follower.look_at / LONGEST)
        if follower.told.said == os.strerror(errno.EMFILE):
            self._most_awake = max(_FEWEST_AWAKE, len(self._awake) // 2)

    def _awaits_write(self, follower: Follower) -> bool:
        """Whether the kernel tells of the next write to a quiet file."""
        if self._finishing:
            return False
        if not self._watches.awaits_write(follower.path):
            self._watches.watch_next_write(follower.path)
            # What was written before the watch began is not told.
            follower.look()
        return follower.quiet_for() > 0 and self._watches.awaits_write(follower.path)

    def let_rest(self) -> None:
        """Close what was quiet for long, and forget what was removed for good."""
        now = time.monotonic()
        if self._finishing or now < self._rest_at:
            return
        self._rest_at = now + LONGEST
        if not self._due:
            self._buffers.trim()
        for follower in tuple(self.order):
            quiet = follower.quiet_for()
            if follower.forgotten:
                self._drop(follower)
                if follower.path in self._matched.fixed:
                    self._resting.put(follower.path, Resting(None))
            elif quiet > self._rest_after or (quiet > 0 and len(self._awake) > self._most_awake):
                self._rest(follower)

    def _rest(self, follower: Follower) -> None:
        """Close the files of a path that has nothing to seal, if nothing is lost by that."""
        if (resting := follower.rest()) is not None:
            self._drop(follower)
            path = follower.path
            if resting.mark is not None or path in self._matched.fixed or resting.seen is not None:
                self._resting.put(path, resting)
                self._watches.watch_next_write(path)
                if Look.at(path) != resting.seen:
                    self._due[path] = None

    def _drop(self, follower: Follower) -> None:
        follower.close()
        self._watches.release(follower.path)
        self.order.remove(follower)
        del self._awake[follower.path]
