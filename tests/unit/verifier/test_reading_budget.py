"""How far log files are read that hold more than they take on the disk (docs/format.md, 14.1)."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.evidence import extract
from epochseal.evidence.extract import extract_unverified
from epochseal.evidence.prover import prove
from epochseal.storage.holes import TIMES, stored_bytes
from epochseal.verifier import reading_budget
from epochseal.verifier.reading_budget import SHARED, Reading, allot, reading_of, shares
from epochseal.verifier.sealed_entries import SealedEntries
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, started
from tests.unit.verifier.judging import ask, kinds
from tests.unit.verifier.test_work_limits import pack, zstd

REPEATED = b"x" * 99 + b"\n"
Packer = Callable[[bytes], bytes]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than 1,000 bytes beside what each file may have."""
    monkeypatch.setattr(reading_budget, "SHARED", 1000)
    monkeypatch.setattr(extract, "SHARED", 1000)


def long_log(log: Maker) -> Maker:
    """A closed log with a megabyte of one line."""
    started(log)
    for _ in range(16):
        log.block(*[REPEATED] * 655)
    return log.sign().note().close()


def test_a_plain_file_is_read_whatever_its_size() -> None:
    """It may be asked for twice its bytes, as blocks that lie over each other do."""
    (found,) = allot([(10 * SHARED, 10 * SHARED, 100)])
    assert found.plain > 2 * 10 * SHARED


def test_the_shared_bytes_are_given_once() -> None:
    """In the order of the files; what one does not need is left for those behind it."""
    files = [(1000, TIMES * 1000, 1), (1000, TIMES * 1000 + SHARED - 5, 1), (1000, 2**60, 1), (10, 2**60, 1)]
    assert [item.plain - TIMES * item.stored - 1 for item in allot(files)] == [0, SHARED - 5, 5, 0]


def test_shares_are_the_whole() -> None:
    """Nothing of a budget is lost, or given twice."""
    assert shares(1000, [1, 0, 3]) == [250, 0, 750]
    assert sum(shares(1001, range(1, 8))) == 1001
    assert shares(1000, []) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip.compress), ("zst", zstd)])
def test_a_file_that_expands_too_far(log: Maker, ending: str, packed: Packer) -> None:
    """It is incomplete, and nothing of it is called tampering."""
    pack(long_log(log), ending, packed)
    found = ask(log)
    assert (found.verdict.verdict, kinds(found)) == ("incomplete", {"expands_too_far"})
    assert found.verdict.problems[0].last_entry == found.verdict.entries - 1


@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip.compress), ("zst", zstd)])
def test_a_file_that_expands_far_is_read(log: Maker, ending: str, packed: Packer) -> None:
    """As long as there are shared bytes left."""
    pack(long_log(log), ending, packed)
    assert ask(log).verdict.verdict == "verified"


@pytest.mark.usefixtures("small")
def test_what_is_read_before_the_limit_counts(log: Maker) -> None:
    """Other bytes within what may be read are tampering."""
    pack(long_log(log), "gz", lambda data: gzip.compress(data[:500] + b"y" + data[501:]))
    assert "entries_altered" in kinds(ask(log))


@pytest.mark.usefixtures("small")
def test_a_cut_file_is_no_matter_of_limits(log: Maker) -> None:
    """A small file in the place of a large one does not hide that bytes are missing."""
    pack(long_log(log), "gz", lambda data: gzip.compress(data[:100]))
    assert "entries_missing" in kinds(ask(log))


def test_no_more_is_decompressed_than_may_be(tmp_path: Path) -> None:
    """The file says that it goes on, and that is all that is asked of it."""
    path = tmp_path / "000001-20260101T000000Z.log.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    content = SealedEntries(path, 1 << 20, Reading(path.stat().st_size, 5000, 0))
    try:
        assert not content.end().extra
        assert content.too_far
        assert content.beyond == 0
    finally:
        content.close()


def sparse(log: Maker) -> Path:
    """A closed log with one block of a megabyte of zeros and a newline, most of it in a hole."""
    started(log).block(bytes(1 << 20) + b"\n").sign().note().close()
    path = log.file("log")
    data = path.read_bytes()
    with path.open("wb") as file:
        file.write(data[:100])
        os.truncate(path, len(data))
        file.seek(len(data) - 1)
        file.write(data[-1:])
    assert path.read_bytes() == data
    return path


@pytest.mark.usefixtures("small")
def test_a_file_with_holes(log: Maker) -> None:
    """It is read as far as what lies on the disk explains."""
    path = sparse(log)
    assert stored_bytes(path) < path.stat().st_size // 64
    found = ask(log)
    assert (found.verdict.verdict, kinds(found)) == ("incomplete", {"expands_too_far"})


def test_a_file_with_small_holes_is_read(log: Maker) -> None:
    """A copy may have them."""
    sparse(log)
    assert ask(log).verdict.verdict == "verified"


@pytest.mark.usefixtures("small")
def test_proofs_and_unverified_entries_have_the_limit_too(log: Maker) -> None:
    """They are an error, which says what to do: not a claim that something was changed."""
    pack(long_log(log), "gz", gzip.compress)
    with pytest.raises(StorageError, match="far more"):
        prove(log.path, 16 * 655)
    written: list[bytes] = []
    with pytest.raises(StorageError, match="far more bytes than it takes on the disk") as caught:
        extract_unverified(log.path, written.append)
    assert "decompress it" in (caught.value.hint or "")
    (path,) = (log.path / "segments").glob("*.gz")
    assert 0 < sum(map(len, written)) <= reading_of(path, 2**60).plain


def test_a_log_of_this_format_is_never_refused(log: Maker) -> None:
    """The smallest of all."""
    assert ask(closed(log)).verdict.verdict == "verified"
