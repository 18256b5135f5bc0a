from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.storage.durable import DurabilityError
from epochseal.storage.segments import FOLDER, SegmentWriter, list_segments, segment_stem

STEM = "000001-20231114T221320Z"


def put(logdir: Path, *names: str) -> None:
    """Empty files in the folder of segments."""
    (logdir / FOLDER).mkdir(exist_ok=True)
    for name in names:
        (logdir / FOLDER / name).write_bytes(b"")


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # Path.iterdir would hold one more while it counts


@pytest.mark.parametrize(
    ("number", "time", "stem"),
    [
        (1, 1_700_000_000_000, STEM),
        (1, 1_700_000_000_999, STEM),
        (1_234_567, 0, "1234567-19700101T000000Z"),
        (2, 2**63 - 1, "000002-99991231T235959Z"),
    ],
)
def test_names(number: int, time: int, stem: str) -> None:
    """A segment is named by its number, at least six digits, and its first epoch's second, on any clock."""
    assert segment_stem(number, time) == stem


def test_a_directory_without_segments_is_empty(tmp_path: Path) -> None:
    """No folder, and no directory at all, list as nothing."""
    for logdir in (tmp_path, tmp_path / "missing"):
        listing = list_segments(logdir)
        assert (listing.segments, listing.foreign) == ((), ())


def test_segments_are_listed_by_number(tmp_path: Path) -> None:
    """Files that share a stem are one segment, in the order of the numbers, also beyond six digits."""
    stems = ["000002-20231114T221321Z", "1000000-20231114T221322Z", STEM]
    put(tmp_path, *(f"{stem}{ending}" for stem in stems for ending in (".seal", ".log")))
    put(tmp_path, f"{STEM}.log.gz", f"{STEM}.log.zst", f"{STEM}.unsealed")
    listing = list_segments(tmp_path)
    assert [segment.number for segment in listing.segments] == [1, 2, 1_000_000]
    first = listing.segments[0]
    assert [path.name for path in first.logs] == [f"{STEM}.log", f"{STEM}.log.gz", f"{STEM}.log.zst"]
    assert first.seal == tmp_path / FOLDER / f"{STEM}.seal"
    assert first.unsealed == tmp_path / FOLDER / f"{STEM}.unsealed"
    assert listing.foreign == ()


def test_one_number_with_two_stems_is_two_segments(tmp_path: Path) -> None:
    """A second pair of the same number is not merged into the first: the verifier has to see both."""
    put(tmp_path, f"{STEM}.log", "000001-20231114T221321Z.log")
    assert [segment.number for segment in list_segments(tmp_path).segments] == [1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "1-20231114T221320Z.log",
        "0000001-20231114T221320Z.log",
        "000001-20231114T221320.log",
        "000001-20231114T221320Z.seal.gz",
        "000001-20231114T221320Z.unsealed.zst",
        "000001-20231114T221320Z.log.bz2",
        "000001-20231114T221320Z.log\n",
        "\u0660\u0660\u0660\u0660\u0660\u0661-20231114T221320Z.log",
        "000001-20231114T221320Z.LOG",
    ],
)
def test_other_names_are_foreign(tmp_path: Path, name: str) -> None:
    """A name in any other spelling belongs to no segment, and is reported."""
    put(tmp_path, name)
    listing = list_segments(tmp_path)
    assert (listing.segments, listing.foreign) == ((), (name,))


def test_an_empty_segment_can_be_removed(tmp_path: Path) -> None:
    """A pair without a byte is empty, one with a byte in any file is not; removing takes all files."""
    put(tmp_path, f"{STEM}.log", f"{STEM}.seal")
    (segment,) = list_segments(tmp_path).segments
    assert segment.is_empty()
    segment.remove()
    assert list_segments(tmp_path).segments == ()
    with pytest.raises(StorageError, match="cannot look at"):
        segment.is_empty()
    with pytest.raises(StorageError, match="cannot remove"):
        segment.remove()
    put(tmp_path, f"{STEM}.log", f"{STEM}.unsealed")
    (tmp_path / FOLDER / f"{STEM}.unsealed").write_bytes(b"x")
    assert not list_segments(tmp_path).segments[0].is_empty()


def test_a_pair_is_made_written_and_opened_again(tmp_path: Path) -> None:
    """Entries and lines go to their files, at once, and a later process appends behind them."""
    writer = SegmentWriter.create(tmp_path, STEM)
    writer.append_entries(b"one\n")
    writer.append_lines(b"line 1\n")
    writer.close()
    writer = SegmentWriter.reopen(tmp_path, STEM)
    writer.append_entries(memoryview(b"two\n"))
    writer.append_lines(b"line 2\n")
    assert (writer.log.path.read_bytes(), writer.seal.path.read_bytes()) == (
        b"one\ntwo\n",
        b"line 1\nline 2\n",
    )
    writer.close()


def test_left_overs_of_a_killed_start_are_used_again(tmp_path: Path) -> None:
    """A pair without content is taken over; one with content is never appended to as if it were new."""
    SegmentWriter.create(tmp_path, STEM).close()
    SegmentWriter.create(tmp_path, STEM).close()
    (tmp_path / FOLDER / f"{STEM}.seal").write_bytes(b"x")
    before = open_files()
    with pytest.raises(StorageError, match="has content that no chain accounts for"):
        SegmentWriter.create(tmp_path, STEM)
    assert open_files() == before


