"""Thieves: what each stolen credential can write, and what a verifier says of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from epochseal.format.seal_lines import Link
from tests.integration.logs import MODES, ORIGIN, Log, LogKeys, LogWriter, Mode, entry, seal, write_log
from tests.integration.rewriter import rewrite
from tests.integration.verifier.attacks import at, drop_segment, lines, without_checkpoint


@pytest.fixture
def log(keys: LogKeys, tmp_path: Path) -> Log:
    """35 entries in three segments, closed."""
    return write_log(tmp_path / "log", keys)


def open_log(keys: LogKeys, path: Path) -> Log:
    """Six entries, not closed."""
    writer = LogWriter(path, keys).start("genesis").block(*map(entry, range(6)))
    return Log(path, keys, writer.time + 1000)


def go_on(log: Log, link: Link, *, signs: bool, entries: int = 2) -> LogWriter:
    """Append an epoch from the files alone."""
    writer = LogWriter.after(log.path, log.keys, "thief", time=log.now - 1000, signs=signs).start(link)
    return writer.block(*[b"a foreign line\n"] * entries)


# --- the public wrapping key alone --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("link", ["cold", "carry"])
@pytest.mark.parametrize("closed", [True, False])
def test_unsigned_start_is_untrusted(
    keys: LogKeys, log: Log, tmp_path: Path, mode: Mode, link: Link, *, closed: bool
) -> None:
    """The public wrapping key can begin an epoch, not have it signed: its entries are untrusted."""
    target = log if closed else open_log(keys, tmp_path / "open")
    first = 35 if closed else 6
    go_on(target, link, signs=False)
    verdict = target.verify(mode)
    # With keys it shows that the carry is not the right one; of a log that did not close, to everybody.
    forged = link == "carry" and (mode == "keys" or not closed)
    assert verdict.exit_status == (1 if forged else 4)
    kind = "epoch_unsigned" if link == "carry" else "start_unsigned"
    unsigned = [item for item in verdict.problems if item.kind == kind and item.first_entry >= first]
    assert [(item.first_entry, item.last_entry) for item in unsigned] == [(first, first + 1)]
    assert verdict.signed_entries <= first


@pytest.mark.parametrize("mode", MODES)
def test_copied_checkpoint_does_not_sign_a_start(log: Log, mode: Mode) -> None:
    """A right checkpoint of an earlier state behind a foreign epoch line is none of that line."""
    note = next(
        line for line in log.files("seal")[2].read_bytes().splitlines(keepends=True) if b"note " in line
    )
    go_on(log, "cold", signs=False)
    lines(log, 4, lambda items: items.insert(1, note))
    verdict = log.verify(mode)
    assert verdict.exit_status == 1
    assert {"start_unsigned", "line_misplaced"} <= {item.kind for item in verdict.problems}


def test_agent_with_another_signing_key(keys: LogKeys, log: Log, tmp_path: Path) -> None:
    """The real agent with the public wrapping key and a signing key of somebody else does not start.

    Where every note was removed before, it cannot know: then the log is untrusted.
    """
    thief = LogKeys(tmp_path / "thief", "a stranger")
    thief.write()
    shutil.copy(keys.directory / "agent" / "epoch.pub", thief.directory / "agent" / "epoch.pub")
    before = [path.read_bytes() for path in log.files("seal")]
    with pytest.raises(subprocess.CalledProcessError) as refused:
        seal(log.path, thief, b"a foreign line\n", origin=ORIGIN)
    assert refused.value.returncode == 2
    assert [path.read_bytes() for path in log.files("seal")] == before
    for path in log.files("seal"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if not line.startswith(b"note ")))
    (log.path / "checkpoint").unlink()
    seal(log.path, thief, b"a foreign line\n", origin=ORIGIN)
    for mode in MODES:
        verdict = replace(log, now=log.now + 10**12).verify(mode)
        assert verdict.verdict == "untrusted"
        assert {"unknown_key", "start_unsigned"} <= {item.kind for item in verdict.problems}


def test_agent_with_another_wrapping_key(log: Log, tmp_path: Path) -> None:
    """The real agent with the right signing key and an unknown wrapping key: untrusted."""
    other = LogKeys(tmp_path / "other", "a stranger")
    other.write()
    for name in ("checkpoint.key", "checkpoint.pub"):
        shutil.copy(log.keys.directory / "agent" / name, other.directory / "agent" / name)
    seal(log.path, other, b"a foreign line\n")
    verdict = replace(log, now=log.now + 10**12).verify("keys")
    assert verdict.verdict == "untrusted"
    assert [(item.kind, item.first_entry, item.last_entry) for item in verdict.problems] == [
        ("unknown_key", 35, 35),
        ("cold_start", 35, 35),
    ]


# --- the agent's credential: issue and sign, without the carry ----------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_start_by_thief_after_a_clean_close_is_incomplete(log: Log, mode: Mode) -> None:
    """After a clean close a thief has no carry: their start is cold, so incomplete, strict or not."""
    go_on(log, "cold", signs=True).end()
    for strict in (False, True):
        verdict = log.verify(mode, strict=strict)
        assert [(item.kind, item.first_entry) for item in verdict.problems] == [("cold_start", 35)]
        assert verdict.exit_status == 3


@pytest.mark.parametrize("mode", MODES)
def test_cold_start_by_thief_is_incomplete(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """On an open log a thief can only go on `cold`: incomplete, at the place."""
    log = open_log(keys, tmp_path / "open")
    go_on(log, "cold", signs=True).end()
    verdict = log.verify(mode)
    # Of the epoch that never ended nothing but its first line was signed: a public key shows no more of it.
    unvouched = [("unvouched", 0)] if mode == "public" else []
    assert [(item.kind, item.first_entry) for item in verdict.problems] == [*unvouched, ("cold_start", 6)]
    assert verdict.exit_status == 3


@pytest.mark.parametrize("segments", [1, 2])
def test_fork_in_the_middle_as_if_with_the_carry(log: Log, segments: int) -> None:
    """A fork without the carry is tampering to whoever has keys, and untrusted with a public key alone.

    The epoch before announced another secret, under a checkpoint of its own.
    """
    for number in range(3, segments, -1):
        drop_segment(log, number)
    go_on(log, "carry", signs=True).end()
    verdict = log.verify("keys")
    assert [(item.kind, item.first_entry) for item in verdict.problems] == [
        ("link_broken", 12 * segments),
        ("epoch_unsigned", 12 * segments),
    ]
    public = log.verify("public")
    assert public.verdict == "untrusted"
    assert [(item.kind, item.first_entry) for item in public.problems] == [("epoch_unsigned", 12 * segments)]


@pytest.mark.parametrize("mode", MODES)
def test_fork_at_an_announcement_of_the_thief(log: Log, mode: Mode) -> None:
    """A thief who announces a secret too cannot: the line before which it would stand is ended already."""
    drop_segment(log, 3)
    lines(log, 2, lambda items: items.__delitem__(slice(at(items, b"sign 18 "), None)))
    writer = LogWriter.after(log.path, log.keys, "thief", time=log.now - 1000, signs=True)
    writer.sums = 6, 138
    writer.sign(writer.ask()).note()
    writer.end("segment").start("carry").block(b"a foreign line\n").end()
    verdict = log.verify(mode)
    # Whoever lacks the key of the epoch makes lines whose tags do not hold; a public key does not see tags,
    # but the file `checkpoint` that somebody kept (docs/format.md, 13.12).
    assert verdict.verdict == ("tampered" if mode == "keys" else "verified")


@pytest.mark.parametrize("mode", MODES)
def test_two_histories_do_not_share_a_checkpoint(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Of a fork each branch may verify, but never with the other's checkpoint: who kept one sees the fork."""
    log = open_log(keys, tmp_path / "open")
    fork = replace(log, path=tmp_path / "fork")
    shutil.copytree(log.path, fork.path)
    go_on(log, "cold", signs=True).end()
    go_on(fork, "cold", signs=True, entries=3).end()
    shutil.copy(fork.path / "checkpoint", log.path / "checkpoint")
    verdict = log.verify(mode)
    assert verdict.verdict == "tampered"
    assert "checkpoint_mismatch" in {item.kind for item in verdict.problems}


