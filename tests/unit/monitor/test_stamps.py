"""What the files of a log look like from outside: which changes show, and to which part they belong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from epochseal.monitor.stamps import Stamps, stamps_of
from epochseal.verifier import ResumePoint

POINT = ResumePoint(10, "000010-x", 0, 0, bytes(32), 1, 1, 1, 1, 9)


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Two old segments and the one at hand."""
    folder = tmp_path / "segments"
    folder.mkdir()
    for number in (1, 9, 10):
        (folder / f"{number:06d}-20260101T000000Z.log").write_bytes(b"x")
    (tmp_path / "checkpoint").write_bytes(b"x")
    return folder


def _look(segments: Path) -> Stamps:
    return stamps_of(str(segments.parent), POINT)


def test_nothing_was_changed(segments: Path) -> None:
    """Then they are equal; without a point all files are new ones."""
    assert _look(segments) == _look(segments)
    assert stamps_of(str(segments.parent), None).old == stamps_of("/nowhere", None).old == "0"


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("000009-20260101T000000Z.log", True),
        ("000010-20260101T000000Z.log", False),
        ("1000000-20260101T000000Z.log", False),
        ("000002-20260101T000000Z.seal", True),
        ("../checkpoint", False),
    ],
)
def test_a_change_shows(segments: Path, name: str, *, old: bool) -> None:
    """Also where somebody has put its time back."""
    before = _look(segments)
    path = segments / name
    times = path.stat() if path.exists() else None
    path.write_bytes(b"yy")
    if times is not None:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = _look(segments)
    assert (after.old != before.old, after.new != before.new) == (old, not old)


def test_a_folder_that_is_gone(segments: Path) -> None:
    """It is a change as well, of both parts."""
    before = _look(segments)
    segments.rename(segments.with_name("elsewhere"))
    after = _look(segments)
    assert before.old != after.old
    assert before.new != after.new
    assert stamps_of(str(segments.parent), replace(POINT, segment=1)) == after
