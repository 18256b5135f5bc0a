"""Verifying a log on from where an earlier verification ended: the same verdict, from fewer bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from epochseal.format.merkle import Frontier
from epochseal.verifier import EpochMark, Examination, Pins, ResumeMisfitError, ResumePoint
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


@pytest.mark.parametrize("mode", MODES)
def test_from_marks_the_verdict_is_that_of_the_whole_log(log: Maker, mode: str) -> None:
    """At every length, with the marks of the verification before; so are the marks themselves."""
    pins: Pins | None = None
    found: Examination | None = None
    gone_on = 0
    for _ in _grown(log, 15):
        whole = ask(log, mode, pins=pins)
        if pins is not None and found is not None:
            since, marks = found.resume, found.marks
            found = ask(log, mode, pins=pins, since=since, marks=marks)
            assert _facts(found) == _facts(whole)
            assert found.resume == whole.resume
            assert [_known(mark) for mark in found.marks] == [_known(mark) for mark in whole.marks]
            gone_on += {mark.part.stop for mark in marks} != {mark.part.stop for mark in found.marks}
        found = found or whole
        pins = pin(log, found)
    assert gone_on > 9


def _known(mark: EpochMark) -> object:
    result = mark.result
    return mark.stem, mark.part, result.tree.root(), result.next_entry, result.offset, result.last_tag


@pytest.mark.parametrize("mode", MODES)
def test_what_a_mark_has_passed_is_read_when_its_epoch_ends(log: Maker, mode: str) -> None:
    """Not before, so that a pass costs the new bytes alone; what stands behind the mark is always read."""
    deque(_grown(log, 7), maxlen=0)
    log.block(b"the last but one\n")
    found = ask(log, mode)
    pins, since, marks = pin(log, found), found.resume, found.marks
    path, at = _last_entry(log)
    log.block(b"the last\n")

    def verdict() -> str:
        return ask(log, mode, pins=pins, since=since, marks=marks).verdict.verdict

    with _flipped(path, at):
        assert verdict() == "verified"
    for ending in ("log", "seal"):
        behind = path.with_suffix(f".{ending}")
        with _flipped(behind, behind.stat().st_size - 9):
            assert verdict() != "verified" or mode == "public"
    log.turn()
    assert verdict() == "verified"
    with _flipped(path, at):
        assert verdict() == "tampered"


def test_a_mark_is_of_its_own_epoch_alone(log: Maker) -> None:
    """Of lines that were taken away again, and of another epoch line, it says nothing."""
    deque(_grown(log, 7), maxlen=0)
    log.block(b"one\n")
    before = ask(log, "keys")
    log.block(b"two\n")
    found = ask(log, "keys")
    part = found.marks[-1].part
    assert found.marks[-1].goes_on(part)
    assert not found.marks[-1].goes_on(before.marks[-1].part)
    assert part.first is not None
    other = msgspec.structs.replace(part.first, payload=part.first.payload + b" ")
    assert not found.marks[-1].goes_on(msgspec.structs.replace(part, first=other))
    assert not found.marks[-1].is_whole(part)


def test_what_is_taken_from_a_mark_does_not_change_it(log: Maker) -> None:
    """It is equal, and nothing that could be changed is the same object."""
    deque(_grown(log, 7), maxlen=0)
    mark = ask(log, "keys").marks[-1]
    for field in msgspec.structs.fields(mark.result):
        taken, kept = getattr(mark.take(), field.name), getattr(mark.result, field.name)
        if isinstance(kept, Frontier):
            assert (taken.size, taken.hashes) == (kept.size, kept.hashes)
        else:
            assert taken == kept, field.name
        assert taken is not kept or not isinstance(kept, list | dict | Frontier), field.name


def _last_entry(log: Maker) -> tuple[Path, int]:
    path = max((log.path / "segments").glob("*.log"))
    return path, path.stat().st_size - 3


@contextmanager
def _flipped(path: Path, at: int) -> Iterator[None]:
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    yield
    path.write_bytes(content)


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
