"""Files that appeared at a followed path and were not opened yet, by what the kernel tells of names.

Between two looks several files may stand at one path, one after the other. Each gets its place here when its
name appears, keeps it while it is renamed, and loses it when it is opened; one that is removed before that
is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Arrival:
    """A file: the path at which it appeared, and where it is now."""

    origin: str
    path: str


class Arrivals:
    """All of them.

    Args:
        is_followed: whether a path is one at which files are waited for.
    """

    def __init__(self, is_followed: Callable[[str], bool]) -> None:
        self._is_followed = is_followed
        self._at: dict[str, Arrival] = {}
        self._of: dict[str, list[Arrival]] = {}
        self._moving: dict[int, Arrival] = {}
        self._unpaired: set[int] = set()
        self._lost: dict[str, int] = {}

    def of(self, origin: str) -> list[tuple[Arrival, str]]:
        """Those that appeared at a path, in order, each with where it is now."""
        return [(arrival, arrival.path) for arrival in self._of.get(origin, ())]

    def have(self, origin: str) -> bool:
        """Whether any appeared at a path, be they lost."""
        return bool(self._of.get(origin)) or origin in self._lost

    def take(self, origin: str) -> int:
        """Those of a path are open now, or known anyway; how many more are lost."""
        taken = self._of.pop(origin, [])
        for arrival in taken:
            if self._at.get(arrival.path) is arrival:
                del self._at[arrival.path]
        # One that is on its way to another name is known too, wherever it turns up.
        self._moving = {cookie: item for cookie, item in self._moving.items() if item not in taken}
        return self._lost.pop(origin, 0)

    def take_others(self, origin: str) -> bool:
        """What stands at a path is known: whether others appeared there before it that nobody opened."""
        here = self._at.get(origin)
        others = any(arrival is not here for arrival in self._of.get(origin, ()))
        return self.take(origin) > 0 or others

    def lost(self, origin: str) -> int:
        """How many of a path were removed before they were opened."""
        return self._lost.get(origin, 0)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._at, self._of, self._moving, self._lost = {}, {}, {}, {}

    # --- news -----------------------------------------------------------------------------------------------

    def appeared(self, path: str) -> None:
        """A file was made, or came from where nobody looks."""
        self._overwritten(path)
        if self._is_followed(path):
            self._at[path] = arrival = Arrival(path, path)
            self._of.setdefault(path, []).append(arrival)

    def removed(self, path: str) -> None:
        """A name is gone."""
        self._overwritten(path)

    def moved_from(self, path: str, cookie: int) -> None:
        """A file leaves a name: where it goes to is said next, if anybody looks there."""
        if (arrival := self._at.pop(path, None)) is not None:
            self._moving[cookie] = arrival

    def moved_to(self, path: str, cookie: int) -> None:
        """A file gets a name, by a rename."""
        if (arrival := self._moving.pop(cookie, None)) is None:
            self.appeared(path)
            return
        self._overwritten(path)
        arrival.path = path
        self._at[path] = arrival

    def moved_away(self) -> None:
        """All news were told: what still has no second end since the last time went where nobody looks.

        Once is not enough: the kernel tells of the two ends one after the other.
        """
        for cookie in self._unpaired & self._moving.keys():
            self._lose(self._moving.pop(cookie))
        self._unpaired = set(self._moving)

    def _overwritten(self, path: str) -> None:
        if (arrival := self._at.pop(path, None)) is not None:
            self._lose(arrival)

    def _lose(self, arrival: Arrival) -> None:
        self._of[arrival.origin].remove(arrival)
        self._lost[arrival.origin] = self._lost.get(arrival.origin, 0) + 1
