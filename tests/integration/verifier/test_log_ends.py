"""The end of a log: truncation with and without its checkpoints, rollback, and what was set aside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from epochseal.format.seal_lines import Block, Link, TaggedLine, parse_line
from tests.integration.logs import MODES, Log, LogKeys, LogWriter, Mode, entry, write_log
from tests.integration.verifier.attacks import edit, without_checkpoint

STALE = 31_000
"""More than three heartbeats of 10 s, in ms."""


@pytest.fixture
def log(keys: LogKeys, tmp_path: Path) -> Log:
    """35 entries in three segments, closed."""
    return write_log(tmp_path / "log", keys)


def cuts(log: Log, tmp_path: Path, *, inside: bool) -> Iterator[tuple[Log, bytes]]:
    """The log with its last segment cut behind, or inside of, each seal line; and what is left."""
    seal = log.files("seal")[2].read_bytes()
    for number, stop in enumerate(place + 1 for place, byte in enumerate(seal[:-1]) if byte == ord("\n")):
        cut = replace(log, path=tmp_path / f"cut-{number}")
        shutil.copytree(log.path, cut.path)
        left = seal[: stop + 10 * inside]
        edit(cut.files("seal")[2], lambda _, left=left: left)  # type: ignore[misc]  # mypy sees no default there
        yield cut, left


def cut_entries(log: Log) -> None:
    """Cut the last log file where its last whole seal line says that entries end."""
    lines = [parse_line(raw) for raw in log.files("seal")[2].read_bytes().split(b"\n")[:-1]]
    blocks = [line.body for line in lines if isinstance(line, TaggedLine) and isinstance(line.body, Block)]
    size = blocks[-1].offset + blocks[-1].size if blocks else 0
    log.files("log")[2].write_bytes(log.files("log")[2].read_bytes()[:size])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("both_files", [True, False])
def test_truncation_below_the_checkpoint_is_tampering(
    log: Log, tmp_path: Path, mode: Mode, *, both_files: bool
) -> None:
    """Cut behind any line, of one file or both: the file `checkpoint` is over more lines than there are."""
    for cut, left in cuts(log, tmp_path, inside=False):
        if both_files:
            cut_entries(cut)
        verdict = cut.verify(mode)
        if b"\nend 28 " in left:
            # Only the note of the close is gone, and the file `checkpoint` holds the same.
            assert verdict.verdict == "verified"
            continue
        assert verdict.verdict == "tampered"
        assert {item.kind for item in verdict.problems} <= {"checkpoint_ahead", "next_epoch_missing"}
        assert {(item.first_entry, item.last_entry) for item in verdict.problems} == {(verdict.entries,) * 2}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("both_files", [True, False])
def test_truncation_without_checkpoint_is_incomplete_once_stale(
    log: Log, tmp_path: Path, mode: Mode, *, both_files: bool
) -> None:
    """A fresh open log without its last checkpoint may be honest; after three heartbeats it is incomplete.

    So an attacker who removes the file `checkpoint` too gains three heartbeats, and must take the `close`
    away: the design allows an open end to be that old. An epoch that ended for another one to follow is
    incomplete at once.
    """
    for cut, left in cuts(log, tmp_path, inside=False):
        if both_files:
            cut_entries(cut)
        without_checkpoint(cut)
        fresh, late = cut.verify(mode), cut.verify(mode, later=STALE)
        tagged = [line for line in left.splitlines() if not line.startswith(b"note ")]
        if tagged[-1].startswith(b"end 28 "):
            # The close is there, and its checkpoint with its note, or one that was removed with it.
            signed = fresh.signed_entries == fresh.entries
            assert {fresh.verdict, late.verdict} == {"verified" if signed else "incomplete"}
        elif tagged[-1].startswith(b"end 24 "):
            assert [item.kind for item in fresh.problems] == ["next_epoch_missing"]
        else:
            assert (fresh.verdict, late.verdict) == ("verified", "incomplete")
            assert [item.kind for item in late.problems] == ["open_end"]
            assert late.problems[0].first_entry == late.entries
            assert late.closed is False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kept", [True, False])
def test_truncation_inside_of_a_line(log: Log, tmp_path: Path, mode: Mode, *, kept: bool) -> None:
    """Half a line at the end is what a crash leaves: incomplete; with a larger checkpoint, tampered."""
    for cut, left in cuts(log, tmp_path, inside=True):
        if not kept:
            without_checkpoint(cut)
        verdict = cut.verify(mode)
        closed = b"\nend 28 " in left[: left.rindex(b"\n") + 1]
        assert verdict.verdict == ("tampered" if kept and not closed else "incomplete")
        assert "torn_line" in {item.kind for item in verdict.problems}


@pytest.mark.parametrize("mode", MODES)
def test_unsigned_tail_is_counted_and_grows_old(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Lines beyond the last checkpoint are not in `signed_entries`, and incomplete after too long.

    A public key alone cannot see that the announced epoch is the agent's before its own checkpoint is there,
    and waits for one interval more.
    """
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0)).turn()
    writer.block(entry(1), entry(2)).end(signed=False)
    log = Log(writer.logdir, keys, writer.time)
    fresh = log.verify(mode)
    assert (fresh.verdict, fresh.entries, fresh.signed_entries) == ("incomplete", 3, 1)
    assert [(item.kind, item.first_entry, item.last_entry) for item in fresh.problems] == [
        ("close_unsigned", 1, 2)
    ]
    patience = 60_000 * (1 if mode == "keys" else 2) + 3_600_000
    early, late = log.verify(mode, later=patience - 1000), log.verify(mode, later=patience + 1000)
    assert [item.kind for item in early.problems] == ["close_unsigned"]
    assert late.verdict == "incomplete"
    assert {(item.kind, item.first_entry, item.last_entry) for item in late.problems} == {
        ("unsigned_tail", 1, 2),
        ("close_unsigned", 1, 2),
    }


