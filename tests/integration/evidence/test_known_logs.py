"""What `verify` remembers by default: places and logs, and the four rows of docs/trust.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epochseal.evidence.known_logs import Known, KnownLogs, known_folder, peek_log_id, place_of
from tests.integration.evidence.site import PROGRAM, Site, entry, start_of
from tests.reference.keys import Keys
from tests.reference.maker import Maker


def known() -> KnownLogs:
    """The memory of this test."""
    return KnownLogs(known_folder())


def test_a_new_log_is_pinned_and_the_id_is_said(site: Site) -> None:
    """New place, new log: remembered on 0, with the id to compare; the second time it is known."""
    site.write()
    first = site.verify()
    assert (first.status, first.memory) == (0, "new")
    log = peek_log_id(site.log)
    assert log is not None
    assert known().trust_of(log) is not None
    assert f"{first.details['pinned'].split()[1]}" in site.run("inspect", site.log).stdout
    assert "pinned" in first.warnings
    again = site.verify()
    assert (again.status, again.memory, "pinned" in again.warnings) == (0, "known", False)


def test_a_known_log_that_was_cut_back(site: Site) -> None:
    """Known place, the same log: shorter than what was seen is a roll-back, without any file named."""
    writer = site.write()
    shutil.copytree(site.log, old := site.folder / "old")
    writer.begin("carry").block(entry(2)).close()
    assert site.verify().memory == "new"
    shutil.rmtree(site.log)
    shutil.copytree(old, site.log)
    found = site.verify()
    assert (found.status, found.kinds, found.memory) == (1, {"rolled_back"}, "known")
    shutil.rmtree(site.log)
    assert site.verify().kinds == {"rolled_back"}


def test_a_log_made_anew_in_a_known_place(site: Site) -> None:
    """With the same origin, keys and times: another id is untrusted, and both are shown."""
    site.write()
    assert site.verify().status == 0
    before = peek_log_id(site.log)
    shutil.rmtree(site.log)
    site.write(name="anew")
    found = site.verify()
    assert (found.status, found.kinds, found.memory) == (4, {"other_log"}, "known")
    after = peek_log_id(site.log)
    assert before is not None
    assert after is not None
    assert before != after
    known_there = known().recall(place_of(site.log), after)
    assert known_there.place == before
    assert site.verify().kinds == {"other_log"}
    assert site.verify("--trust", "none").status == 0


def test_a_link_that_is_turned_to_another_log(site: Site) -> None:
    """A place is the path as it was named: a link of that name leads to another log now."""
    site.write()
    (link := site.folder / "current").symlink_to(site.log)
    assert site.verify(log=link).memory == "new"
    site.log = site.folder / "anew"
    site.write(name="anew")
    link.unlink()
    link.symlink_to(site.log)
    found = site.verify(log=link)
    assert (found.status, found.kinds) == (4, {"other_log"})


def test_another_origin_in_a_known_place(site: Site) -> None:
    """It says itself that it is another log."""
    site.write()
    assert site.verify().status == 0
    shutil.rmtree(site.log)
    other = Maker(site.log, site.keys)
    other.origin = "log.example/other"
    other.begin("genesis").block(entry(0)).close()
    found = site.verify()
    assert (found.status, "other_log" in found.kinds) == (4, True)
    assert "log.example/other" in found.details["other_log"]


def test_a_copy_of_a_known_log_elsewhere(site: Site) -> None:
    """New place, known log: an older copy is incomplete, the same or a newer one moves the memory."""
    writer = site.write()
    shutil.copytree(site.log, old := site.folder / "old")
    writer.begin("carry").block(entry(2)).close()
    assert site.verify().status == 0
    backup = site.verify(log=old)
    assert (backup.status, backup.kinds, backup.memory) == (3, {"older_than_known"}, "known")
    writer.begin("carry").block(entry(3)).close()
    shutil.copytree(site.log, newer := site.folder / "newer")
    found = site.verify(log=newer)
    assert (found.status, found.memory) == (0, "known")
    log = peek_log_id(site.log)
    trust = known().trust_of(log)
    assert trust is not None
    assert trust.checkpoint.size == writer.size
    assert {log for _, log in known().places()} == {trust.log}
    assert len(list(known().places())) == 2


def test_a_forked_copy_of_a_known_log_elsewhere(site: Site) -> None:
    """New place, known log, another history: two were signed with one key."""
    writer = site.write()
    thief = writer.fork(site.folder / "fork")
    writer.begin("carry").block(entry(2)).close()
    assert site.verify().status == 0
    thief.begin("carry")
    for number in range(9):
        thief.block(entry(100 + number))
    thief.close()
    found = site.verify(log=thief.path)
    assert (found.status, found.kinds) == (1, {"log_forked"})


def test_only_a_verified_log_is_remembered(site: Site) -> None:
    """A log with a cold start is not pinned; accepted without a file, it is, in the user's own memory."""
    Maker(site.log, site.keys).begin("genesis").block(entry(0)).begin("cold").block(entry(1)).close()
    found = site.verify()
    assert (found.status, found.memory) == (3, "none")
    assert list(known().places()) == []
    accept = "--accept-start", start_of(site.log, 1), "--reason", "moved to another host"
    done = site.run("trust", site.log, *site.both, *accept)
    assert done.returncode == 0, done.stderr
    found = site.verify()
    assert (found.status, found.memory, "start_accepted" in found.warnings) == (0, "known", True)


