"""What a memory may take over from a verified log, and how far (docs/format.md, 13.8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from epochseal.encoding import b64decode
from epochseal.format.note import parse_vkey
from epochseal.verifier import Promise, merge_promises
from tests.reference.keys import Keys
from tests.reference.maker import MINUTE, Maker
from tests.reference.scenarios import closed, entries, started
from tests.unit.verifier.judging import ask, kinds, pin

MODES = ("keys", "public")


@pytest.mark.parametrize("mode", MODES)
def test_the_first_time(log: Maker, mode: str) -> None:
    """All that there is: the largest checkpoint, who signed it, the keys, and what is owed."""
    found = ask(closed(log), mode)
    seen = found.seen
    assert seen is not None
    assert (seen.size, seen.root) == (log.size, log.roots[log.size])
    assert (seen.checkpoint_key.vkey, seen.epoch_keys) == (log.keys.vkey(), (log.keys.key_id,))
    assert [(item.retention, item.index) for item in seen.promises] == [(MINUTE, 0)]
    assert b64decode(found.verdict.log, "id") == seen.log == log.log
    assert found.verdict.memory == "none"


@pytest.mark.parametrize("mode", MODES)
def test_along_the_carry(log: Maker, mode: str) -> None:
    """The pinned run goes on over a close: the memory goes with it, and so does what is owed."""
    pins = pin(log, ask(closed(log), mode))
    entries(log.begin("carry")).close()
    found = ask(log, mode, pins=pins)
    assert (found.verdict.verdict, found.verdict.problems) == ("verified", [])
    assert found.seen is not None
    assert found.seen.size == log.size > pins.size
    assert found.seen.promises[0].time > pins.promises[0].time


@pytest.mark.parametrize("mode", MODES)
def test_not_into_a_run_that_nobody_accepted(log: Maker, mode: str) -> None:
    """A start without the carry and without entries needs no acceptance, and moves nothing."""
    pins = pin(log, ask(closed(log), mode))
    log.begin("cold").close()
    found = ask(log, mode, pins=pins)
    assert (found.verdict.verdict, found.verdict.problems) == ("verified", [])
    assert found.seen is not None
    assert found.seen.size == pins.size


@pytest.mark.parametrize("mode", MODES)
def test_over_an_accepted_start(log: Maker, mode: str) -> None:
    """With the keys as far as people have accepted; in public mode never beyond the pinned run."""
    first = ask(closed(log), mode)
    pins = pin(log, first)
    entries(log.begin("cold")).close()
    assert kinds(ask(log, mode, pins=pins)) == {"cold_start"}
    found = ask(log, mode, pins=pins)
    (leaf,) = found.starts.keys() - first.starts.keys()
    assert [problem.detail for problem in found.verdict.problems if "start " in problem.detail]
    found = ask(log, mode, pins=replace(pins, starts={leaf: "a move to another host"}))
    assert (found.verdict.verdict, found.verdict.problems) == ("verified", [])
    assert any("a move to another host" in warning.detail for warning in found.verdict.warnings)
    assert found.seen is not None
    assert found.seen.size == (log.size if mode == "keys" else pins.size)


@pytest.mark.parametrize("mode", MODES)
def test_a_later_checkpoint_key(log: Maker, tmp_path: Path, mode: str) -> None:
    """By a line of the pinned run whose tag was checked; else only if a person accepted the key."""
    new = Keys(tmp_path / "new", "new").write()
    pins = pin(log, ask(started(log), mode))
    log.hand_over(log.keys, new).close()
    found = ask(log, mode, pins=pins)
    if mode == "public":
        assert kinds(found) == {"unknown_key", "close_unsigned"}
        found = ask(log, mode, pins=replace(pins, checkpoint_keys=frozenset({parse_vkey(new.vkey())})))
    assert (found.verdict.verdict, found.verdict.problems) == ("verified", [])
    assert found.seen is not None
    assert found.seen.checkpoint_key.vkey == new.vkey()


def test_another_run_leads_to_no_other_key(log: Maker, tmp_path: Path) -> None:
    """A thief starts without the carry and hands over: the key that comes after is a stranger's."""
    thief = Keys(tmp_path / "thief", "thief").write()
    pins = pin(log, ask(closed(log)))
    entries(log.begin("cold")).hand_over(log.keys, thief).close()
    assert "unknown_key" in kinds(ask(log, pins=pins))
    start = next(leaf for leaf, epoch in ask(log).starts.items() if epoch == log.epoch)
    assert "unknown_key" in kinds(ask(log, pins=replace(pins, starts={start: "a mistake"})))


def test_what_is_owed_is_merged() -> None:
    """Of one retention the smallest index and the greatest time; what is owed no more is dropped."""
    now = 1_000_000
    merged = merge_promises(
        [
            Promise(500, 7, now),
            Promise(500, 3, now - 400),
            Promise(500, 9, now - 600),
            Promise(9, 0, now - 9),
        ],
        now,
    )
    assert merged == (Promise(500, 3, now),)
