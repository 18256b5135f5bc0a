"""The page in the runtime directory against what is on disk: every way in which the two can be apart.

Where they fit, the same chain goes on without a gap; where not, the next epoch line denies the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.dying import Steps, run_dying
from tests.fault.restarts import (
    FOUR,
    ONE,
    THREE,
    TWO,
    Copy,
    check_cold,
    check_convicted,
    check_gapless,
    crash,
    go_on,
    links,
)
from tests.fault.samples import FULL
from tests.integration.agents import Place, kinds, tmpfs, warnings

WORK, SLOT = 4096, 14336
"""Bytes of a page's work area and of each of its two slots."""
NO_STATE = ("--state-dir", "none")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty log, keys, and a runtime directory."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


def test_a_page_is_found_by_the_real_path_of_its_log(place: Place) -> None:
    """A log that is named by a link or a relative path has the same page."""
    crash(place, ONE, TWO)
    link = place.folder / "link"
    link.symlink_to(place.log)
    with place.agent(*place.resuming, log=link) as agent:
        agent.send(THREE)
        assert agent.end() == 0
        assert agent.said == ""
    name = hashlib.sha256(os.fsencode(place.log.resolve())).hexdigest()[:16]
    assert {path.stem for path in place.runtime.iterdir()} == {name}
    check_gapless(place, ONE, TWO, THREE)


# --- the two fit ----------------------------------------------------------------------------------------


def test_a_killed_agent_goes_on_in_the_same_epoch(place: Place) -> None:
    """After kill -9 the chain goes on with the key that the page kept."""
    crash(place, ONE, TWO)
    assert go_on(place, THREE) == ""
    assert links(place) == ["genesis"]
    check_gapless(place, ONE, TWO, THREE)


def test_a_stopped_agent_is_linked_by_its_carry_and_the_carry_is_used_up(place: Place) -> None:
    """SIGTERM closes the log; the next start takes the carry out of the page."""
    with place.agent(*place.resuming) as agent:
        agent.send(ONE)
        assert agent.stop() == 0
    assert place.verify().closed
    page = place.page.read_bytes()
    carries = [page[start + 44 : start + 76] for start in (WORK, WORK + SLOT) if any(page[start : start + 8])]
    with place.agent(*place.resuming) as agent:
        agent.send(TWO)
        assert len(carries) == 1
        assert carries[0] not in place.page.read_bytes()
        assert agent.end() == 0
    assert links(place) == ["genesis", "carry"]
    check_gapless(place, ONE, TWO)


@pytest.mark.parametrize("cut", [1, 10_000])
def test_a_torn_seal_line_is_written_again(place: Place, cut: int) -> None:
    """A kill left a part of the last line, or none of it: the page has the whole line."""
    crash(place, ONE, TWO)
    before = place.file("seal").read_bytes()
    line = before.rindex(b"\nblock ") + 1
    with place.file("seal").open("r+b") as file:
        file.truncate(max(len(before) - cut, line))
    go_on(place, THREE)
    assert place.file("seal").read_bytes().startswith(before)
    check_gapless(place, ONE, TWO, THREE)


@pytest.mark.parametrize("victim", ["append .log", "sync .log", "append .seal", "sync .seal"])
def test_an_interrupted_commit_is_completed(place: Place, victim: str) -> None:
    """Killed in the middle of a write of entries or lines: the next start seals all of the commit."""
    data = ONE + TWO + THREE
    words = place.sealing("seal", *place.resuming)[1:]
    # The lines before are those of the epoch line and its checkpoint.
    number = 2 if victim.endswith(".seal") else 0
    assert run_dying(words, Steps(number, half=True, only=victim), data) == -9
    assert place.entries() != data or victim != "append .log"
    said = go_on(place, FOUR)
    assert "set aside" not in said
    check_gapless(place, ONE, TWO, THREE, FOUR)
    assert (b'"recovered":1' in place.file("seal").read_bytes()) == victim.endswith(".log")


def test_a_torn_write_may_have_left_any_part_of_the_commit(place: Place) -> None:
    """Whatever part of the pending bytes the log file has, from none to all, the commit is completed."""
    data = ONE + TWO
    words = place.sealing("seal", *place.resuming, *NO_STATE)[1:]
    assert run_dying(words, Steps(0, only="sync .log"), data) == -9
    with tmpfs() as kept:
        runtime = shutil.copytree(place.runtime, kept / "runtime")
        log = shutil.copytree(place.log, kept / "log")
        for left in range(len(data) + 1) if FULL else (0, len(ONE), len(data) - 1):
            for source, target in ((runtime, place.runtime), (log, place.log)):
                shutil.rmtree(target)
                shutil.copytree(source, target)
            with place.file("log").open("r+b") as file:
                file.truncate(left)
            assert go_on(place, options=NO_STATE) == ""
            check_gapless(place, ONE, TWO)


# --- the page is behind ---------------------------------------------------------------------------------


SINCE = ["the same epoch", "an epoch later", "a segment later", "closed since"]


