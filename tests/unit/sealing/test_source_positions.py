from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.source_positions import STATED, position_commits, read_positions
from tests.integration.logs import LogKeys, LogWriter


@pytest.fixture
def writer(tmp_path: Path) -> LogWriter:
    """A log that is open."""
    keys = LogKeys(tmp_path / "keys")
    keys.write()
    return LogWriter(tmp_path / "log", keys).start("genesis")


def _state(writer: LogWriter, *positions: SourceMark) -> None:
    for commit in position_commits(positions):
        for piece in commit:
            writer.block(src=piece.src)


def test_no_log_has_no_positions(tmp_path: Path) -> None:
    """An absent directory, and an empty one."""
    assert read_positions(tmp_path) == {}
    (tmp_path / "segments").mkdir()
    assert read_positions(tmp_path) == {}


def test_the_last_position_of_each_source(writer: LogWriter) -> None:
    """Blocks with and without entries count; heartbeats say nothing; flags are not carried on."""
    writer.block(b"1\n", src=SourceMark("tail:/a", 2, "file-1"))
    writer.block(b"2\n", src=SourceMark("tail:/b", 2, "file-2", esc=1, nolf=1, recovered=1, gap=1))
    writer.block(b"3\n", src=SourceMark("tail:/a", 4, "file-1"))
    writer.block()
    assert list(read_positions(writer.logdir).values()) == [
        SourceMark("tail:/b", 2, "file-2"),
        SourceMark("tail:/a", 4, "file-1"),
    ]


def test_a_search_ends_at_a_whole_statement(writer: LogWriter) -> None:
    """What is before it is forgotten; a source that was sealed after it counts with its later position."""
    writer.block(b"1\n", src=SourceMark("forgotten", 2))
    writer.turn("segment")
    _state(writer, SourceMark("a", 5), SourceMark("b", 6))
    writer.block(b"2\n", src=SourceMark("a", 7))
    writer.block(b"3\n", src=SourceMark("a", 9))
    assert read_positions(writer.logdir) == {"a": SourceMark("a", 9), "b": SourceMark("b", 6)}


def test_an_interrupted_statement_does_not_hide_earlier_ones(writer: LogWriter) -> None:
    """Killed between two commits of a statement: the positions that were not restated are found before it."""
    _state(writer, *(SourceMark(f"s{number}", number) for number in range(40)))
    writer.turn("segment")
    first, *_ = position_commits([SourceMark(f"s{number}", 100 + number) for number in range(40)])
    for piece in first:
        writer.block(src=piece.src)
    found = read_positions(writer.logdir)
    assert {name: src.offset for name, src in found.items()} == {
        f"s{number}": number + (100 if number < len(first) else 0) for number in range(40)
    }


def test_a_statement_fits_in_commits(writer: LogWriter) -> None:
    """At most 15 positions and 8 KiB of names a commit, the count at the end; none at all is stated too."""
    many = [SourceMark(f"tail:/{number:0900d}", number) for number in range(50)]
    commits = list(position_commits(many))
    assert [piece.src for commit in commits for piece in commit] == [*many, SourceMark(STATED, 50)]
    assert all(len(commit) <= 15 and sum(len(p.src.name) for p in commit) <= 8192 for commit in commits)
    _state(writer, *many)
    assert list(read_positions(writer.logdir).values()) == many
    _state(writer)
    assert read_positions(writer.logdir) == {}


def test_names_with_any_character(writer: LogWriter) -> None:
    """Quotes, backslashes and braces in a name do not mislead the search."""
    names = ['a"b', "a\\", '{"src":{"name":"x"', "日本"]
    for number, name in enumerate(names):
        writer.block(b"x\n", src=SourceMark(name, number))
        writer.block(b"x\n", src=SourceMark(name, number + 10))
    assert {name: src.offset for name, src in read_positions(writer.logdir).items()} == {
        name: number + 10 for number, name in enumerate(names)
    }


def test_torn_and_damaged_lines_are_passed_over(writer: LogWriter) -> None:
    """The verifier reports them; the search takes what is before."""
    writer.block(b"1\n", src=SourceMark("a", 2))
    (seal,) = writer.logdir.glob("segments/*.seal")
    with seal.open("ab") as file:
        file.write(b'block 3 x {"src":{"name":"a","offset":9}} AAAA\nblock 4 1 1 2 2 5 ')
    assert read_positions(writer.logdir) == {"a": SourceMark("a", 2)}
