"""Which of many faults are tried: all of them by `make faults`, with all tests some of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar
from zlib import crc32

Case = TypeVar("Case")

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"


def sample(cases: Iterable[Case], place: str, kind: Callable[[Case], Hashable]) -> list[Case]:
    """One case of each kind, in their order; all of them where large samples are wanted.

    Args:
        cases: whatever can be tried.
        place: the test, and what it is given. Another place takes others of the same kinds.
        kind: what a case has in common with others.
    """
    cases = list(cases)
    if FULL:
        return cases
    kinds: dict[Hashable, list[int]] = {}
    for number, case in enumerate(cases):
        kinds.setdefault(kind(case), []).append(number)
    start = crc32(place.encode())
    chosen = [group[(start + turn) % len(group)] for turn, group in enumerate(kinds.values())]
    return [cases[number] for number in sorted(chosen)]
