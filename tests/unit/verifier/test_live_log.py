"""An agent goes on while its log is verified: no verdict says that anybody changed anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from epochseal.storage import settling
from epochseal.storage.segments import Listing, list_segments
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, entries, started
from tests.unit.verifier.judging import ask, kinds, pin


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is worth three seconds."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.2)


def once(act: Callable[[], object]) -> Callable[[], None]:
    """The first time only."""
    acts = iter([act])

    def go() -> None:
        next(acts, lambda: None)()

    return go


def stalled(log: Maker) -> Maker:
    """An epoch has ended, and the next one is to stand in another segment."""
    return started(log).sign(log.ask()).note().end("segment")


def test_a_file_pair_whose_making_goes_on(log: Maker) -> None:
    """The disk was full for a while when one of the two files had its name; then there is room."""
    stalled(log)
    beside = log.fork(log.path.with_name("beside"))
    entries(beside.begin("carry"))
    half = log.path / "segments" / beside.file("log").name
    half.touch()

    def go_on() -> None:
        for ending in ("log", "seal"):
            target = log.path / "segments" / beside.file(ending).name
            target.write_bytes(beside.file(ending).read_bytes())

    found = ask(log, meanwhile=once(go_on))
    assert found.verdict.verdict in {"verified", "incomplete"}
    assert kinds(found) <= {"next_epoch_missing"}
    assert ask(log).verdict.verdict == "verified"


@pytest.mark.parametrize("ending", ["log", "seal"])
def test_half_a_pair_that_stays(log: Maker, ending: str) -> None:
    """With nothing in it a start was interrupted. A log file comes first: it may be a copy."""
    entries(stalled(log).begin("carry"))
    log.file("seal" if ending == "log" else "log").unlink()
    # The file `checkpoint` is over lines of the first segment.
    found = ask(log)
    told = ("incomplete", "seal_behind") if ending == "log" else ("tampered", "segment_incomplete")
    assert (found.verdict.verdict, kinds(found)) == (told[0], {told[1], "next_epoch_missing"})
    os.truncate(log.file(ending), 0)
    assert kinds(ask(log)) == {"next_epoch_missing"}


def test_an_empty_pair_that_is_gone_on_with(log: Maker) -> None:
    """It was empty when it was looked at, and has entries when it is read."""
    stalled(log)
    beside = log.fork(log.path.with_name("beside"))
    entries(beside.begin("carry"))
    pair = [
        (log.path / "segments" / beside.file(ending).name, beside.file(ending)) for ending in ("seal", "log")
    ]
    for file, _ in pair:
        file.touch()
    found = ask(log, meanwhile=once(lambda: [file.write_bytes(made.read_bytes()) for file, made in pair]))
    assert (found.verdict.verdict, kinds(found)) == ("verified", set())


def test_an_end_that_is_set_aside_and_written_anew(log: Maker) -> None:
    """A start cut off lines of the last file, which nobody had acknowledged, and others follow."""
    started(log)
    beside = log.fork(log.path.with_name("beside"))
    log.block(b"an entry that a power cut tore\n").block(b"another one\n")
    beside.block(b"x\n").block(b"y\n").block(b"z\n").block(b"behind the power cut\n")

    def start_again() -> None:
        for ending in ("log", "seal"):
            # In place: it is the same file.
            log.file(ending).write_bytes(beside.file(ending).read_bytes())

    found = ask(log, meanwhile=once(start_again))
    assert (found.verdict.verdict, kinds(found)) == ("verified", set())
    assert found.verdict.entries == beside.entries


def test_a_close_and_a_start(log: Maker) -> None:
    """What is read ends before a close; the log was closed, and goes on in another segment."""
    started(log)
    found = ask(log, meanwhile=once(lambda: entries(entries(log).close().begin("carry"))))
    assert (found.verdict.verdict, kinds(found)) == ("verified", set())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_segment_that_is_gone_each_time(log: Maker, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It is left out and named; nothing else is said of it, and what follows it begins anew."""
    for _ in range(2):
        entries(closed(log).begin("carry") if log.epoch < 0 else log.begin("carry")).close()
    known = pin(log, ask(log))
    listing = list_segments(log.path)
    next(log.path.glob(f"segments/{number:06}-*.seal")).unlink()

    def stale(_: object) -> Listing:
        return listing

    monkeypatch.setattr(import_module("epochseal.verifier.snapshot"), "list_segments", stale)
    for pins in (None, known):
        found = ask(log, pins=pins)
        assert found.verdict.verdict == "incomplete"
        expired = {"prefix_missing"} if number == 1 else set()
        assert kinds(found) == {"unsettled", *expired}
        assert found.verdict.segments == 2  # those that were read


def test_segments_that_expire_before_they_are_read(log: Maker) -> None:
    """Each time the first one that was listed: after that, one is gone from the list for good."""
    first = entries(started(log).turn("segment"))
    while first.segment < 40:
        entries(first.turn("segment"))
    names: Iterator[str] = iter(sorted(path.stem for path in log.path.glob("segments/*.seal")))

    def expire() -> None:
        stem = next(names)
        for ending in ("log", "seal"):
            (log.path / "segments" / f"{stem}.{ending}").unlink()

    found = ask(log, meanwhile=expire)
    assert found.verdict.verdict == "incomplete"
    assert kinds(found) == {"unsettled", "prefix_missing"}


def test_a_folder_that_is_never_listed_twice_alike(log: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in one list and not in the next is neither there nor missing."""
    for _ in range(3):
        entries(closed(log).begin("carry") if log.epoch < 0 else log.begin("carry")).close()
    now = list_segments(log.path).segments
    lists = [Listing(now[:1] + now[2:], ()), Listing(now, ())]

    def turned(_: object) -> Listing:
        lists.reverse()
        return lists[0]

    monkeypatch.setattr(import_module("epochseal.verifier.snapshot"), "list_segments", turned)
    found = ask(log)
    assert (found.verdict.verdict, kinds(found)) == ("incomplete", {"unsettled"})