def test_forgetting_a_place(site: Site) -> None:
    """A log was removed on purpose: another one is new there, and the old one is not known any more."""
    site.write()
    shutil.copytree(site.log, copy := site.folder / "copy")
    assert site.verify().status == 0
    assert site.verify(log=copy).status == 0
    old = peek_log_id(site.log)
    shutil.rmtree(site.log)
    site.write(name="anew")
    assert site.verify().status == 4
    done = site.run("forget", site.log)
    assert done.returncode == 0
    assert "not known for the log" in done.stderr
    assert site.verify().memory == "new"
    # It is still known at the other place.
    assert known().trust_of(old) is not None
    assert site.run("forget", copy).returncode == 0
    assert known().trust_of(old) is None
    assert site.run("forget", copy).returncode == 5


def test_a_log_that_is_asked_for_while_it_is_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its two files one is gone already: nobody is told that a file of the memory is missing."""
    site.write()
    assert site.verify().status == 0
    log, place = peek_log_id(site.log), place_of(site.log)
    assert log is not None
    real = KnownLogs._locked  # noqa: SLF001  # stands for another process, which holds the lock

    @contextmanager
    def locked(memory: KnownLogs) -> Iterator[None]:
        for path in known_folder().glob("*.place"):
            path.unlink()
        with real(memory):
            yield

    monkeypatch.setattr(KnownLogs, "_locked", locked)
    (known_folder() / f"{log.hex()}.trust").unlink()
    assert known().recall(place, log) == Known()


def test_the_id_that_was_told(site: Site, tmp_path: Path) -> None:
    """`--log` holds a log to the id that its owner told: another one is untrusted."""
    site.write()
    shown = site.run("inspect", site.log).stdout
    log = next(line.split()[-1] for line in shown.splitlines() if "log id" in line)
    assert site.verify("--log", log).status == 0
    other = Site(tmp_path / "other", site.keys)
    other.write(name="anew")
    found = other.verify("--log", log)
    assert (found.status, found.kinds) == (4, {"wrong_log"})
    assert other.run("prove", other.log, "--entry", "0", *other.public, "--log", log).returncode == 4
    assert other.run("prove", site.log, "--entry", "0", *other.public, "--log", log).returncode == 0
    assert other.verify("--log", "nonsense").status == 2


def test_where_nothing_can_be_written(site: Site) -> None:
    """The verdict stands, with a warning; `--trust none` says what it cannot show."""
    site.write()
    (state := site.folder / "state").write_text("in the way")
    found = site.verify(XDG_STATE_HOME=str(state))
    assert (found.status, found.memory, found.warnings) == (0, "none", {"not_remembered"})
    found = site.verify("--trust", "none")
    assert (found.status, found.memory, found.warnings) == (0, "none", {"not_remembered"})
    assert "made anew" in found.details["not_remembered"]
    assert list(known().places()) == []


@pytest.mark.parametrize("way", ["writable", "garbled", "moved", "gone"])
def test_a_memory_that_cannot_be_used(site: Site, way: str) -> None:
    """It is never taken for none: the command says what is wrong."""
    site.write()
    assert site.verify().status == 0
    folder = known_folder()
    (place,), (trust,) = folder.glob("*.place"), folder.glob("*.trust")
    if way == "writable":
        folder.chmod(0o777)
    elif way == "garbled":
        place.write_text("trust me\n")
    elif way == "moved":
        shutil.copy(place, folder / f"{'0' * 64}.place")
        (folder / f"{'0' * 64}.place").rename(folder / place.name)
        shutil.copy(trust, folder / f"{'0' * 64}.trust")
        trust.write_bytes((folder / f"{'0' * 64}.trust").read_bytes().replace(b"log ", b"log x"))
    else:
        trust.unlink()
    done = site.run("verify", site.log, *site.both)
    assert (done.returncode, done.stdout) == (2, "")
    assert "epochseal: hint: " in done.stderr


def test_its_files_are_its_owners_alone(site: Site) -> None:
    """Nobody else may read, so nobody else may lock; nobody else may write."""
    site.write()
    assert site.verify().status == 0
    folder = known_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.suffix for path in folder.iterdir()} == {".place", ".trust"}


def test_with_a_public_key_alone(site: Site) -> None:
    """An auditor remembers as well: a log made anew is another one, an old copy is a roll-back."""
    writer = site.write()
    shutil.copytree(site.log, old := site.folder / "old")
    writer.begin("carry").block(entry(2)).close()
    verify = "verify", site.log, *site.public
    assert site.run(*verify).returncode == 0
    shutil.rmtree(site.log)
    shutil.copytree(old, site.log)
    assert site.run(*verify).returncode == 1
    shutil.rmtree(site.log)
    site.write(name="anew")
    assert site.run(*verify).returncode == 4


def test_many_verifiers_at_once(site: Site) -> None:
    """Processes that see a new log at the same time all succeed, and leave one memory of it."""
    site.write()
    words = [PROGRAM, "verify", str(site.log), *site.both]
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    assert len(list(known().places())) == 1


def test_a_log_that_a_stranger_signed_in_a_known_place(site: Site, tmp_path: Path) -> None:
    """Whose epochs and notes are by other keys: untrusted, whatever its id."""
    site.write()
    assert site.verify().status == 0
    shutil.rmtree(site.log)
    stranger = Site(tmp_path, Keys(tmp_path / "stranger", "keys of somebody else").write())
    stranger.log = site.log
    stranger.write()
    assert site.verify().status == 4
    assert stranger.verify().status == 4
