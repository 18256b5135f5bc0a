"""The flaws of journald's sealing (CVE-2023-31437, -31438, -31439, ePrint 2023/867): none is repeated."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from epochseal.encoding import b64decode
from epochseal.format.seal_lines import Header, TaggedLine, parse_line
from epochseal.keys import Context, recover_one
from tests.integration.logs import MODES, Log, LogKeys, LogWriter, Mode, entry, seal, write_log
from tests.integration.verifier.attacks import drop_epoch, drop_segment, edit, entries, without_checkpoint


@pytest.fixture
def log(keys: LogKeys, tmp_path: Path) -> Log:
    """35 entries in three segments, closed."""
    return write_log(tmp_path / "log", keys)


def headers(log: Log) -> list[Header]:
    """All epoch lines."""
    found = [parse_line(raw) for path in log.files("seal") for raw in path.read_bytes().splitlines()]
    return [line.body for line in found if isinstance(line, TaggedLine) and isinstance(line.body, Header)]


@pytest.mark.parametrize("segment", [1, 2, 3])
def test_old_entries_sealed_with_todays_key(log: Log, segment: int) -> None:
    """An old segment, changed and sealed again by today's agent: it has no carry into that place."""
    later = [(path, path.read_bytes()) for ending in ("log", "seal") for path in log.files(ending)[segment:]]
    for number in range(3, segment - 1, -1):
        drop_segment(log, number)
    first = 12 * (segment - 1)
    if segment == 1:
        writer = LogWriter(log.path, log.keys, "today", time=log.now)
        writer.log = bytes(32)
        writer.start("genesis")
    else:
        writer = LogWriter.after(log.path, log.keys, "today", time=log.now, signs=True).start("carry")
    for place in range(first, min(first + 12, 35), 3):
        writer.block(*(entry(number).upper() for number in range(place, min(place + 3, 35))))
        if place == first + 3:
            writer.turn()
    writer.end("segment" if segment < 3 else "close")
    for path, data in later:
        path.write_bytes(data)
    verdict = replace(log, now=log.now + 10_000).verify("keys")
    assert verdict.verdict == "tampered"
    expected = ("foreign_log", 12) if segment == 1 else ("link_broken", first)
    assert expected in {(item.kind, item.first_entry) for item in verdict.problems}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [1, 2])
def test_epoch_without_entries_cannot_vanish(keys: LogKeys, tmp_path: Path, mode: Mode, number: int) -> None:
    """An epoch in which nothing was logged has lines of its own, and its absence is seen."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0))
    writer.turn("interval").turn("interval").block().turn("interval").block(entry(1)).end()
    log = Log(writer.logdir, keys, writer.time)
    assert log.verify(mode).verdict == "verified"
    drop_epoch(log, 1, number)
    verdict = log.verify(mode)
    assert verdict.verdict == "tampered"
    assert ("epoch_missing", 1) in {(item.kind, item.first_entry) for item in verdict.problems}


@pytest.mark.parametrize("mode", MODES)
def test_log_of_heartbeats_alone_is_honest(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """No entry at all: verified while it lives, incomplete when the heartbeats stop."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block().block().turn("interval").block()
    log = Log(writer.logdir, keys, writer.time)
    verdict = log.verify(mode)
    assert (verdict.verdict, verdict.entries) == ("verified", 0)
    late = log.verify(mode, later=31_000)
    assert [(item.kind, item.first_entry) for item in late.problems] == [("open_end", 0)]
    assert log.verify(mode, later=29_000).verdict == "verified"


def test_stop_and_start_seal_nothing_twice_with_one_key(keys: LogKeys, tmp_path: Path) -> None:
    """Three runs of the real agent: every epoch has a secret of its own, and no tag repeats."""
    path = tmp_path / "log"
    for run in range(3):
        seal(path, keys, entry(run))
    log = Log(path, keys, 0)
    secrets, tags = set(), []
    for header in headers(log):
        secret = memoryview(bytearray(32))
        context = Context(
            header.origin, b64decode(header.log, "log"), header.epoch, b64decode(header.asked.tag, "asked")
        )
        recover_one(keys.recoverer(), b64decode(header.wrapped, "wrapped"), context, secret)
        secrets.add(bytes(secret))
    for seal_file in log.files("seal"):
        found = [parse_line(raw) for raw in seal_file.read_bytes().splitlines()]
        tags += [line.tag for line in found if isinstance(line, TaggedLine)]
    assert len(secrets) == len(headers(log)) == 3
    assert len(set(tags)) == len(tags) == 9


@pytest.mark.parametrize("mode", MODES)
def test_shown_fields_are_authenticated(log: Log, mode: Mode) -> None:
    """What the verdict shows besides entries, and what stands in file names, cannot be changed unseen."""
    for old, new in (
        (b'"origin":"log.example/attacks"', b'"origin":"log.example/attackz"'),
        (b'"key":"file:', b'"key":"fjle:'),
        (b'"segment":1,', b'"segment":2,'),
        (b'"retention":0', b'"retention":1'),
        (b'"name":"stdin"', b'"name":"stdim"'),
        (b'"offset":69', b'"offset":68'),
        (b'"reason":"entries"', b'"reason":"bytes"'),
    ):
        copy = replace(log, path=Path(f"{log.path}-copy"))
        shutil.copytree(log.path, copy.path)
        edit(copy.files("seal")[0], lambda data, old=old, new=new: data.replace(old, new))  # type: ignore[misc]  # mypy sees no default there
        assert copy.verify(mode).verdict == "tampered", old
        shutil.rmtree(copy.path)


@pytest.mark.parametrize("mode", MODES)
def test_unsealed_file_does_not_pass(log: Log, mode: Mode) -> None:
    """Journald passes a file that was rewritten without seals; here it is tampered."""
    for path in log.files("seal"):
        path.unlink()
    without_checkpoint(log)
    verdict = log.verify(mode)
    assert verdict.verdict == "tampered"
    # The last one alone could be a copy; the others could not.
    assert [item.kind for item in verdict.problems] == ["segment_incomplete"] * 2 + ["seal_behind"]


@pytest.mark.parametrize("mode", MODES)
def test_prefix_with_the_same_key_does_not_pass(log: Log, mode: Mode) -> None:
    """A prefix of the log, cut cleanly between segments or between epochs, is at best incomplete."""
    drop_segment(log, 3)
    assert log.verify(mode).verdict == "tampered"
    without_checkpoint(log)
    assert log.verify(mode).verdict == "incomplete"
    drop_epoch(log, 2, 3)
    entries(log, 2, lambda items: items.__delitem__(slice(6, None)))
    assert [(item.kind, item.first_entry) for item in log.verify(mode).problems] == [
        ("next_epoch_missing", 18)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_reboot_and_clock_steps_do_not_break_epochs(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Years back and forth: a warning, as no key depends on time; forth only where an epoch begins."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    year = 365 * 86_400_000
    for number, step in enumerate((-3 * year, 5 * year, -year)):
        writer.time += step
        if step > 0:
            writer.turn()
        writer.block(entry(number))
        writer.turn("segment" if number == 1 else "interval")
    writer.end()
    writer.time += year
    writer.start("carry").block(entry(3)).end()
    verdict = Log(writer.logdir, keys, writer.time).verify(mode)
    assert verdict.verdict == "verified"
    assert {"clock_back"} <= {item.kind for item in verdict.warnings}
