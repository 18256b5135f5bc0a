"""What a start moves aside or removes: no byte is ever lost, whenever it is interrupted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.storage.aside import absorb, cut_tear, remove_hidden, remove_segment, set_aside
from epochseal.storage.durable import AppendFile, DiskFullError
from epochseal.storage.segments import FOLDER, SegmentWriter, list_segments

STEM, LATER = "000001-20231114T221320Z", "000002-20231114T221320Z"


def test_unsealed_bytes_are_set_aside(tmp_path: Path) -> None:
    """What follows the sealed bytes is moved, also a second time, and the log ends where it is sealed."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_entries(b"sealed\nforeign\n")
    assert set_aside(tmp_path, STEM, writer.log, 7) == 8
    assert set_aside(tmp_path, STEM, writer.log, 7) == 0
    writer.append_entries(b"more")
    assert set_aside(tmp_path, STEM, writer.log, 7) == 4
    writer.close()
    folder = tmp_path / FOLDER
    assert (folder / f"{STEM}.log").read_bytes() == b"sealed\n"
    assert (folder / f"{STEM}.unsealed").read_bytes() == b"foreign\nmore"


def test_what_takes_no_room_takes_none_aside(tmp_path: Path) -> None:
    """Whoever may write the folder makes a file of any size out of holes: that fills no disk."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_entries(b"sealed\nforeign\n")
    path, size = tmp_path / FOLDER / f"{STEM}.log", 64 << 30
    os.truncate(path, size // 2)
    with path.open("ab") as file:
        file.write(b"in the middle")
    os.truncate(path, size)
    writer.close()
    log = AppendFile.open(path, create=False)
    assert set_aside(tmp_path, STEM, log, 7) == size - 7
    log.close()
    kept = path.with_suffix(".unsealed")
    assert (kept.stat().st_size, path.read_bytes()) == (size - 7, b"sealed\n")
    assert kept.stat().st_blocks * 512 < 1 << 20
    with kept.open("rb") as file:
        assert file.read(9) == b"foreign\n\0"
        file.seek(size // 2 - 8)
        assert file.read(15) == b"\0in the middle\0"


@pytest.mark.parametrize("note", [True, False])
def test_a_tear_is_kept_and_a_torn_note_is_not(tmp_path: Path, *, note: bool) -> None:
    """Lines that do not follow are moved; the beginning of a note is nothing: it is asked for again."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_lines(b"line\nnote AAA")
    for moved in (0 if note else 8, 0):
        assert cut_tear(tmp_path, STEM, writer.seal, 5, torn_note=note) == moved
    writer.close()
    torn = tmp_path / FOLDER / f"{STEM}.torn"
    assert (tmp_path / FOLDER / f"{STEM}.seal").read_bytes() == b"line\n"
    assert (torn.read_bytes() if torn.exists() else None) == (None if note else b"note AAA")


def test_a_segment_without_a_chain_goes_into_the_one_before(tmp_path: Path) -> None:
    """Its bytes and its lines are appended to what was set aside there, and it is gone."""
    for stem in (STEM, LATER):
        writer = SegmentWriter.create(tmp_path, stem)
        writer.append_entries(b"entries of %b" % stem.encode())
        writer.append_lines(b"lines of %b" % stem.encode())
        writer.close()
    folder = tmp_path / FOLDER
    (folder / f"{STEM}.torn").write_bytes(b"older, ")
    (folder / f"{LATER}.unsealed").write_bytes(b"newer, ")
    assert absorb(tmp_path, STEM, list_segments(tmp_path).segments[1]) == (7 + 34, 32)
    assert {path.name for path in folder.iterdir()} == {
        STEM + ending for ending in (".log", ".seal", ".torn", ".unsealed")
    }
    assert (folder / f"{STEM}.torn").read_bytes() == b"older, lines of " + LATER.encode()
    assert (folder / f"{STEM}.unsealed").read_bytes() == b"newer, entries of " + LATER.encode()


def test_a_full_disk_leaves_no_half_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call can be made again when there is room: what was copied before is taken back."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_entries(b"sealed\nforeign\n")
    real, full = AppendFile.sync, [True]

    def sync(file: AppendFile) -> None:
        if full and file.path.suffix == ".unsealed":
            full.clear()
            raise DiskFullError("full")
        real(file)

    monkeypatch.setattr(AppendFile, "sync", sync)
    with pytest.raises(DiskFullError):
        set_aside(tmp_path, STEM, writer.log, 7)
    assert set_aside(tmp_path, STEM, writer.log, 7) == 8
    writer.close()
    assert (tmp_path / FOLDER / f"{STEM}.unsealed").read_bytes() == b"foreign\n"


def test_what_was_never_used_is_removed(tmp_path: Path) -> None:
    """Hidden pairs, and a pair that was begun; other hidden files stay."""
    remove_hidden(tmp_path)
    SegmentWriter.prepare(tmp_path, LATER).close()
    SegmentWriter.create(tmp_path, STEM).close()
    folder = tmp_path / FOLDER
    (folder / ".keep").write_bytes(b"")
    remove_hidden(tmp_path)
    assert {path.name for path in folder.iterdir()} == {".keep", f"{STEM}.log", f"{STEM}.seal"}
    (segment,) = list_segments(tmp_path).segments
    remove_segment(segment)
    assert {path.name for path in folder.iterdir()} == {".keep"}
    with pytest.raises(StorageError, match="cannot remove"):
        remove_segment(segment)


def test_a_link_is_not_copied_from_or_to(tmp_path: Path) -> None:
    """Nothing is moved into a file that somebody else chose."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_entries(b"foreign\n")
    (tmp_path / FOLDER / f"{STEM}.unsealed").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        set_aside(tmp_path, STEM, writer.log, 0)
    writer.close()
    assert not (tmp_path / "elsewhere").exists()
