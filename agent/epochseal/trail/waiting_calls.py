"""The issue calls of one context that no epoch line has adopted yet, found by what they gave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from epochseal.trail.events import Call


class WaitingCalls:
    """Gives each call once, the latest that fits first: any number of epoch lines may ask for one context."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls: dict[int, Call] = dict(enumerate(calls))
        self._order = list(self._calls)
        self._by_plain: dict[str, list[int]] = defaultdict(list)
        self._by_hash: dict[str, list[int]] = defaultdict(list)
        self._not_plain: list[int] = []
        self._unseen: list[int] = []
        self._hashed: list[int] = []
        for place, call in self._calls.items():
            self._by_plain[call.wrapped.plain].append(place)
            for item in call.wrapped.hashes:
                self._by_hash[item].append(place)
            if call.wrapped.hashes:
                self._hashed.append(place)
            if not call.wrapped.plain:
                self._not_plain.append(place)
                if not call.wrapped.hashes:
                    self._unseen.append(place)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def left(self) -> list[Call]:
        """Those that nobody took, in their order."""
        return list(self._calls.values())

    def last(self) -> Call:
        """The latest that nobody took."""
        return self._calls[self._latest(self._order)]

    def any_hashed(self) -> bool:
        """Whether the trail shows hashes of what one of them gave."""
        return self._latest(self._hashed) >= 0

    def take(self, wrapped: str, hashed: str) -> Call | None:
        """The latest call that gave this; else the latest of which the trail does not show what it gave.

        `hashed` stands for `wrapped` in the trail, and is empty if that is not known.
        """
        place = max(
            self._latest(self._by_plain.get(wrapped, [])), self._latest(self._by_hash.get(hashed, []))
        )
        if place < 0:
            place = self._latest(self._unseen if hashed else self._not_plain)
        return self._calls.pop(place, None)

    def _latest(self, places: list[int]) -> int:
        """The last of them that nobody took, -1 if there is none; those behind it are forgotten."""
        while places and places[-1] not in self._calls:
            places.pop()
        return places[-1] if places else -1
