"""A snapshot is of files that stood side by side, or it is taken again (docs/format.md, 13.2)."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from epochseal.storage.segments import Listing, list_segments
from epochseal.verifier import snapshot
from epochseal.verifier.snapshot import is_unchanged, take_snapshot
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, entries, started
from tests.unit.verifier.judging import ask, kinds


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
    assert is_unchanged(plan, log.path)


def test_a_log_that_grows(log: Maker) -> None:
    """Its last files get longer, and others follow them: what was read still stands there."""
    plan = take_snapshot(settle(started(log)).path)
    entries(log)
    entries(log.turn("segment"))
    assert is_unchanged(plan, log.path)


@pytest.mark.parametrize("change", ["expired", "compressed", "longer", "replaced"])
def test_an_earlier_segment_that_changes(log: Maker, change: str) -> None:
    """It was something else that was read."""
    plan = take_snapshot(three_segments(log).path)
    file = plan.parts[0].log
    if change == "expired":
        file.unlink()
        plan.parts[0].seal.unlink()
    elif change == "compressed":
        file.rename(file.with_name(file.name + ".gz"))
    elif change == "longer":
        with file.open("ab") as end:
            end.write(b"x")
    else:
        copy = file.with_name(".copy")
        copy.write_bytes(file.read_bytes())
        copy.rename(file)
    assert not is_unchanged(plan, log.path)


def test_a_file_that_is_gone_each_time(log: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is left out and named; nothing else is said of it, and what follows it begins anew."""
    seal = next(three_segments(log).path.glob("segments/000002-*.seal"))
    listing = list_segments(log.path)
    seal.unlink()

    def stale(_: Path) -> Listing:
        return listing

    monkeypatch.setattr(snapshot, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(import_module("epochseal.verifier.verify"), "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(snapshot, "list_segments", stale)
    found = ask(log)
    assert (found.verdict.verdict, kinds(found)) == ("incomplete", {"unsettled"})
    assert found.verdict.segments == 2  # those that were read


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
