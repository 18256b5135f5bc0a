"""What a hostile file of a trail costs, and what is said of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import FormatError
from epochseal.storage.seal_file import read_whole_lines
from epochseal.trail import sealed as sealed_lines
from epochseal.trail import trail_file
from epochseal.trail.compare import reconcile
from epochseal.trail.read import read_trail
from epochseal.trail.sealed import read_sealed
from epochseal.trail.trail_file import TrailFile
from tests.bench.hostile_files import (
    trail_of_damaged_lines,
    trail_of_deep_json,
    trail_of_empty_items,
    trail_of_empty_lines,
    trail_of_signatures,
)
from tests.reference.keys import ORIGIN, Keys, hashed, text
from tests.reference.maker import Maker

REQUEST = {"id": "r", "path": "transit/datakey/plaintext/kek", "operation": "update"}
LINE = json.dumps({"time": "2026-01-01T00:00:00Z", "type": "response", "request": REQUEST}).encode() + b"\n"


def test_a_packed_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to so many times its size; beyond that it is an error that says what to do."""
    path = tmp_path / "audit.log.gz"
    path.write_bytes(gzip.compress(LINE + b"\n" * 100_000))
    assert len(read_trail([path]).calls) == 1
    monkeypatch.setattr(trail_file, "_FREE", 1000)
    with pytest.raises(FormatError, match="24 times as many bytes") as caught:
        read_trail([path])
    assert caught.value.hint == "unpack it, and try again"


def test_members_follow_each_other(tmp_path: Path) -> None:
    """Of several gzip members all are read, those without content too."""
    path = tmp_path / "audit.log.gz"
    path.write_bytes(
        gzip.compress(LINE) + gzip.compress(b"") * 1000 + gzip.compress(LINE.replace(b'"r"', b'"s"'))
    )
    assert [call.id for call in read_trail([path]).calls] == ["r", "s"]


@pytest.mark.parametrize("size", [1, 7, len(LINE), len(LINE) + 1])
def test_pieces_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A line, and what is looked for in it, may lie in two of them; the unfinished last one is left out."""
    monkeypatch.setattr(trail_file, "_PIECE", size)
    path = tmp_path / "audit.log"
    other = LINE.replace(b"transit/datakey", b"secret/data").replace(b"datakey", b"data")
    lines = [LINE.replace(b'"r"', b'"r%d"' % number) + other for number in range(5)]
    path.write_bytes(b"".join(lines) + LINE[:-10])
    assert [call.id for call in read_trail([path]).calls] == [f"r{number}" for number in range(5)]


def test_blanks_before_the_first_line(tmp_path: Path) -> None:
    """However many there are."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"\n" * 10_000 + LINE)
    assert len(read_trail([path]).calls) == 1
    path.write_bytes(b"\n" * 10_000)
    assert not read_trail([path]).kinds


def test_a_batch_of_more_items_than_bytes(tmp_path: Path, keys: Keys) -> None:
    """No server wrote that: the line counts as damaged, and no call is made of it."""
    found = read_trail([trail_of_empty_items(tmp_path, keys, 20_000)])
    assert found.calls == []
    assert found.gaps == ["input has 1 lines that cannot be read"]


def test_a_batch_is_as_many_calls(tmp_path: Path, keys: Keys) -> None:
    """One an item."""
    assert len(read_trail([trail_of_signatures(tmp_path, keys, 6000)]).calls) == 100


def test_json_that_is_too_deep(tmp_path: Path, keys: Keys) -> None:
    """Damage, as any line that cannot be read, and so is a number of 10^5 digits; the other line is read."""
    found = read_trail([trail_of_deep_json(tmp_path, keys, 20_000)])
    assert found.gaps == ["input has 2 lines that cannot be read"]
    assert len(found.calls) == 1


def test_damaged_and_empty_lines(tmp_path: Path, keys: Keys) -> None:
    """They are counted, and those that are about nothing are not even that."""
    found = read_trail([trail_of_damaged_lines(tmp_path, keys, 700)])
    assert found.gaps == ["input has 100 lines that cannot be read"]
    found = read_trail([trail_of_empty_lines(tmp_path, keys, 700)])
    assert len(found.calls) == 1


def test_a_whole_file_of_cloudtrail_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one object: it is held as a whole."""
    monkeypatch.setattr(trail_file, "_MOST_AT_ONCE", 1000)
    path = tmp_path / "trail.json"
    path.write_bytes(b'{"Records":[]}' + b" " * 2000)
    with TrailFile(path) as file, pytest.raises(FormatError, match="more than 1000 bytes"):
        file.whole()


def test_tags_are_looked_for_in_one_pass(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls quote tags that no line has, the seal files are read once for them."""
    log = Maker(tmp_path / "log", keys)
    log.begin("genesis").block(b"entry\n")
    sealed = read_sealed(log.path)
    lines = []
    for number in range(200):
        tag = text(hashed("no tag", number)) if number else text(log.tag)
        context = f"log={ORIGIN};;id={sealed.log};epoch=1;prev={tag}"
        request = REQUEST | {"id": f"r{number}", "data": {"context": text(context.encode())}}
        time = f"2026-01-01T00:00:01.{number:03}Z"
        lines.append(json.dumps({"time": time, "type": "response", "request": request}) + "\n")
    path = tmp_path / "audit.log"
    path.write_text("".join(lines))
    reads: list[Path] = []

    def read(path: Path, start: int = 0) -> Iterator[bytes]:
        reads.append(path)
        return read_whole_lines(path, start)

    monkeypatch.setattr(sealed_lines, "read_whole_lines", read)
    found = reconcile(sealed, read_trail([path]))
    assert [item.kind for item in found.problems].count("issued_not_sealed") == 199
    assert reads == [log.file("seal")]
