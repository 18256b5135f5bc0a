"""What stands at a path, and what stood there since the last look."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from dataclasses import dataclass, replace

from epochseal.sources.log_file import LogFile
from epochseal.sources.watches import Watches

_TRIES = 8
_MOVED = errno.ENOENT, errno.ENOTDIR


@dataclass(frozen=True, slots=True)
class Sighting:
    """New files, opened.

    Args:
        between: those that stood at the path and are elsewhere now, the oldest first.
        here: what stands at the path, if that is new.
        lost: how many others stood there that cannot be opened any more.
        complete: whether nothing else can have stood there since the last look.
        generation: to be given to the next look.
        returned: device and inode of known files that came to the path again, and are elsewhere now.
    """

    between: list[LogFile]
    here: LogFile | None
    lost: int = 0
    complete: bool = False
    generation: int = 0
    returned: frozenset[tuple[int, int]] = frozenset()

    @property
    def files(self) -> list[LogFile]:
        """All of them, the oldest first."""
        return [*self.between, self.here] if self.here is not None else self.between


class Sight:
    """Looks at one path, again and again.

    Args:
        path: absolute.
        generation: of the last look (`Sighting.generation`), 0 if there was none.
    """

    def __init__(self, path: str, watches: Watches, generation: int) -> None:
        self._path = path
        self._watches = watches
        self.generation = generation

    def look(self, known: Collection[tuple[int, int]]) -> Sighting | None:
        """What is new; None if nothing is.

        Args:
            known: device and inode of files that are open already.

        Raises:
            OSError: what stands at the path cannot be opened; FileNotFoundError: nothing ever did.
        """
        if not self._watches.arrivals.have(self._path):
            found = os.stat(self._path)  # noqa: PTH116  # asked of each awake file, again and again
            if (found.st_dev, found.st_ino) in known:
                return None
        for _ in range(_TRIES):
            if (sighting := self._try(known)) is not None:
                break
        else:
            # Files come and go faster than they can be opened.
            sighting = self._open_all(known, steady=False)
        if sighting.complete or sighting.here is not None:
            self.generation = sighting.generation
        return sighting

    def _try(self, known: Collection[tuple[int, int]]) -> Sighting | None:
        """Open all, if none of them moved meanwhile."""
        watches = self._watches
        watches.pump()
        before = watches.arrivals.of(self._path), watches.generation(self._path)
        sighting = self._open_all(known, steady=True)
        # What was opened stood at its name when it was opened, but which file that was is only known if no
        # news of these names came since.
        watches.pump()
        if before == (watches.arrivals.of(self._path), watches.generation(self._path)):
            lost = sighting.lost + watches.arrivals.take(self._path)
            return replace(sighting, lost=lost)
        for content in sighting.files:
            content.close()
        return None

    def _open_all(self, known: Collection[tuple[int, int]], *, steady: bool) -> Sighting:
        watches = self._watches
        generation = watches.generation(self._path)
        between, keys, lost = list[LogFile](), set(known), 0
        returned = set[tuple[int, int]]()
        for _, path in watches.arrivals.of(self._path):
            if path == self._path:
                continue
            try:
                content = LogFile.open(path)
            except OSError:
                lost += 1
                continue
            if content.key in keys:
                content.close()
                returned.add(content.key)
            else:
                between.append(content)
                keys.add(content.key)
        try:
            here = self._open_here(
                keys, needed=not between and not lost and not watches.arrivals.lost(self._path)
            )
        except OSError:
            for content in between:
                content.close()
            raise
        complete = steady and 0 < generation == self.generation and not os.path.islink(self._path)  # noqa: PTH114  # as above
        return Sighting(between, here, lost, complete, generation, frozenset(returned))

    def _open_here(self, keys: Collection[tuple[int, int]], *, needed: bool) -> LogFile | None:
        try:
            content = LogFile.open(self._path)
        except OSError as exc:
            if needed or exc.errno not in _MOVED:
                raise
            return None
        if content.key not in keys:
            return content
        content.close()
        return None