@pytest.mark.parametrize("mode", MODES)
def test_epoch_that_was_not_announced_is_untrusted(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """A turn whose announcement nobody signed: anybody with the public key could have begun what follows."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0)).turn(signed=False)
    writer.block(entry(1), entry(2)).end(signed=False)
    verdict = Log(writer.logdir, keys, writer.time).verify(mode)
    assert (verdict.verdict, verdict.entries, verdict.signed_entries) == ("untrusted", 3, 0)
    assert [(item.kind, item.first_entry, item.last_entry) for item in verdict.problems] == [
        ("epoch_unsigned", 1, 2),
        ("close_unsigned", 0, 2),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_rollback_to_an_earlier_close(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """An earlier clean state verifies: a log cannot show what followed it. A later checkpoint can.

    A trust file or a witness that has seen the larger tree is what settles it.
    """
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0)).end()
    earlier = tmp_path / "earlier"
    shutil.copytree(writer.logdir, earlier)
    writer.start("carry").block(entry(1)).end()
    log = Log(earlier, keys, writer.time)
    verdict = log.verify(mode)
    assert verdict.verdict == "verified"
    assert verdict.closed
    assert any("only a trust file, a witness" in text for text in verdict.not_shown)
    shutil.copy(writer.logdir / "checkpoint", earlier / "checkpoint")
    verdict = log.verify(mode)
    assert [item.kind for item in verdict.problems] == ["checkpoint_ahead"]
    assert verdict.exit_status == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("link", ["cold", "carry"])
def test_set_aside_bytes(keys: LogKeys, tmp_path: Path, mode: Mode, link: Link) -> None:
    """Bytes that nobody sealed are incomplete after a crash, and tampering after a clean close."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0))
    if link == "carry":
        writer.end()
    writer.file("unsealed").write_bytes(b"a foreign line\n")
    writer.start(link).block(entry(1)).end()
    verdict = Log(writer.logdir, keys, writer.time).verify(mode)
    expected = ("tampered", "bad_unsealed") if link == "carry" else ("incomplete", "unsealed_bytes")
    assert verdict.verdict == expected[0]
    assert [item for item in verdict.problems if item.kind == expected[1] and item.first_entry == 1]


@pytest.mark.parametrize("mode", MODES)
def test_clock_that_jumps(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """A clock that went back is a warning; a day ahead at the end is incomplete until it comes true.

    An agent whose clock jumps beyond what its epoch may last begins another one first.
    """
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0))
    writer.time -= 3_600_000
    writer.block(entry(1)).turn()
    behind = Log(writer.logdir, keys, writer.time).verify(mode)
    assert behind.verdict == "verified"
    assert "clock_back" in {item.kind for item in behind.warnings}
    now = writer.time
    writer.time += 86_400_000
    writer.turn().block(entry(2)).end()
    ahead = Log(writer.logdir, keys, now)
    assert [item.kind for item in ahead.verify(mode).problems] == ["future_time"]
    assert ahead.verify(mode, later=86_400_000).verdict == "verified"


@pytest.mark.parametrize("mode", MODES)
def test_epoch_that_went_on_for_too_long(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """No agent seals a block after interval and max_overdue are over: a thief of its secret might."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0))
    last = writer.time - 100 + 60_000 + 3_600_000
    for late, kinds in ((0, []), (1, ["epoch_overrun"])):
        writer.block(entry(1 + late), time=last + late)
        verdict = Log(writer.logdir, keys, last).verify(mode)
        assert [item.kind for item in verdict.problems] == kinds


@pytest.mark.parametrize("mode", MODES)
def test_empty_directory_is_never_verified(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Nothing there, or no directory at all: 5, nothing to verify."""
    assert Log(tmp_path, keys, 0).verify(mode).exit_status == 5
    assert Log(tmp_path / "missing", keys, 0).verify(mode).exit_status == 5


@pytest.mark.parametrize("mode", MODES)
def test_no_checkpoint_key_is_never_verified(log: Log, mode: Mode) -> None:
    """Without a public key nobody says who began the log: untrusted, whatever else holds."""
    verdict = log.verify(mode, keyed=False)
    assert verdict.verdict == "untrusted"
    assert "start_unsigned" in {item.kind for item in verdict.problems}