def put_back_an_older_page(place: Place, since: str, *options: str) -> None:
    """A copy of the runtime directory is put back when the log has gone on."""
    more = {"an epoch later": ["--epoch-max-entries", "1"], "a segment later": ["--segment-bytes", "20B"]}
    with place.agent(*place.resuming, *options, *more.get(since, [])) as agent:
        agent.send(ONE)
        copy = Copy("older", place.runtime)
        agent.send(TWO)
        agent.send(THREE)
        if since == "closed since":
            assert agent.end() == 0
        else:
            agent.kill()
    copy.put_back()
    copy.drop()


@pytest.mark.parametrize("since", SINCE)
def test_an_older_page_denies_what_it_does_not_know(place: Place, since: str) -> None:
    """Without a state nobody can tell an older page from lines that somebody added."""
    put_back_an_older_page(place, since, *NO_STATE)
    verdict = check_convicted(place, go_on(place, FOUR, options=NO_STATE))
    assert verdict.entries == 4
    assert place.entries() == ONE + TWO + THREE + FOUR


def test_an_older_page_of_a_closed_log_is_wiped(place: Place) -> None:
    """The state knows more: the page is an older copy, and the log goes on by the carry."""
    put_back_an_older_page(place, "closed since")
    assert "the log went on without it" in go_on(place, FOUR)
    assert links(place) == ["genesis", "carry"]
    check_gapless(place, ONE, TWO, THREE, FOUR)


def test_a_page_from_before_a_run_without_it_is_wiped(place: Place) -> None:
    """An agent that ran without the runtime directory in between makes the page an older copy."""
    crash(place, ONE, TWO)
    go_on(place, THREE, resuming=False)
    said = go_on(place, FOUR)
    assert "the runtime page was not used: the log went on without it" in said
    assert links(place) == ["genesis", "cold", "carry"]
    assert kinds(place.verify()) == ["cold_start"]


# --- the disk is behind ---------------------------------------------------------------------------------


def test_an_older_log_directory_is_not_continued_silently(place: Place) -> None:
    """The files were rolled back while the page is newer."""
    copy = crash(place, ONE, TWO, THREE, keep=place.log)
    assert copy is not None
    copy.put_back()
    check_convicted(place, go_on(place, FOUR))


def test_an_older_clean_close_is_not_a_routine_start(place: Place) -> None:
    """Rolled back to a clean close, the files look whole; the page knows better."""
    go_on(place, ONE)
    copy = Copy("older", place.log)
    go_on(place, TWO)
    copy.put_back()
    check_convicted(place, go_on(place, THREE))


def test_a_seal_file_that_lost_more_than_its_last_commit(place: Place) -> None:
    """Lines that were acknowledged are gone: denied, and the entries without lines are set aside."""
    with place.agent(*place.resuming) as agent:
        agent.send(ONE)
        agent.send(TWO)
        agent.send(THREE)
        agent.kill()
    content = place.file("seal").read_bytes()
    blocks = [number for number, line in enumerate(content.splitlines()) if line.startswith(b"block ")]
    place.file("seal").write_bytes(b"".join(content.splitlines(keepends=True)[: blocks[-2]]))
    check_convicted(place, go_on(place, FOUR), "unsealed_bytes")
    assert place.file("unsealed").read_bytes() == TWO + THREE


def test_a_log_file_that_lost_sealed_entries(place: Place) -> None:
    """Sealed entries are gone from the log file: verify names what is missing."""
    crash(place, ONE, TWO)
    with place.file("log").open("r+b") as file:
        file.truncate(len(ONE) + 3)
    said = go_on(place, THREE)
    assert "the log file has" in said
    check_convicted(place, said, "entries_altered")


# --- the page itself ------------------------------------------------------------------------------------


REGIONS = {"generation": 0, "length": 8, "checksum": 12, "key": 44, "record": 90}
if not FULL:
    REGIONS = {"key": 44, "record": 90}


def test_a_torn_page_is_no_page(place: Place) -> None:
    """Whatever region of the state is damaged, or all of it zero: nothing is guessed, the start is cold."""
    crash(place, ONE, TWO, options=NO_STATE)
    copy = Copy("killed", place.runtime, place.log)
    whole = place.page.read_bytes()
    (slot,) = (start for start in (WORK, WORK + SLOT) if struct.unpack_from("<Q", whole, start)[0])
    for region, offset in REGIONS.items():
        copy.put_back()
        content = bytearray(whole)
        content[slot + offset] ^= 0x01
        place.page.write_bytes(content)
        check_cold(place, go_on(place, THREE, options=NO_STATE))
        assert place.entries() == ONE + TWO + THREE, region
    copy.put_back()
    place.page.write_bytes(bytes(len(whole)))
    check_cold(place, go_on(place, THREE, options=NO_STATE))
    copy.drop()


def test_the_page_of_another_log_denies_this_one(place: Place, tmp_path: Path) -> None:
    """A page that belongs to another log: what it knows of is not there, however valid it is."""
    crash(place, ONE, TWO)
    (tmp_path / "other").mkdir()
    with tmpfs() as runtime:
        other = Place(tmp_path / "other", runtime)
        crash(other, THREE, FOUR)
        place.page.write_bytes(other.page.read_bytes())
    check_convicted(place, go_on(place, THREE))