# --- the verifier's credential: recover, not sign -----------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [0, 11, 17, 34])
def test_rewritten_entry_below_a_checkpoint(log: Log, tmp_path: Path, mode: Mode, number: int) -> None:
    """An entry changed and every tag behind it made again: a checkpoint is over other lines."""
    new = rewrite(log, lambda at, text: text.upper() if at == number else text, tmp_path / "new")
    verdict = new.verify(mode)
    assert verdict.verdict == "tampered"
    problem, *more = verdict.problems
    assert problem.kind == "checkpoint_mismatch"
    assert problem.first_entry <= number <= problem.last_entry
    assert problem.last_entry - problem.first_entry < 12
    # From there on no checkpoint is valid, so nobody has signed for what follows.
    assert {item.kind for item in more} <= {"epoch_unsigned", "close_unsigned"}
    assert all(item.first_entry >= problem.first_entry for item in more)


def test_rewritten_entry_without_checkpoint_key(log: Log, tmp_path: Path) -> None:
    """With keys but no checkpoint key the forged tags hold, and the verdict is still not `verified`."""
    new = rewrite(log, lambda at, text: text.upper() if at == 7 else text, tmp_path / "new")
    assert new.verify("keys", keyed=False).verdict == "tampered"
    for path in new.files("seal"):
        kept = [line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b"note ")]
        path.write_bytes(b"".join(kept))
    without_checkpoint(new)
    assert new.verify("keys", keyed=False).verdict == "untrusted"
    assert new.verify("keys").verdict == "untrusted"


