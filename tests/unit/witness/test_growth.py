"""The trees of a log at many sizes: right at each, and no seal file read more than twice for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import FormatError
from epochseal.storage.seal_file import read_whole_lines
from epochseal.witness.growth import Trees
from tests.bench.bulk import ENTRY, Bulk, started
from tests.reference.keys import Keys


@pytest.fixture
def log(tmp_path: Path) -> Bulk:
    """Four segments of many lines."""
    made = started(tmp_path, Keys(tmp_path / "keys"))
    for _ in range(3):
        for _ in range(20):
            made.block(ENTRY)
        made.turn("segment", signed=False).block(ENTRY)
    made.done()
    return made


def test_the_tree_at_each_size(log: Bulk) -> None:
    """Whatever the order in which they are asked for."""
    for order in (range(log.size + 1), range(log.size, -1, -1)):
        trees = Trees(log.path)
        assert {size: trees.at(size).root() for size in order if size} == {
            size: root for size, root in log.roots.items() if size
        }


def test_all_sizes_are_read_in_one_go(log: Bulk, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at the first line of each file is all that comes to it."""
    read = 0

    def counted(path: Path, start: int = 0) -> Iterator[bytes]:
        nonlocal read
        for line in read_whole_lines(path, start):
            read += 1
            yield line

    monkeypatch.setattr("epochseal.witness.growth.read_whole_lines", counted)
    trees = Trees(log.path)
    for size in range(1, log.size + 1):
        trees.at(size)
    assert read < 2 * (log.size + 10)
    with pytest.raises(FormatError, match="there are no"):
        trees.at(log.size + 1)
    assert trees.at(3).root() == log.roots[3]
