"""What the reference verifier says where something is remembered or expected (13.8 of the page)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reference.keys import ORIGIN, Keys, hashed, text
from tests.reference.made import remember
from tests.reference.maker import MINUTE, Maker, Pace, headers
from tests.reference.scenarios import append, closed, entries, remove, started
from tests.reference.trust import Pins
from tests.reference.verifier import verify

Judge = Callable[..., tuple[str, set[str]]]


@pytest.fixture
def log(made_keys: Keys, tmp_path: Path) -> Maker:
    """The empty log."""
    return Maker(tmp_path / "log", made_keys, pace=Pace(retention=MINUTE))


@pytest.fixture
def other_keys(tmp_path: Path) -> Keys:
    """Keys that take over, or those of a thief."""
    return Keys(tmp_path / "other", "others").write()


def pin(log: Maker, size: int = -1) -> Pins:
    """A memory of the log at its last signed size, or at another one."""
    size = log.signable[-1] if size < 0 else size
    key = log.keys.checkpoint.public_key()
    return Pins(ORIGIN, text(log.log), key, size, log.roots[size], {log.keys.key_id})


def judge(
    log: Maker, pins: Pins | None = None, *, mode: str = "keys", log_id: str = "", **more: Keys
) -> tuple[str, set[str]]:
    """Verdict and kinds; `named` is a checkpoint key beside the pins, `wrapping` one more epoch key."""
    folder = log.keys.directory
    epoch = [folder / "verifier", *([more["wrapping"].directory / "verifier"] if "wrapping" in more else [])]
    signer = more["named"].directory if "named" in more else folder
    verdict, _, kinds = verify(
        log.path,
        epoch if mode == "keys" else None,
        signer / "auditor" / "checkpoint.pub" if pins is None or "named" in more else None,
        log.time + 1000,
        log_id=log_id,
        pins=pins,
    )
    return verdict, set() if verdict == "tampered" else kinds


def accepting(log: Maker, pins: Pins, *numbers: int) -> Pins:
    """With the epoch lines of these numbers."""
    starts = remember(log.path, log.keys, log.time).starts
    return replace(pins, accepted={starts[number] for number in numbers})


@pytest.mark.parametrize("mode", ["keys", "public"])
def test_a_cold_start_is_accepted_by_its_leaf(log: Maker, mode: str) -> None:
    """Once somebody says so, and no sooner."""
    pins = pin(closed(log))
    entries(log.begin("cold")).close()
    assert judge(log, pins, mode=mode) == ("incomplete", {"cold_start"})
    assert judge(log, accepting(log, pins, 1), mode=mode) == ("incomplete", {"cold_start"})
    assert judge(log, accepting(log, pins, 2), mode=mode) == ("verified", set())


def test_a_denied_log_is_accepted_by_its_leaf(log: Maker) -> None:
    """The person has seen what the writer remembered."""
    pins = pin(closed(log))
    entries(log.begin("cold", denies=(log.log, 3, hashed("remembered")))).close()
    assert judge(log, pins) == ("tampered", set())
    assert judge(log, accepting(log, pins, 2)) == ("verified", set())


def test_an_accepted_start_says_nothing_of_an_epoch_before_it(log: Maker) -> None:
    """A thief appends an epoch behind an honest close; the next start is cold, and somebody accepts it."""
    pins = pin(closed(log))
    log.signs = False
    entries(log.begin("carry"))
    log.signs = True
    entries(log.begin("cold")).close()
    assert judge(log, pins) == ("untrusted", {"cold_start", "epoch_unsigned"})
    assert judge(log, accepting(log, pins, 3)) == ("untrusted", {"epoch_unsigned"})
    assert judge(log, accepting(log, pins, 2, 3)) == ("verified", set())
    found = judge(log, accepting(log, pins, 2, 3), mode="public")
    assert found == ("untrusted", {"epoch_unsigned", "unvouched"})


@pytest.mark.parametrize("mode", ["keys", "public"])
def test_a_log_made_anew_is_another_log(log: Maker, tmp_path: Path, mode: str) -> None:
    """By the agent's credential, with the same origin and the same random value."""
    pins = pin(closed(log))
    again = Maker(tmp_path / "again", log.keys, pace=Pace())
    closed(again)
    assert judge(again, pins, mode=mode) == ("tampered", set())
    assert judge(again, mode=mode, log_id=pins.log) == ("untrusted", {"wrong_log"})
    assert judge(again, mode=mode) == ("verified", set())