def test_half_a_pair_is_completed(tmp_path: Path) -> None:
    """A kill came between the two names: the other file is made; where it cannot be, nothing is left open."""
    put(tmp_path, f"{STEM}.log")
    SegmentWriter.reopen(tmp_path, STEM).close()
    seal = tmp_path / FOLDER / f"{STEM}.seal"
    assert seal.read_bytes() == b""
    seal.unlink()
    seal.mkdir()
    before = open_files()
    with pytest.raises(StorageError, match="Is a directory"):
        SegmentWriter.reopen(tmp_path, STEM)
    assert open_files() == before


@pytest.mark.parametrize("ending", [".log", ".seal"])
def test_nothing_is_appended_behind_foreign_bytes(tmp_path: Path, ending: str) -> None:
    """Entries are refused when either file is not as long as this writer made it."""
    writer = SegmentWriter.create(tmp_path, STEM)
    with (tmp_path / FOLDER / (STEM + ending)).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DurabilityError, match="grew behind our back"):
        writer.append_entries(b"one\n")
    writer.close()
    content = (tmp_path / FOLDER / (STEM + ending)).read_bytes()
    assert content == b"x"


def test_a_note_needs_its_seal_file_only(tmp_path: Path) -> None:
    """The log file of a closed segment may be compressed and gone when its checkpoint is signed."""
    writer = SegmentWriter.create(tmp_path, STEM)
    (tmp_path / FOLDER / f"{STEM}.log").unlink()
    writer.append_lines(b"note AAAA\n")
    with pytest.raises(DurabilityError, match="deleted behind our back"):
        writer.check_lengths()
    writer.close()


def test_what_is_no_file_under_a_segments_name(tmp_path: Path) -> None:
    """A pipe, a link and a folder count as files of their segment, and are named as what they are not."""
    put(tmp_path, f"{STEM}.log")
    folder = tmp_path / FOLDER
    os.mkfifo(folder / f"{STEM}.seal")
    (folder / f"{STEM}.unsealed").symlink_to(folder / f"{STEM}.log")
    (folder / f"{STEM}.torn").mkdir()
    listing = list_segments(tmp_path)
    (segment,) = listing.segments
    assert segment.seal == folder / f"{STEM}.seal"
    assert listing.not_files == (f"{STEM}.seal", f"{STEM}.torn", f"{STEM}.unsealed")
    assert listing.foreign == ()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_the_folder_itself_is_none(tmp_path: Path, kind: str) -> None:
    """What stands in its place is named, and nothing in it is read."""
    logdir = tmp_path / "log"
    logdir.mkdir()
    put(tmp_path, f"{STEM}.log")
    if kind == "link":
        (logdir / FOLDER).symlink_to(tmp_path / FOLDER)
    else:
        (logdir / FOLDER).write_bytes(b"")
    listing = list_segments(logdir)
    assert (listing.segments, listing.not_files) == ((), (FOLDER,))


def test_files_that_are_being_made_are_passed_over(tmp_path: Path) -> None:
    """A name that begins with a dot is neither a segment's nor foreign."""
    put(tmp_path, f".{STEM}.log", f".{STEM}.seal")
    listing = list_segments(tmp_path)
    assert (listing.segments, listing.foreign) == ((), ())


def test_a_folder_that_is_exchanged_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that was read from a folder which was exchanged and emptied meanwhile is read again."""
    put(tmp_path, f"{STEM}.seal", f"{STEM}.log")
    real = os.scandir
    exchanges = 2

    def scandir(place: int) -> object:
        nonlocal exchanges
        if exchanges:
            exchanges -= 1
            folder, old = tmp_path / FOLDER, tmp_path / f"old-{exchanges}"
            folder.rename(old)
            put(tmp_path, f"{STEM}.seal", f"{STEM}.log.gz")
            for path in old.iterdir():
                path.unlink()
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    (segment,) = list_segments(tmp_path).segments
    assert segment.seal is not None
    assert [path.name for path in segment.logs] == [f"{STEM}.log.gz"]
    exchanges = 10_000
    with pytest.raises(StorageError, match="exchanged"):
        list_segments(tmp_path)


def test_a_file_that_expires_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a list of names does not say what they are, each is looked at: gone is no other thing."""
    put(tmp_path, f"{STEM}.seal", f"{STEM}.log", "000002-20231114T221420Z.log")
    (tmp_path / FOLDER / "000002-20231114T221420Z.seal").symlink_to("elsewhere")
    gone = tmp_path / FOLDER / f"{STEM}.log"
    real = os.scandir

    class Nameless:
        """An entry of a file system that gives names alone."""

        def __init__(self, name: str) -> None:
            self.name = name

        def is_file(self, *, follow_symlinks: bool) -> bool:
            # What `os.DirEntry` says of a file that is gone.
            return not follow_symlinks and False

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            return (tmp_path / FOLDER / self.name).stat(follow_symlinks=follow_symlinks)

    @contextmanager
    def scandir(place: int) -> Iterator[list[Nameless]]:
        with real(place) as found:
            names = [Nameless(entry.name) for entry in found]
        gone.unlink(missing_ok=True)
        yield names

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_segments(tmp_path)
    assert [path.name for path in listing.segments[0].files()] == [f"{STEM}.seal"]
    assert listing.not_files == ("000002-20231114T221420Z.seal",)
