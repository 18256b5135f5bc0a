"""Which files beside a log file were rotated away from it, and in which order."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from epochseal.sources.rotated_files import list_rotated
from epochseal.sources.rotated_names import RotatedNames

USUAL = RotatedNames()


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("app.log", []),
        ("app.log.1", ["app.log"]),
        ("app.log.12.gz", ["app.log.12", "app.log"]),
        ("app.log-20261123", ["app.log"]),
        ("app.log.2026-11-23_10", ["app.log"]),
        ("app-20261123.log", ["app.log"]),
        ("app.1.log", ["app.log"]),
        ("app.log.old", ["app.log"]),
        ("api-v2.log", []),
    ],
)
def test_what_a_rotation_calls_its_files(name: str, bases: list[str]) -> None:
    """The names that a file may have had before."""
    assert USUAL.bases(name) == bases


def test_a_listing_in_the_middle_of_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that move to names which a listing was past, or move before they are looked at, are found."""
    log = tmp_path / "app.log"
    for name in ("app.log.2", "app.log.1", "app.log"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "app.log.9").symlink_to("nowhere")
    real = os.listdir

    def listdir(folder: str) -> list[str]:
        # The first listing has been past .3 when .2 moves there, and .1 moves before it is looked at.
        names = real(folder)
        if "app.log.3" not in names:
            names.remove("app.log.2")
            for age in (2, 1):
                (tmp_path / f"app.log.{age}").rename(tmp_path / f"app.log.{age + 1}")
        return names

    monkeypatch.setattr("epochseal.sources.rotated_files.os.listdir", listdir)
    found = list_rotated(str(log), USUAL)
    assert [Path(item.path).name for item in found] == ["app.log.3", "app.log.2"]
    assert [Path(item.path).read_bytes() for item in found] == [b"app.log.2", b"app.log.1"]


def test_a_folder_that_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings that differ each time come to an end, and a folder that is gone has no files."""
    numbers = itertools.count(1)

    def listdir(_folder: str) -> list[str]:
        number = next(numbers)
        (tmp_path / f"app.log.{number}").touch()
        return [f"app.log.{number}"]

    assert list_rotated(str(tmp_path / "gone" / "app.log"), USUAL) == []
    monkeypatch.setattr("epochseal.sources.rotated_files.os.listdir", listdir)
    assert len(list_rotated(str(tmp_path / "app.log"), USUAL)) == 1
    # It is listed once more, since the number 1 may be missing for a moment.
    assert next(numbers) < 2 * 11


@pytest.mark.parametrize(
    "names",
    [
        ("app.2026-11-27.10.log", "app.2026-11-28.0.log", "app.2026-11-28.1.log"),
        ("app.log.30-11-2026", "app.log.01-12-2026"),
        ("app.log-20261127-1764201600", "app.log-20261128"),
        ("app.log.2026-11-27_9", "app.log.2026-11-27_10"),
        ("app.log-20261127", "app.log-2026-11-28", "app.log.29.11.2026.gz"),
        ("app.log-20261127T230000", "app.log-20261128T010000"),
        ("app.log.10.gz", "app.log.9.zst", "app.log.1"),
    ],
)
@pytest.mark.parametrize("link", [False, True])
def test_the_order_of_names(tmp_path: Path, names: tuple[str, ...], *, link: bool) -> None:
    """Dates in any form, and what counts within them, whatever a compressor made of the times of change."""
    for age, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    path = tmp_path / "app.log"
    path.touch()
    if link:
        (tmp_path / "links").mkdir()
        path = tmp_path / "links" / "current"
        path.symlink_to(tmp_path / "app.log")
    assert tuple(Path(item.path).name for item in list_rotated(str(path), USUAL)) == names


@pytest.mark.parametrize(
    ("times", "order"),
    [
        ((1, 2, 3, 4), "1 2 3.gz 4"),
        ((4, 3, 2, 1), "4 3.gz 2 1"),
        ((1, 2, 9, 4), "1 2 3.gz 4"),
        ((5, 3, 9, 4), "4 3.gz 2 1"),
        ((7, 7, 7, 7), "4 3.gz 2 1"),
    ],
)
def test_numbers_that_count_up(tmp_path: Path, times: tuple[int, ...], order: str) -> None:
    """Handlers that never rename a file twice give the newest the greatest number, as most times say."""
    for name, time in zip(["1", "2", "3.gz", "4"], times, strict=True):
        (tmp_path / f"app.log.{name}").touch()
        os.utime(tmp_path / f"app.log.{name}", (time, time))
    found = list_rotated(str(tmp_path / "app.log"), USUAL)
    assert [Path(item.path).name.removeprefix("app.log.") for item in found] == order.split()


@pytest.mark.parametrize(
    ("names", "times", "order", "certain"),
    [
        (["1"], [1], "1", True),
        (["1", "2"], [2, 1], "2 1", True),
        (["1", "2"], [1, 2], "1 2", False),
        (["1", "2"], [1, 1], "2 1", False),
        (["1", "2", "3"], [1, 2, 3], "1 2 3", True),
        (["1", "2", "3"], [1, 3, 2], "3 2 1", False),
        (["1", "2.gz", "3.gz"], [1, 2, 3], "3.gz 2.gz 1", True),
        (["1.gz", "2"], [1, 2], "2 1.gz", False),
        (["1.gz", "2.gz"], [2, 1], "2.gz 1.gz", True),
        (["1.gz", "2.gz"], [1, 2], "1.gz 2.gz", False),
        (["1.gz", "2.gz", "3"], [1, 2, 3], "1.gz 2.gz 3", False),
        (["1.gz", "2.gz"], [1, 1], "2.gz 1.gz", False),
        (["1", "20261123"], [1, 2], "1 20261123", True),
        (["1.gz", "20261123"], [1, 2], "1.gz 20261123", False),
        (["20261123.gz", "20261124"], [2, 1], "20261123.gz 20261124", True),
    ],
)
def test_whether_the_order_is_sure(
    tmp_path: Path, names: list[str], times: list[int], order: str, *, certain: bool
) -> None:
    """Where neither times nor compressors tell which file is newer, that is known."""
    for name, time in zip(names, times, strict=True):
        (tmp_path / f"app.log.{name}").touch()
        os.utime(tmp_path / f"app.log.{name}", (time, time))
    found = list_rotated(str(tmp_path / "app.log"), USUAL)
    assert [Path(item.path).name.removeprefix("app.log.") for item in found] == order.split()
    assert {item.certain for item in found} == {certain}
