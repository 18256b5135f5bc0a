"""Verifying a log on from where an earlier verification ended: the same verdict, from fewer bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from epochseal.verifier import Examination, Pins, ResumeMisfitError, ResumePoint
from tests.reference.maker import Maker
from tests.unit.verifier.judging import ask, pin

MODES = ("keys", "public")


def _grown(log: Maker, count: int) -> Iterator[Maker]:
    """The log after each of so many blocks; every third ends an epoch, some of them a segment."""
    log.begin("genesis")
    for place in range(count):
        log.block(b"entry %d\n" % place)
        if place % 3 == 2:  # as above
            log.turn("segment" if place % 4 == 1 else "entries")  # as above
        yield log


def _facts(found: Examination) -> object:
    verdict = msgspec.to_builtins(found.verdict)
    # What stands before the point is counted on; a prefix that was not read is told of by neither.
    return {key: verdict[key] for key in verdict if key not in {"warnings", "memory"}}


@pytest.mark.parametrize("mode", MODES)
def test_the_verdict_is_that_of_the_whole_log(log: Maker, mode: str) -> None:
    """At every length, from the point that the verification before gave."""
    pins: Pins | None = None
    since: ResumePoint | None = None
    begun: set[int] = set()
    for _ in _grown(log, 15):
        whole = ask(log, mode, pins=pins)
        found = whole if pins is None else ask(log, mode, pins=pins, since=since)
        assert _facts(found) == _facts(whole)
        assert found.verdict.verdict == "verified"
        pins, since = pin(log, found), found.resume
        assert since == whole.resume
        begun.add(since.size if since is not None else -1)
    assert len(begun) == 5


@pytest.mark.parametrize("mode", MODES)
def test_changes_behind_the_point_are_found(log: Maker, mode: str) -> None:
    """Of any byte that is read: the verdict is that of the whole log."""
    deque(_grown(log, 8), maxlen=0)
    found = ask(log, mode)
    pins, since = pin(log, found), found.resume
    assert since is not None
    for ending, start in (("log", since.log_offset or 0), ("seal", since.seal_start)):
        path = log.path / "segments" / f"{since.stem}.{ending}"
        content = path.read_bytes()
        for at in range(start, len(content), 331):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            whole = ask(log, mode, pins=pins).verdict.verdict
            try:
                verdict = ask(log, mode, pins=pins, since=since).verdict.verdict
            except ResumeMisfitError:
                # Then the whole log is verified.
                verdict = whole
            assert verdict == whole, (ending, at)
            assert mode == "public" or verdict != "verified", (ending, at)
        path.write_bytes(content)
    assert ask(log, mode, pins=pins, since=since).verdict.verdict == "verified"


def test_another_log_does_not_fit(log: Maker) -> None:
    """Nor a place at which no epoch begins, another epoch, or a memory that does not reach it."""
    deque(_grown(log, 8), maxlen=0)
    found = ask(log, "keys")
    pins, since = pin(log, found), found.resume
    assert since is not None
    wrong = (
        replace(since, seal_start=since.seal_start + 1),
        replace(since, leaf=bytes(32)),
        replace(since, size=since.size - 1),
        replace(since, segment=since.segment + 9),
    )
    for point in wrong:
        with pytest.raises(ResumeMisfitError):
            ask(log, "keys", pins=pins, since=point)
    with pytest.raises(ResumeMisfitError):
        ask(log, "keys", pins=replace(pins, size=since.size), since=since)