def test_a_page_without_its_log_begins_one_that_denies(place: Place) -> None:
    """The log directory was moved away: another log begins, and says that one is missing."""
    crash(place, ONE, TWO)
    place.log.rename(place.folder / "moved")
    said = go_on(place, THREE)
    assert links(place) == ["genesis"]
    check_convicted(place, said)


def _spoil_size(page: Path) -> None:
    with page.open("ab") as file:
        file.write(b"more")


def _spoil_mode(page: Path) -> None:
    page.chmod(0o640)


def _spoil_link(page: Path) -> None:
    page.rename(page.with_suffix(".moved"))
    page.symlink_to(page.with_suffix(".moved"))


def _spoil_second_name(page: Path) -> None:
    page.with_suffix(".second").hardlink_to(page)


def _spoil_type(page: Path) -> None:
    page.unlink()
    page.mkdir()


SPOILERS = {
    "has 32772 bytes instead of 32768": _spoil_size,
    "has mode 0640 instead of 0600": _spoil_mode,
    "symbolic links": _spoil_link,
    "has 2 links instead of 1": _spoil_second_name,
    "Is a directory": _spoil_type,
}


def test_a_page_file_that_is_not_ours_alone_is_an_error(place: Place) -> None:
    """Somebody prepared the page's file: the agent names it and ends with 6, and the log is not touched."""
    crash(place, ONE, TWO)
    before, copy = place.file("seal").read_bytes(), Copy("killed", place.runtime)
    for message, spoil in SPOILERS.items():
        copy.put_back()
        spoil(place.page)
        done = place.run(*place.sealing("seal", *place.resuming)[1:])
        assert done.returncode == 6
        assert message in done.stderr.decode()
        assert str(place.runtime) in done.stderr.decode()
        assert place.file("seal").read_bytes() == before
    copy.put_back()
    copy.drop()
    assert go_on(place) == ""
    check_gapless(place, ONE, TWO)


def test_a_runtime_directory_on_a_disk_is_refused(place: Place, tmp_path: Path) -> None:
    """Keys would reach a disk: exit 2, and the message says which directory will do."""
    disk = Path(__file__).parent if tmp_path.is_relative_to("/dev/shm") else tmp_path  # noqa: S108  # no file is made
    done = place.run(*place.sealing("seal", "--runtime-dir", str(disk))[1:], data=ONE)
    assert done.returncode == 2
    assert "not on tmpfs or ramfs: keys would reach a disk" in done.stderr.decode()
    assert "hint: use a directory below /dev/shm" in done.stderr.decode()
    assert not place.log.exists()


def test_two_agents_on_one_directory(place: Place) -> None:
    """The second one ends with 6 and takes nothing from the first, its page included."""
    with place.agent(*place.resuming) as agent:
        agent.send(ONE)
        for options in (place.resuming, ()):
            done = place.run(*place.sealing("seal", *options)[1:], data=FOUR)
            assert done.returncode == 6
            assert f"another agent holds {place.log}" in done.stderr.decode()
        agent.send(TWO)
        agent.kill()
    go_on(place, THREE)
    check_gapless(place, ONE, TWO, THREE)


def reboot(place: Place) -> None:
    """What is on a tmpfs is gone."""
    for path in place.runtime.iterdir():
        path.unlink()


def test_a_reboot_after_a_clean_close_is_a_routine_start(place: Place) -> None:
    """The runtime directory is empty after a reboot: the state directory has the carry."""
    go_on(place, ONE)
    reboot(place)
    assert go_on(place, TWO) == ""
    assert links(place) == ["genesis", "carry"]
    check_gapless(place, ONE, TWO)


def test_a_reboot_without_a_state_directory_needs_a_person(place: Place) -> None:
    """Nothing is missing, but only a credential says who went on: the start is cold."""
    go_on(place, ONE, options=NO_STATE)
    reboot(place)
    said = go_on(place, TWO, options=NO_STATE)
    assert "what it handed on is gone" in said
    check_cold(place, said)


def test_a_reboot_after_a_kill_is_cold(place: Place) -> None:
    """Without its page a killed agent's log is gone on with, and the gap is named."""
    crash(place, ONE, TWO)
    reboot(place)
    verdict = check_cold(place, go_on(place, THREE))
    assert place.entries() == ONE + TWO + THREE
    (problem,) = verdict.problems
    assert (problem.first_entry, problem.last_entry) == (2, 2)


def test_the_last_segment_was_compressed_after_a_clean_close(place: Place) -> None:
    """The page's segment takes no more entries, but nothing is missing: it goes on in a new segment."""
    go_on(place, ONE)
    log = place.file("log")
    compressed = log.with_name(f"{log.name}.gz")
    compressed.write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert go_on(place, TWO) == ""
    assert links(place) == ["genesis", "carry"]
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