def test_rewritten_log_with_its_first_checkpoint_only(log: Log, tmp_path: Path) -> None:
    """With the later checkpoints removed, nobody has signed for the second epoch and those behind it.

    While a log is open its end may be unsigned for a while: there the thief of the verifier's keys can change
    what lies beyond the last checkpoint that is left (docs/threat-model.md).
    """
    new = rewrite(log, lambda at, text: text.upper() if at == 7 else text, tmp_path / "new")
    for number, path in enumerate(new.files("seal")):
        items = path.read_bytes().splitlines(keepends=True)
        first = at(items, b"epoch 0 ") + 1 if number == 0 else -1
        path.write_bytes(b"".join(x for n, x in enumerate(items) if n == first or not x.startswith(b"note ")))
    without_checkpoint(new)
    fresh, late = new.verify("keys"), new.verify("keys", later=2 * 3_600_000)
    assert (fresh.verdict, fresh.signed_entries) == ("untrusted", 0)
    unsigned = [("epoch_unsigned", first, min(first + 5, 34)) for first in range(6, 35, 6)]
    assert [(item.kind, item.first_entry, item.last_entry) for item in fresh.problems] == [
        *unsigned,
        ("close_unsigned", 0, 34),
    ]
    assert [(item.kind, item.first_entry, item.last_entry) for item in late.problems] == [
        *unsigned,
        ("close_unsigned", 0, 34),
        ("unsigned_tail", 0, 34),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_everybody_together_can_write_any_history(log: Log, tmp_path: Path, mode: Mode) -> None:
    """The keys of all roles together: verified, as only a trust file or a witness can show otherwise.

    The root differs from the one that anybody noted before.
    """
    new = rewrite(log, lambda at, text: text.upper() if at == 7 else text, tmp_path / "new", sign=True)
    assert new.verify(mode).verdict == "verified"
    assert new.verify(mode).root != log.verify(mode).root
    shutil.copy(log.path / "checkpoint", new.path / "checkpoint")
    assert new.verify(mode).verdict == "tampered"