@pytest.mark.parametrize("mode", ["keys", "public"])
def test_what_was_seen_must_be_there(log: Maker, tmp_path: Path, mode: str) -> None:
    """Shorter or other lines than in the memory."""
    twin = closed(log).fork(tmp_path / "twin")
    entries(log.begin("carry")).close()
    entries(entries(twin.begin("carry"))).close()
    assert judge(log, pin(log), mode=mode) == ("verified", set())
    assert judge(twin, pin(log), mode=mode) == ("tampered", set())
    pins = pin(log)
    remove(log, 2)
    (log.path / "checkpoint").unlink()
    assert judge(log, mode=mode) == ("verified", set())
    assert judge(log, pins, mode=mode) == ("tampered", set())


def test_a_memory_stands_in_for_a_note_that_is_gone(log: Maker) -> None:
    """The pinned checkpoint is valid as if it were a note."""
    pins = pin(closed(log))
    path = log.file("seal")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"note ")))
    (log.path / "checkpoint").unlink()
    assert judge(log) == ("untrusted", {"close_unsigned", "epoch_unsigned", "start_unsigned"})
    assert judge(log, pins) == ("verified", set())


def test_an_expired_beginning_is_proven_by_a_memory(log: Maker) -> None:
    """An id says nothing where its line has expired."""
    entries(entries(started(log).turn("segment")).turn("segment"))
    log.time += 2 * MINUTE
    entries(log.sign().close().begin("carry"))
    log.prune(headers(log.path)[2], 2).close()
    late, expired = pin(log), pin(log, 1)
    remove(log, 1)
    remove(log, 2)
    assert judge(log) == ("verified", set())
    assert judge(log, log_id=late.log) == ("incomplete", {"beginning_unproven"})
    assert judge(log, late, log_id=late.log) == ("verified", set())
    found = judge(log, expired, log_id=late.log)
    assert found == ("incomplete", {"beginning_unproven", "trust_expired"})
    assert judge(log, expired) == ("incomplete", {"trust_expired"})
    assert judge(log, accepting(log, expired, 0)) == ("verified", set())


def test_a_promise_outlives_its_header(log: Maker) -> None:
    """Entries that expired while the promise still held."""
    pins = replace(pin(started(log).turn("segment")), promises=[(10 * MINUTE, 0, log.time)])
    entries(log)
    log.time += 2 * MINUTE
    log.close().begin("carry").prune(headers(log.path)[1], 1).close()
    late = replace(pin(log), promises=pins.promises)
    remove(log, 1)
    assert judge(log, pin(log)) == ("verified", set())
    assert judge(log, late) == ("tampered", set())
    log.time += 9 * MINUTE
    assert judge(log, late) == ("verified", set())


def test_a_rotation_is_followed_where_the_memory_knows_the_run(log: Maker, other_keys: Keys) -> None:
    """By the tags of the pinned run; a thief's, in a run of their own, only if somebody accepts the key."""
    pins = pin(started(log))
    entries(log.hand_over(log.keys, other_keys)).close()
    assert judge(log, pins) == ("verified", set())
    assert judge(log, pins, mode="public")[0] == "untrusted"
    accepted = replace(pins, checkpoint_keys={other_keys.vkey()})
    assert judge(log, accepted, mode="public") == ("verified", set())
    assert judge(log, pins, mode="public", named=other_keys) == ("verified", set())


def test_a_rotation_of_a_thief_is_not_followed(log: Maker, other_keys: Keys) -> None:
    """Who has the agent's credential begins a run, hands the log to a key of their own, and is found out."""
    pins = pin(closed(log))
    entries(log.begin("cold")).hand_over(log.keys, other_keys)
    entries(log).close()
    assert judge(log) == ("incomplete", {"cold_start"})
    found = judge(log, accepting(log, pins, 2))
    assert found == ("untrusted", {"close_unsigned", "unknown_key"})


def test_an_epoch_key_moves_along_the_carry(log: Maker, other_keys: Keys) -> None:
    """A key that the pins do not have, where the run goes on, and where it does not."""
    pins = pin(started(log))
    log.rotate("epoch", log.keys, other_keys).issuer = other_keys
    entries(log.turn())
    for mode in ("keys", "public"):
        assert judge(log, pins, mode=mode, wrapping=other_keys) == ("verified", set())
    entries(log.begin("cold")).close()
    found = judge(log, accepting(log, pins, 2), wrapping=other_keys)
    assert found == ("untrusted", {"unknown_key"})


def test_what_an_accepted_start_set_aside_is_accepted_with_it(log: Maker) -> None:
    """The start did it, and a person has accepted the start."""
    pins = pin(started(log))
    append(append(log, "torn", b"x"), "unsealed", b"x")
    entries(log.begin("cold")).close()
    assert judge(log, pins) == ("incomplete", {"cold_start", "torn_lines", "unsealed_bytes"})
    assert judge(log, accepting(log, pins, 1)) == ("verified", set())
