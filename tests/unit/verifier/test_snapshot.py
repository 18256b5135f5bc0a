"""A snapshot is of files that stood side by side, or it is taken again (docs/format.md, 13.2)."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from epochseal.storage.segments import list_segments
from epochseal.verifier import snapshot
from epochseal.verifier.snapshot import take_snapshot
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, entries, started


def settle(log: Maker) -> Maker:
    """Old to the file system."""
    for path in log.path.glob("segments/*"):
        os.utime(path, (0, 0))
    return log


def three_segments(log: Maker) -> Maker:
    """Each of them closed."""
    for _ in range(2):
        entries(closed(log).begin("carry") if log.epoch < 0 else log.begin("carry")).close()
    return settle(log)


def test_what_is_the_same(log: Maker) -> None:
    """Nothing was written: one look is enough."""

    def sleep(_: float) -> None:
        pytest.fail("nothing is to be waited for")

    plan = take_snapshot(three_segments(log).path, sleep=sleep)
    assert [part.last for part in plan.parts] == [False, False, True]
    assert all(part.is_as_it_was() for part in plan.parts)


def test_a_log_that_grows(log: Maker) -> None:
    """Its last files get longer, and others follow them: what was read still stands there."""
    plan = take_snapshot(settle(started(log)).path)
    entries(log)
    entries(log.turn("segment"))
    assert plan.parts[0].is_as_it_was()


@pytest.mark.parametrize("change", ["expired", "compressed"])
def test_an_earlier_segment_that_goes(log: Maker, change: str) -> None:
    """Whoever had opened it has read it as it was."""
    part = take_snapshot(three_segments(log).path).parts[0]
    if change == "expired":
        part.log.unlink()
        part.seal.unlink()
    else:
        part.log.rename(part.log.with_name(part.log.name + ".gz"))
    assert part.is_as_it_was()


@pytest.mark.parametrize("ending", ["log", "seal"])
@pytest.mark.parametrize("change", ["longer", "shorter", "replaced"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_segment_that_changes(log: Maker, place: int, change: str, ending: str) -> None:
    """It was something else that was read; only the last one may get longer."""
    part = take_snapshot(three_segments(log).path).parts[place]
    file = part.log if ending == "log" else part.seal
    if change == "longer":
        with file.open("ab") as end:
            end.write(b"x")
    elif change == "shorter":
        os.truncate(file, file.stat().st_size - 1)
    else:
        copy = file.with_name(".copy")
        copy.write_bytes(file.read_bytes())
        copy.rename(file)
    assert part.is_as_it_was() == (place == 2 and change == "longer")


def test_what_an_agent_completes_at_once_is_waited_for(log: Maker) -> None:
    """A start that is not signed yet, written just now; once its note is there, the wait is over."""
    log.begin("genesis", signed=False)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        log.note()

    plan = take_snapshot(log.path, sleep=sleep)
    assert len(waits) == 1
    assert plan.parts[0].lines.stop == log.file("seal").stat().st_size


def test_a_pair_that_is_being_made_is_waited_for(log: Maker) -> None:
    """The log file has its name, the seal file not yet: the agent is in the middle of a turn."""
    started(log).sign(log.ask()).note().end("segment")
    half = log.path / "segments" / "000002-20260101T000000Z.log"
    half.touch()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        half.unlink()
        log.begin("carry")

    plan = take_snapshot(log.path, sleep=sleep)
    assert len(waits) == 1
    assert [part.segment.number for part in plan.parts] == [1, 2]


def test_a_folder_that_is_listed_while_files_go(log: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is no moment: names that were read first may be gone when the last ones are read."""
    now = list_segments(three_segments(log).path)
    torn = replace(now, segments=(now.segments[0], now.segments[2]), names=())
    found = iter([torn, replace(now, segments=now.segments[2:])])
    monkeypatch.setattr(snapshot, "list_segments", lambda _: next(found, now))
    assert len(take_snapshot(log.path).parts) == 3
