"""Seal files with holes: what they cost follows the bytes that lie on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.holes import readable_size
from epochseal.storage.lines_backwards import lines_backwards
from epochseal.storage.opener import open_file
from epochseal.storage.seal_file import read_damaged_lines
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, started
from tests.unit.verifier.judging import ask, kinds

_HUGE = 1 << 40
_ZEROS = 16 << 10


def _seal(log: Maker, place: int) -> Path:
    return sorted((log.path / "segments").glob("*.seal"))[place]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each read at a place."""
    sizes: list[int] = []
    real = os.pread

    def counted(descriptor: int, size: int, position: int) -> bytes:
        data = real(descriptor, size, position)
        sizes.append(len(data))
        # A test that reads a terabyte would not end.
        assert sum(sizes) < 100 << 20
        return data

    monkeypatch.setattr(os, "pread", counted)
    return sizes


@pytest.mark.parametrize("place", [0, -1])
def test_a_hole_is_the_zeros_that_it_stands_for(log: Maker, read: list[int], place: int) -> None:
    """The verdict is that of a file with zeros behind its lines; the hole itself is not read."""
    started(log).turn("segment").block(b"an entry\n")
    log.sign().note().close()
    seal = _seal(log, place)
    size = seal.stat().st_size
    with seal.open("ab") as file:
        file.write(bytes(_ZEROS))
    expected = ask(log)
    read.clear()
    os.truncate(seal, size)
    os.truncate(seal, _HUGE)
    found = ask(log)
    assert (found.verdict.verdict, kinds(found)) == (expected.verdict.verdict, kinds(expected))
    assert sum(read) < 1 << 20


def test_other_readers_leave_the_hole_too(log: Maker, read: list[int]) -> None:
    """The lines before it are found, from either end."""
    closed(log)
    seal = _seal(log, -1)
    lines = seal.read_bytes().splitlines(keepends=True)
    os.truncate(seal, _HUGE)
    found = list(read_damaged_lines(seal))
    assert found[: len(lines)] == lines
    assert sum(map(len, found[len(lines) :])) <= MAX_LINE + 2
    epochs = [line[:-1] for line in reversed(lines) if line.startswith(b"epoch ")]
    assert [raw for _, raw in lines_backwards(seal, b"epoch ")] == epochs
    assert sum(read) < 4 << 20


def test_small_holes_are_read(log: Maker) -> None:
    """Damage of a disk is no reason to leave what follows it."""
    closed(log)
    seal = _seal(log, -1)
    size = seal.stat().st_size
    os.truncate(seal, size + _ZEROS)
    with open_file(seal) as file:
        assert readable_size(file) == size + _ZEROS
