"""Which call an epoch line adopts, and that adopting one costs the same however many there are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from epochseal.trail.events import Call, Shown
from epochseal.trail.waiting_calls import WaitingCalls

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def _call(at: int, plain: str = "", *hashes: str) -> Call:
    return Call("issue", at, "agent", "key", str(at), wrapped=Shown(plain, frozenset(hashes)))


def test_the_latest_that_fits_is_taken_once() -> None:
    """By its text, by one of its hashes, else the latest that does not show what it gave; else none."""
    first, hashed, again = _call(1, "w"), _call(2, "", "h", "g"), _call(3, "w")
    other, unseen = _call(4, "x"), _call(5)
    calls = WaitingCalls([first, hashed, again, other, unseen])
    assert calls.any_hashed()
    assert calls.last() is unseen
    assert [calls.take("w", "") for _ in range(2)] == [again, first]
    assert calls.take("y", "g") is hashed
    assert not calls.any_hashed()
    assert calls.take("w", "h") is unseen
    assert calls.take("w", "h") is None
    assert calls.left() == [other]
    assert calls.last() is other
    assert calls.take("x", "") is other
    assert not calls


def test_a_hash_that_is_not_the_texts_own_says_that_it_is_another() -> None:
    """Where nobody can say what the hash of the text is, a call that shows hashes alone may be the one."""
    calls = WaitingCalls([_call(1, "", "h")])
    assert calls.take("w", "g") is None
    assert calls.take("w", "") is not None


def _lines_run(work: Callable[[], object]) -> int:
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_ten_times_the_calls_and_lines_are_ten_times_the_work() -> None:
    """A log may repeat one epoch line, and a trail its call: half of them fit, half are told as others."""

    def adopt(count: int) -> None:
        calls = WaitingCalls(_call(at, "w" if at % 2 else "x") for at in range(count))
        for _ in range(count):
            if calls.take("w", "") is None:
                calls.last()

    small, large = (_lines_run(partial(adopt, count)) for count in (100, 1000))
    assert large < 11 * small
