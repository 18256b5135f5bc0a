"""`epochseal copy`: what a copy holds, what it keeps, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.evidence import copy_place, log_copy
from epochseal.evidence.log_copy import CopiedLog, copy_log
from epochseal.storage.durable import DirectoryLock
from epochseal.storage.exchange import NoExchangeError
from epochseal.storage.file_copy import link_file
from epochseal.storage.opener import GoneError, NotAFileError
from epochseal.storage.segments import list_segments
from epochseal.verifier import Verdict
from tests.integration.agents import kinds
from tests.integration.cli.terminals import at_terminal
from tests.integration.logs import START, Log, LogKeys, LogWriter, entry, seal, write_log
from tests.warm_program import run_text


@pytest.fixture
def log(tmp_path: Path, keys: LogKeys) -> Log:
    """A closed log of three segments."""
    return write_log(tmp_path / "log", keys)


def copied(log: Log, folder: Path, *, links: bool = True, delete: bool = False) -> CopiedLog:
    """Copy it, which there is something to."""
    found = copy_log(log.path, folder, links=links, delete=delete)
    assert found is not None
    return found


def verdict_of(log: Log, folder: Path) -> Verdict:
    """What the copy verifies as, in keys mode; public mode agrees that it is not tampered."""
    assert Log(folder, log.keys, log.now).verify("public").verdict != "tampered"
    return Log(folder, log.keys, log.now).verify("keys")


def content(folder: Path) -> dict[str, bytes]:
    """All files, by their names; a file of another name than a log has would be among them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def growing(path: Path, keys: LogKeys) -> LogWriter:
    """A log with one finished segment and an open one, whose epoch is not ended."""
    writer = LogWriter(path, keys).start("genesis").block(entry(0), entry(1)).turn("segment")
    return writer.block(entry(2))


def expire(writer: LogWriter, first_kept: int) -> None:
    """Remove the segments before this one."""
    for path in (writer.path / "segments").iterdir():
        if int(path.name[:6]) < first_kept:
            path.unlink()


def test_a_closed_log_byte_for_byte(log: Log, tmp_path: Path) -> None:
    """All files and no other, verified; finished segments are the log's own files, the last one is not."""
    (log.path / "witnessed").write_bytes((log.path / "checkpoint").read_bytes())
    found = copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(log.path)
    assert verdict_of(log, tmp_path / "copy").verdict == "verified"
    assert (found.segments, found.linked.files, found.copied.files, found.kept.files) == (3, 4, 2, 0)
    assert found.settled
    own = [path.samefile(tmp_path / "copy" / "segments" / path.name) for path in log.files("seal")]
    assert own == [True, True, False]


def test_a_link_to_itself_is_no_place(log: Log, tmp_path: Path) -> None:
    """It is told as that, and not as a fault of ours."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match="leads to itself"):
        copy_log(log.path, loop)


def test_holes_are_not_written(log: Log, tmp_path: Path) -> None:
    """A file of 64 GiB that takes a few kilobytes takes no more as a copy, and is the same."""
    path = min((log.path / "segments").glob("*.log")).with_suffix(".unsealed")
    size = 64 << 30
    with path.open("wb") as file:
        file.write(b"the beginning\n")
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"the middle\n")
    copied(log, tmp_path / "copy", links=False)
    copy = tmp_path / "copy" / "segments" / path.name
    found = copy.stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < 1 << 20
    with copy.open("rb") as file:
        assert file.read(20) == b"the beginning\n" + bytes(6)
        file.seek(size // 2)
        assert file.read(11) == b"the middle\n"


def test_again_nothing_is_copied(log: Log, tmp_path: Path) -> None:
    """A second run keeps every file, and what was read before is still there."""
    copied(log, tmp_path / "copy")
    before = [path.stat().st_ino for path in sorted((tmp_path / "copy" / "segments").iterdir())]
    found = copied(log, tmp_path / "copy")
    assert (found.kept.files, found.copied.files, found.linked.files) == (4, 2, 0)
    after = [path.stat().st_ino for path in sorted((tmp_path / "copy" / "segments").iterdir())]
    assert before[:4] == after[:4]
    assert content(tmp_path / "copy") == content(log.path)


def test_without_links(log: Log, tmp_path: Path) -> None:
    """No file is the log's own, also not where an earlier run had linked it; mode and time are the log's."""
    for folder, first in ((tmp_path / "one", False), (tmp_path / "other", True)):
        if first:
            copied(log, folder)
        copied(log, folder, links=False)
        for path in (log.path / "segments").iterdir():
            ours = folder / "segments" / path.name
            assert not path.samefile(ours)
            assert path.stat().st_mode == ours.stat().st_mode
            assert path.stat().st_mtime_ns == ours.stat().st_mtime_ns
        assert content(folder) == content(log.path)


def test_a_log_that_goes_on(tmp_path: Path, keys: LogKeys) -> None:
    """A copy of an open log verifies up to its end; later the same copy is brought up to date."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    copied(log, tmp_path / "copy")
    assert verdict_of(log, tmp_path / "copy").verdict == "verified"
    assert verdict_of(log, tmp_path / "copy").entries == 3
    writer.block(entry(3)).turn("segment").block(entry(4)).end()
    assert copied(log, tmp_path / "copy").kept.files == 2
    log = Log(writer.path, keys, writer.time + 1000)
    assert verdict_of(log, tmp_path / "copy").verdict == "verified"
    assert content(tmp_path / "copy") == content(writer.path)


