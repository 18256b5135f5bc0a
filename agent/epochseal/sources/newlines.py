"""Counting the newlines of a range, at the speed of memory where lines have the usual length.

`count` of Python's bytes looks at one byte after the other. `replace` leaps from one newline to the next with
the C library's vectorised memchr, and what it leaves out tells how many there were: for lines of 250 bytes
that takes a third of the time, the copies included. For very short lines the leaps cost more than they save.
"""

from __future__ import annotations

_NEWLINE = b"\n"
_AT_ONCE = 1 << 16
_SAMPLE = 1 << 11
_WORTH_A_LEAP = 32


def count_newlines(view: memoryview) -> int:
    """How many newlines there are in the bytes of `view`; at most 64 KiB of them are copied at a time."""
    if len(view) <= _SAMPLE:
        return bytes(view).count(_NEWLINE)
    # A small copy stays in the processor's cache, and one huge entry does not take its size twice more.
    return sum(_count(bytes(view[start : start + _AT_ONCE])) for start in range(0, len(view), _AT_ONCE))


def _count(piece: bytes) -> int:
    most = len(piece) // _WORTH_A_LEAP
    if piece.count(_NEWLINE, 0, _SAMPLE) <= _SAMPLE // _WORTH_A_LEAP:
        # The beginning has long lines, so leaping should pay. If the rest has short ones after all, the leaps
        # end at `most`, and the plain count below does the work.
        left_out = len(piece) - len(piece.replace(_NEWLINE, b"", most))
        if left_out < most:
            return left_out
    return piece.count(_NEWLINE)
