"""Signatures that several processes look at beforehand: no verdict depends on it, none is looked at twice."""

from __future__ import annotations

import os
import sys
from binascii import a2b_base64, b2a_base64
from pathlib import Path

import pytest

from epochseal.errors import VerificationError
from epochseal.format.note import HeldSignatures, Note, VerifierKey, parse_note, parse_vkey, verify_note
from epochseal.verifier import Examination, Request, examine
from epochseal.verifier.signatures_ahead import verify_ahead
from epochseal.verifier.workers import default_jobs
from tests.reference.keys import ORIGIN, Keys, signed_note
from tests.reference.maker import Maker
from tests.unit.verifier.judging import recoverer

MODULE = "epochseal.verifier.signatures_ahead"
ROOT = bytes(32)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Of a log."""
    return Keys(tmp_path / "keys").write()


@pytest.fixture(autouse=True)
def _few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[MODULE], "_WORTH", 3)
    monkeypatch.setattr(sys.modules[MODULE], "_AT_ONCE", 2)


def known(keys: Keys, *others: Keys) -> list[VerifierKey]:
    """As a verifier knows them."""
    return [parse_vkey(item.vkey()) for item in (keys, *others)]


def is_remembered(note: Note, key: VerifierKey, held: HeldSignatures, patch: pytest.MonkeyPatch) -> bool:
    """Whether a note is found good without looking at its signature."""

    def refuse(*_: object) -> None:
        raise VerificationError("it was looked at")

    with patch.context() as patched:
        patched.setattr(sys.modules["epochseal.format.note"], "_check_signature", refuse)
        try:
            return verify_note(note, (key,), held) == (key,)
        except VerificationError:
            return False


def test_what_holds_is_remembered_and_nothing_else(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five notes of the key, one with a signature of something else, one by a stranger, and no note."""
    stranger, other = Keys(Path(), "stranger"), Keys(Path(), "other")
    good = [signed_note(ORIGIN, size, ROOT, keys) for size in range(5)]
    wrong = good[0].replace(b"\n0\n", b"\n7\n")
    strange = signed_note(ORIGIN, 8, ROOT, stranger)
    third = signed_note(ORIGIN, 9, ROOT, stranger, other, keys)
    held, key = HeldSignatures(), known(keys)[0]
    verify_ahead([*good, wrong, strange, b"no note", third], known(keys, other), held, 2)
    found = [is_remembered(parse_note(raw), key, held, monkeypatch) for raw in (*good, wrong, third)]
    assert found == [True] * 5 + [False, False]
    assert len(held.known()) == 6, "the other's on the last note, which is its second one"


@pytest.mark.parametrize(("count", "jobs"), [(2, 2), (5, 1)], ids=["few notes", "one process"])
def test_no_process_is_made_for_little(keys: Keys, count: int, jobs: int) -> None:
    """Then everything is verified where it is asked for."""
    held = HeldSignatures()
    notes = [signed_note(ORIGIN, size, ROOT, keys) for size in range(count)]
    verify_ahead(notes, known(keys), held, jobs)
    assert held.known() == []


def examined(log: Maker, jobs: int) -> Examination:
    """What the verifier says, in so many processes."""
    return examine(
        log.path,
        Request(
            make_recoverer=lambda: recoverer(log.keys.directory),
            checkpoint_key=parse_vkey(log.keys.vkey()).key,
            now=lambda: log.time + 1000,
            jobs=jobs,
        ),
    )


@pytest.mark.parametrize("spoiled", [False, True], ids=["good", "one signature is wrong"])
def test_the_verdict_is_that_of_one_process(tmp_path: Path, keys: Keys, *, spoiled: bool) -> None:
    """Also where keys hand over; and one bad signature among the good ones is found."""
    log = Maker(tmp_path / "log", keys).begin("genesis")
    log.block(b"an entry\n")
    for _ in range(3):
        log.sign().note()
    log.hand_over(keys, Keys(Path(), "second"))
    log.close()
    (seal,) = log.path.glob("segments/*.seal")
    if spoiled:
        lines = seal.read_bytes().split(b"\n")
        places = [place for place, line in enumerate(lines) if line.startswith(b"note ")]
        # The first note stands where the second one does: its checkpoint is another one, its signature good.
        first, second = (parse_note(_content(lines[place])) for place in places[:2])
        mixed = Note(second.text, first.signatures).encode()
        lines[places[1]] = b"note " + _base64(mixed)
        seal.write_bytes(b"\n".join(lines))
    for path in log.path.glob("segments/*"):
        os.utime(path, (0, 0))
    alone, together = examined(log, 1).verdict, examined(log, 2).verdict
    assert together == alone
    assert ("checkpoint_bad" in {item.kind for item in alone.problems}) is spoiled


def _content(line: bytes) -> bytes:
    return a2b_base64(line.removeprefix(b"note "))


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def test_lines_make_a_log_worth_all_processors(tmp_path: Path) -> None:
    """Not only the bytes of its entries: an idle log is lines and signatures. Many small files do not."""
    folder = tmp_path / "segments"
    folder.mkdir()
    seal = folder / "000001-20260101T000000Z.seal"
    seal.touch()
    assert default_jobs(tmp_path) == 1
    os.truncate(seal, 5 << 20)
    assert default_jobs(tmp_path) == len(os.sched_getaffinity(0))
    seal.unlink()
    for number in range(2100):
        small = folder / f"{number:06d}-20260101T000000Z.seal"
        small.touch()
        os.truncate(small, 4 << 10)
    assert default_jobs(tmp_path) == 1