def test_compressed_since(log: Log, tmp_path: Path) -> None:
    """A segment that the copy has is kept in the form that it had; another is taken in its new form."""
    copied(log, tmp_path / "plain")
    plain = log.files("log")[0]
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    copied(log, tmp_path / "plain")
    copied(log, tmp_path / "packed")
    assert (tmp_path / "plain" / "segments" / plain.name).exists()
    assert (tmp_path / "packed" / "segments" / f"{plain.name}.gz").exists()
    for name, files in (("plain", 6), ("packed", 6)):
        assert verdict_of(log, tmp_path / name).verdict == "verified"
        assert len(list((tmp_path / name / "segments").iterdir())) == files


def test_expired_since(tmp_path: Path, keys: LogKeys) -> None:
    """What the copy has is kept, and still verifies from the first line; --delete drops it."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    copied(log, tmp_path / "copy")
    writer.turn("segment").block(entry(3)).end()
    expire(writer, 2)
    found = copied(log, tmp_path / "copy")
    assert (found.segments, found.only_here) == (3, 1)
    log = Log(writer.path, keys, writer.time + 1000)
    assert verdict_of(log, tmp_path / "copy").verdict == "verified"
    assert verdict_of(log, tmp_path / "copy").entries == 4
    found = copied(log, tmp_path / "copy", delete=True)
    assert (found.segments, found.only_here) == (2, 0)
    assert content(tmp_path / "copy") == content(writer.path)


def test_expired_before_it_was_copied(tmp_path: Path, keys: LogKeys) -> None:
    """A copy never has a hole: it is refused, the copy stays as it was, and --delete begins anew."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    copied(log, tmp_path / "copy")
    before = content(tmp_path / "copy")
    writer.turn("segment").block(entry(3)).turn("segment").block(entry(4)).end()
    expire(writer, 3)
    with pytest.raises(ConfigError, match="segments 2 to 2 expired before they were copied"):
        copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == before
    copied(log, tmp_path / "copy", delete=True)
    assert content(tmp_path / "copy") == content(writer.path)


def test_a_segment_that_was_begun_and_removed(tmp_path: Path, keys: LogKeys) -> None:
    """A start removes a last segment that it never used; its next copy is not taken for a shorter log."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    for ending in ("log", "seal"):
        (writer.path / "segments" / f"000003-20260101T000100Z.{ending}").touch()
    copied(log, tmp_path / "copy")
    for path in (writer.path / "segments").glob("000003-*"):
        path.unlink()
    copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(writer.path)


def test_what_a_kill_leaves(log: Log, tmp_path: Path) -> None:
    """Half a file is never taken for a whole one, and what is whole is kept."""
    work = tmp_path / "copy" / ".segments.new"
    work.mkdir(parents=True)
    first, second = log.files("log")[:2]
    shutil.copy2(first, work / first.name)
    (work / f".{second.name}.part").write_bytes(b"half")
    (work / second.name).write_bytes(second.read_bytes()[:-1])
    (work / "000009-20260101T000000Z.log").write_bytes(b"of another listing")
    found = copied(log, tmp_path / "copy")
    assert found.kept.files == 1
    assert content(tmp_path / "copy") == content(log.path)


def test_a_file_system_without_exchange(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two renames then; killed between them, the next run begins with the copy that was there."""

    def refuse(_one: Path, _other: Path) -> None:
        raise NoExchangeError("not here")

    monkeypatch.setattr(copy_place, "exchange_folders", refuse)
    copied(log, tmp_path / "copy")
    copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(log.path)
    (tmp_path / "copy" / "segments").rename(tmp_path / "copy" / ".segments.old")
    assert copied(log, tmp_path / "copy").kept.files == 4
    assert content(tmp_path / "copy") == content(log.path)


