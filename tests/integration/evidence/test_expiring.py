"""Segments expire while a log is read: it is read again, or the command says that it does not settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from epochseal.cli.error_messages import status_of
from epochseal.errors import VerificationError
from epochseal.evidence.extract import extract, extract_unverified
from epochseal.evidence.overview import read_overview
from epochseal.evidence.prover import prove
from epochseal.exit_statuses import INCOMPLETE
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.report.excerpts import read_excerpts
from epochseal.storage import settling
from epochseal.storage.segments import list_segments
from epochseal.storage.settling import UnsettledError, read_settled
from epochseal.trail import read_sealed
from epochseal.verifier import Problem, Request, examine
from epochseal.verifier.snapshot import take_snapshot
from epochseal.witness.growth import read_growth
from tests.integration.logs import Log, LogKeys, entry, write_log

ENTRY = 20


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Three segments; entry 20 is in the second one."""
    keys = LogKeys(tmp_path / "keys")
    keys.write()
    return write_log(tmp_path / "log", keys)


def growth(path: Path) -> list[bytes]:
    """From the beginning of the third segment."""
    checkpoint = parse_checkpoint(parse_note((path / "checkpoint").read_bytes()).text)
    return read_growth(path, checkpoint.size - 1, checkpoint)


def excerpts(path: Path) -> object:
    """Of a problem in the second segment."""
    return read_excerpts(path, [Problem("entries_altered", 2, 2, ENTRY, ENTRY, ENTRY, ENTRY, "")])


@dataclass(frozen=True)
class Reader:
    """What reads a log, and where it looks for the files."""

    read: Callable[[Path], object]
    module: str
    looks_by: str = "list_segments"


READERS = {
    "overview": Reader(read_overview, "epochseal.evidence.overview"),
    "proof": Reader(lambda path: prove(path, ENTRY), "epochseal.evidence.prover"),
    "trail": Reader(lambda path: read_settled(lambda: read_sealed(path)), "epochseal.trail.sealed"),
    "growth": Reader(growth, "epochseal.witness.growth"),
    "excerpts": Reader(excerpts, "epochseal.report.excerpts", "take_snapshot"),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each of them in turn."""
    return READERS[str(request.param)]


def rename_segment(log: Log) -> None:
    """Put the second segment out of reach of whoever has read its name, and of nobody else."""
    for ending in ("log", "seal"):
        file = log.files(ending)[1]
        file.rename(file.with_name(file.name.replace("-2026", "-2027")))


def test_one_that_is_read_again(log: Log, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name was read, and its file is gone; the next look finds the files that there are."""
    module = import_module(reader.module)
    look = getattr(module, reader.looks_by)
    found = iter([look(log.path)])
    rename_segment(log)
    monkeypatch.setattr(module, reader.looks_by, lambda path: next(found, None) or look(path))
    reader.read(log.path)
    assert next(found, None) is None


def test_one_that_is_gone_each_time(log: Log, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds later the command says so, and ends with 3."""
    module = import_module(reader.module)
    stale = getattr(module, reader.looks_by)(log.path)
    rename_segment(log)
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(module, reader.looks_by, lambda _: stale)
    with pytest.raises(UnsettledError, match="does not settle: there is no") as caught:
        reader.read(log.path)
    assert status_of(caught.value) == INCOMPLETE


def test_a_proof_beside_a_removal(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log file goes first: that is no tampering while the seal file is about to follow."""
    module = import_module("epochseal.evidence.prover")
    file = log.files("log")[1]
    kept = file.rename(file.with_name(".kept"))
    half = list_segments(log.path)
    kept.rename(file)
    found = iter([half])
    monkeypatch.setattr(module, "list_segments", lambda path: next(found, None) or list_segments(path))
    assert prove(log.path, ENTRY).number == ENTRY
    file.unlink()
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.2)
    with pytest.raises(VerificationError, match="exactly one form"):
        prove(log.path, ENTRY)


@pytest.mark.parametrize("gone", [1, 2])
def test_what_cannot_be_printed_is_named(log: Log, monkeypatch: pytest.MonkeyPatch, gone: int) -> None:
    """A segment is listed, and gone when its entries are to be printed: the others are printed."""
    request = Request(make_recoverer=log.keys.recoverer, checkpoint_key=log.keys.public)
    examined = examine(log.path, request)
    listing = take_snapshot(log.path)
    for ending in ("log", "seal"):
        log.files(ending)[gone - 1].unlink()
    monkeypatch.setattr("epochseal.evidence.extract.take_snapshot", lambda _: listing)
    first = 12 * (gone - 1)
    out: list[bytes] = []
    assert extract(log.path, log.keys.recoverer(), examined.verdict, out.append) == [(first, first + 11)]
    kept = [entry(number) for number in range(35) if not first <= number < first + 12]
    assert b"".join(out) == b"".join(kept)
    out.clear()
    assert extract_unverified(log.path, out.append) == (True, [(first, first + 11)])
    assert b"".join(out) == b"".join(kept)
    wanted = first + 3, first + 5
    assert extract(log.path, log.keys.recoverer(), examined.verdict, out.append, wanted) == [wanted]


def test_what_expired_between_verdict_and_output(log: Log) -> None:
    """It was verified, and is not even listed any more: it is named all the same."""
    request = Request(make_recoverer=log.keys.recoverer, checkpoint_key=log.keys.public)
    examined = examine(log.path, request)
    for ending in ("log", "seal"):
        log.files(ending)[0].unlink()
    out: list[bytes] = []
    said = extract(log.path, log.keys.recoverer(), examined.verdict, out.append, present=examined.first_entry)
    assert said == [(0, 11)]
    assert b"".join(out) == b"".join(map(entry, range(12, 35)))