def test_a_file_system_without_links(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is copied then, and copied again from the copy before."""

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert copied(log, tmp_path / "copy").copied.files == 6
    assert copied(log, tmp_path / "copy").kept.files == 4
    assert content(tmp_path / "copy") == content(log.path)


@pytest.mark.parametrize("change", ["longer", "shorter", "other name"])
def test_a_finished_segment_that_changed(log: Log, tmp_path: Path, change: str) -> None:
    """Nothing is written over the copy where the log shows another segment: it may be the evidence."""
    copied(log, tmp_path / "copy", links=False)
    before = content(tmp_path / "copy")
    seal = log.files("seal")[0]
    if change == "longer":
        seal.write_bytes(seal.read_bytes() + b"x\n")
    elif change == "shorter":
        seal.write_bytes(seal.read_bytes()[:-1])
    else:
        for path in (seal, seal.with_suffix(".log")):
            path.rename(path.with_name(path.name.replace("2026", "2025")))
    with pytest.raises(ConfigError, match="segment 1 of the log is not the one of its copy"):
        copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == before


@pytest.mark.parametrize("cut", ["segments", "checkpoint", "everything"])
def test_a_log_that_is_shorter_than_its_copy(log: Log, tmp_path: Path, cut: str) -> None:
    """A log that was cut back is refused: the copy has what it lost."""
    copied(log, tmp_path / "copy")
    before = content(tmp_path / "copy")
    if cut != "checkpoint":
        for path in (log.path / "segments").glob("*" if cut == "everything" else "000003*"):
            path.unlink()
    if cut != "segments":
        (log.path / "checkpoint").unlink()
    if cut == "everything":
        (log.path / "segments" / "000001-20260101T000000Z.log").touch()
    with pytest.raises(ConfigError, match=r"signed lines|ends before its copy|a log without an id"):
        copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == before


def test_another_log(log: Log, tmp_path: Path, keys: LogKeys) -> None:
    """A copy of one log is never made into that of another one, nor of one that does not say which it is."""
    other = write_log(tmp_path / "other", keys, "another", time=START + 1)
    for folder in (tmp_path / "copy", tmp_path / "linked"):
        copied(log, folder, links=folder.name == "linked")
    before = content(tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"holds a copy of the log .*=, and this is the log "):
        copied(other, tmp_path / "copy")
    seal = log.files("seal")[0]
    seal.write_bytes(b"x" + seal.read_bytes()[1:])
    with pytest.raises(ConfigError, match=r"holds a copy of the log .*=, and this is a log without an id"):
        copied(log, tmp_path / "copy")
    with pytest.raises(ConfigError, match="holds a copy of a log without an id, and this is a log without"):
        copied(log, tmp_path / "linked")
    assert content(tmp_path / "copy") == before
    # For evidence it can still be copied.
    copied(log, tmp_path / "new")
    assert content(tmp_path / "new") == content(log.path)


def test_places_that_are_refused(log: Log, tmp_path: Path) -> None:
    """In the log itself, also by a link; a folder with something else in it; one that is held."""
    (tmp_path / "link").symlink_to(log.path / "segments")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    (tmp_path / "file").touch()
    for folder in (log.path, log.path / "copy", tmp_path / "link" / "copy"):
        with pytest.raises(ConfigError, match="is in the log that is to be copied"):
            copied(log, folder)
    with pytest.raises(ConfigError, match="is not empty, and holds no copy of a log: letter"):
        copied(log, tmp_path / "full")
    with pytest.raises(ConfigError, match="is no directory"):
        copied(log, tmp_path / "file")
    copied(log, tmp_path / "copy")
    with DirectoryLock(tmp_path / "copy"), pytest.raises(LogBusy, match="another copy to"):
        copied(log, tmp_path / "copy")
    assert sorted(path.name for path in log.path.iterdir()) == ["checkpoint", "segments"]


@pytest.mark.parametrize("name", ["checkpoint", "witnessed", "segments", "log", "seal", "unsealed"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_are_not_followed(log: Log, tmp_path: Path, name: str, kind: str) -> None:
    """A link, or a FIFO that would wait for ever, in the place of a file of the log: refused at once."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"of this machine")
    path = log.path / name
    if name in {"log", "seal", "unsealed"}:
        path = log.files("log")[0].with_suffix(f".{name}")
    if path.is_dir():
        shutil.move(path, tmp_path / "away")
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(secret)
    else:
        os.mkfifo(path)
    with pytest.raises(NotAFileError, match="is no regular file"):
        copied(log, tmp_path / "copy")
    assert b"of this machine" not in content(tmp_path / "copy").values()


def test_a_torn_end_is_copied_as_it_is(tmp_path: Path, keys: LogKeys) -> None:
    """A dead agent left half a line and unsealed bytes: the copy has them, and says the same of them."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    for path in (log.files("seal")[-1], log.files("log")[-1]):
        path.write_bytes(path.read_bytes() + b"block 9 half")
        os.utime(path, (0, 0))
    copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(log.path)
    assert kinds(verdict_of(log, tmp_path / "copy")) == kinds(log.verify("keys")) == ["torn_line"]


def test_names_that_were_listed_between_two(
    tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new pair has the name of its log file alone when the names are listed: the copy is made again."""
    writer = growing(tmp_path / "log", keys)
    log = Log(writer.path, keys, writer.time + 1000)
    whole = list_segments(log.path)
    half = replace(whole, segments=(*whole.segments[:-1], replace(whole.segments[-1], seal=None)))
    lists = iter((whole, half, whole, whole, whole))
    monkeypatch.setattr(log_copy, "list_segments", lambda _: next(lists))
    found = log_copy.copy_log(log.path, tmp_path / "copy")
    assert found is not None
    assert found.settled
    assert list(lists) == []
    assert content(tmp_path / "copy") == content(log.path)


def test_what_is_gone_when_it_is_copied(
    tmp_path: Path, keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment expires behind the list of names: the next list counts, and the copy has no half of it."""
    writer = growing(tmp_path / "log", keys).turn("segment").block(entry(3))
    log = Log(writer.path, keys, writer.time + 1000)

    def link(source: Path, target: Path) -> bool:
        if source.name.startswith("000001") and source.suffix == ".log":
            expire(writer, 2)
        return link_file(source, target)

    monkeypatch.setattr(log_copy, "link_file", link)
    assert copied(log, tmp_path / "copy").segments == 2
    assert content(tmp_path / "copy") == content(log.path)


def test_a_log_that_changes_all_the_time(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, says so, and leaves the copy that was there."""
    copied(log, tmp_path / "copy")
    before = content(tmp_path / "copy")

    def gone(*_args: object) -> None:
        raise GoneError("there is no file")

    monkeypatch.setattr(log_copy, "_STEP_SECONDS", 0.0)
    monkeypatch.setattr(log_copy, "copy_file", gone)
    with pytest.raises(StorageError, match="go away faster than they are copied"):
        copied(log, tmp_path / "copy", links=False)
    assert {name: data for name, data in content(tmp_path / "copy").items() if "." not in name[:1]} == before


def test_time_stamps_too(log: Log, tmp_path: Path) -> None:
    """They are beside the log, and go with it."""
    (log.path / "timestamps").mkdir()
    (log.path / "timestamps" / "12.tsr").write_bytes(b"a stamp")
    copied(log, tmp_path / "copy")
    copied(log, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(log.path)


def test_progress_at_a_terminal(tmp_path: Path, keys: LogKeys) -> None:
    """Bytes and rate while it copies, the table behind; the bytes are those of all files."""
    seal(tmp_path / "log", keys, b"an entry of the log\n" * 200_000, "--segment-bytes", "500KiB")
    words = ["copy", "--no-links", str(tmp_path / "log"), str(tmp_path / "copy")]
    status, shown = at_terminal(words, tmp_path, COLUMNS="100", NO_COLOR="1")
    assert status == 0
    assert b"MB/s" in shown
    assert b"4.0/4.0 MB" in shown
    assert b"signed checkpoint" in shown


def test_the_command(log: Log, tmp_path: Path) -> None:
    """A table for people, an object for programs; foreign files are named; no log is 5, a refusal 2."""
    (log.path / "segments" / "README").touch()
    copy = tmp_path / "copy"
    shown = run_text(["copy", str(log.path), str(copy)])
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[1:4] == [["files", "bytes"], ["copied", "2", rows[2][2]], ["linked", "4", rows[3][2]]]
    assert "3 segments" in shown.stdout
    assert shown.stderr == "epochseal: not copied, it is no file of a log: README\n"
    told = json.loads(run_text(["copy", str(log.path), str(copy), "--json"]).stdout)
    assert (told["segments"], told["kept"]["files"], told["foreign_files"]) == (3, 4, ["README"])
    assert told["log"] == log.verify("keys").log
    assert told["tree_size"] == log.verify("keys").tree_size
    assert run_text(["copy", str(tmp_path / "no"), str(tmp_path / "new")]).returncode == 5
    assert not (tmp_path / "new").exists()
    refused = run_text(["copy", str(log.path), str(log.path / "in")])
    assert refused.returncode == 2
    assert refused.stderr.startswith("epochseal: error: ")
    assert "\nepochseal: hint: " in refused.stderr
    (log.path / "checkpoint").unlink()
    os.mkfifo(log.path / "checkpoint")
    assert run_text(["copy", str(log.path), str(copy)]).returncode == 6
