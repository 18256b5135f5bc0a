"""The disk is not what the agent remembers: it goes on, but says so, and signs nothing of it as its own."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import select
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from epochseal.errors import ConfigError, StorageError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart import find_restart_point
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.sealer import Sealer
from epochseal.storage.segments import list_segments
from epochseal.verifier import Verdict
from tests.fault.story import ORIGIN, Host, Story, read_files

Memory = Literal["page", "state", "both"]
MONTHS = 90 * 24 * 3600 * 1000


@pytest.fixture(params=["page", "state", "both"])
def memory(request: pytest.FixtureRequest) -> Memory:
    """What the agent remembers the log by."""
    kind: Memory = request.param
    return kind


def story(host: Host, folder: Path, memory: Memory) -> Story:
    """A log that is remembered in one of the three ways."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True)
    return Story(
        host,
        folder / "log",
        None if memory == "state" else runtime,
        state_dir=None if memory == "page" else folder / "state",
    )


def fork(victim: Story, folder: Path) -> Story:
    """Whoever copied all that an agent had at this moment: files, page, state, and the use of its keys."""
    shutil.copytree(victim.logdir, folder / "log")
    thief = replace(victim, logdir=folder / "log", sealer=None, clock=copy.copy(victim.clock))
    thief.sent, thief.acknowledged = [*victim.sent], [*victim.acknowledged]
    if victim.runtime_dir is not None:
        thief.runtime_dir = folder / "runtime"
        thief.runtime_dir.mkdir()
        (page,) = victim.runtime_dir.glob("*.page")
        PageStore.in_directory(thief.runtime_dir, thief.logdir).close()
        (mine,) = thief.runtime_dir.glob("*.page")
        mine.write_bytes(page.read_bytes())
    if victim.state_dir is not None:
        thief.state_dir = folder / "state"
        shutil.copytree(victim.state_dir, thief.state_dir)
        (place,) = thief.state_dir.iterdir()
        place.rename(place.with_name(hashlib.sha256(os.fsencode(thief.logdir)).hexdigest()[:16]))
    return thief


def strip_notes(path: Path) -> None:
    """What whoever lacks the signing key can write."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"note ")))


def plant(thief: Story, victim: Story) -> None:
    """Put the thief's log in the place of the victim's, its later notes left out."""
    checkpoint = (victim.logdir / "checkpoint").read_bytes()
    theirs = {item.stem for item in list_segments(victim.logdir).segments}
    for item in list_segments(thief.logdir).segments:
        assert item.seal is not None
        if item.stem not in theirs:
            strip_notes(item.seal)
    shutil.rmtree(victim.logdir)
    shutil.copytree(thief.logdir, victim.logdir)
    (victim.logdir / "checkpoint").write_bytes(checkpoint)


def verdict_of(made: Story) -> tuple[Verdict, set[str]]:
    """What a verifier with all keys says."""
    verdict = made.host.verify(made.logdir, made.clock.now)
    return verdict, {problem.kind for problem in verdict.problems}


def convicted(made: Story) -> set[str]:
    """A start that denies the disk, an entry and a close; the kinds of problem that a verifier names."""
    point = made.start()
    assert (point.memory, point.link in {"cold", "genesis"}) == ("contradicts", True)
    assert point.denies is not None
    assert point.why
    made.commit(1)
    made.finish()
    verdict, kinds = verdict_of(made)
    assert verdict.verdict == "tampered"
    assert "tampered_at_start" in kinds
    return kinds


def running(made: Story) -> Story:
    """Entries in two epochs, the second one running; the agent is killed."""
    made.start()
    made.commit(2)
    made.running.request_next_epoch("interval")
    made.pump()
    made.commit(1)
    made.commit(1)
    made.kill()
    return made


def closed(made: Story) -> Story:
    """Entries, and a clean close."""
    made.start()
    made.commit(2)
    made.finish()
    return made


def last(made: Story, ending: str) -> Path:
    """A file of the last segment."""
    return max((made.logdir / "segments").glob(f"*.{ending}"))


# --- the disk was changed ---------------------------------------------------------------------------------


def edit_running_epoch(made: Story) -> None:
    """Write an entry of the running epoch anew, of the same length, and its line to fit."""
    log, seal = last(made, "log"), last(made, "seal")
    old = log.read_bytes()
    new = old.replace(b"entry 2\n", b"enemy 2\n")
    log.write_bytes(new)
    digests = [base64.b64encode(hashlib.sha256(entry).digest()) for entry in (b"entry 2\n", b"enemy 2\n")]
    raw = seal.read_bytes()
    assert digests[0] in raw
    seal.write_bytes(raw.replace(digests[0], digests[1]))


def test_a_same_length_edit_of_the_running_epoch(host: Host, directory: Path, memory: Memory) -> None:
    """Entries were rewritten while the agent was down, every length as it was: the page knows the root."""
    made = running(story(host, directory / "log", memory))
    edit_running_epoch(made)
    if memory == "state":
        # The state is from the beginning of the epoch: neither it nor the start knows of these lines.
        assert made.start().link == "cold"
        made.finish()
        assert "line_altered" in verdict_of(made)[1]
        return
    assert {"tampered_at_start", "line_altered"} <= convicted(made)


def test_an_older_copy(host: Host, directory: Path, memory: Memory) -> None:
    """The files were rolled back to an earlier close: whole, signed, and not what is remembered."""
    made = closed(story(host, directory / "log", memory))
    shutil.copytree(made.logdir, directory / "older")
    closed(made)
    shutil.rmtree(made.logdir)
    shutil.copytree(directory / "older", made.logdir)
    # Every key was there to seal the second half with: there is nothing else to say about what is left.
    assert convicted(made) == {"cold_start", "tampered_at_start"}


def test_the_log_is_gone(host: Host, directory: Path, memory: Memory) -> None:
    """Nothing is left, or nothing that can be read: another log begins, and says whose place it takes."""
    made = closed(story(host, directory / "log", memory))
    remains = last(made, "log").read_bytes()
    last(made, "seal").unlink()
    assert convicted(made) == {"tampered_at_start"}
    (put_away,) = made.logdir.glob("denied-*")
    assert next((put_away / "segments").glob("*.log")).read_bytes() == remains
    assert (put_away / "checkpoint").exists()


def test_the_directory_is_empty(host: Host, directory: Path, memory: Memory) -> None:
    """The same without remains."""
    made = closed(story(host, directory / "log", memory))
    shutil.rmtree(made.logdir)
    assert convicted(made) == {"tampered_at_start"}


def test_a_closed_log_was_changed(host: Host, directory: Path, memory: Memory) -> None:
    """Lines under a checkpoint were changed, so that they parse and follow."""
    made = closed(story(host, directory / "log", memory))
    seal = last(made, "seal")
    raw = seal.read_bytes()
    seal.write_bytes(raw.replace(b'"name":"stdin"', b'"name":"stdim"'))
    assert {"cold_start", "tampered_at_start", "line_altered"} <= convicted(made)


def test_a_conviction_outlives_restarts(host: Host, directory: Path, memory: Memory) -> None:
    """The agent is killed before the first entry, again and again: no start is a plain one."""
    made = running(story(host, directory / "log", memory))
    seal = last(made, "seal")
    seal.write_bytes(seal.read_bytes().replace(b'"name":"stdin"', b'"name":"stdim"'))
    if memory == "state":
        shutil.rmtree(made.logdir)
    store = in_store(made)
    state = LogState.open(made.state_dir, made.logdir, keep_carry=True)
    first = find_restart_point(made.logdir, ORIGIN, store, state, refuse_cold=False)
    store.close()
    state.close()
    # Whatever the disk looks like by then.
    seal.parent.mkdir(parents=True, exist_ok=True)
    point = begin(made)
    assert first.denies == point.denies
    assert point.denies is not None
    made.kill()
    # From its epoch line on, that line says it, however often the agent starts before somebody signs.
    begin(made, line=True)
    made.kill()
    begin(made, line=True)
    made.kill()
    made.start()
    made.commit(1)
    made.finish()
    assert "tampered_at_start" in verdict_of(made)[1]


def in_store(made: Story) -> PageStore:
    """The page of the next process."""
    if made.runtime_dir is None:
        return PageStore.in_memory()
    return PageStore.in_directory(made.runtime_dir, made.logdir)


def test_what_is_forgotten_convicts_nobody(host: Host, directory: Path) -> None:
    """A person restored a backup and said so before the start: it is cold, no more."""
    made = closed(story(host, directory / "log", "state"))
    shutil.copytree(made.logdir, directory / "older")
    closed(made)
    shutil.rmtree(made.logdir)
    shutil.copytree(directory / "older", made.logdir)
    state = LogState.open(made.state_dir, made.logdir, keep_carry=True)
    state.forget()
    state.close()
    point = made.start()
    assert (point.link, point.memory, point.closed) == ("cold", "missing", True)
    made.commit(1)
    made.finish()
    assert verdict_of(made)[1] == {"cold_start"}


def test_an_offline_command_refuses_and_touches_nothing(host: Host, directory: Path, memory: Memory) -> None:
    """A start that would not go on with the chain is refused where it was not asked for."""
    made = closed(story(host, directory / "log", memory))
    shutil.copytree(made.logdir, directory / "older")
    closed(made)
    shutil.rmtree(made.logdir)
    shutil.copytree(directory / "older", made.logdir)
    before = read_files(made.logdir)
    store = in_store(made)
    state = LogState.open(made.state_dir, made.logdir, keep_carry=True)
    with pytest.raises(ConfigError, match="would be cold"):
        find_restart_point(made.logdir, ORIGIN, store, state, refuse_cold=True)
    store.close()
    state.close()
    assert read_files(made.logdir) == before


@pytest.mark.parametrize("victim", ["log", "seal", "segments"])
@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_no_start_follows_a_link_or_waits_for_a_pipe(
    host: Host, directory: Path, memory: Memory, victim: str, kind: str
) -> None:
    """What stands in a file's place and is none ends the start, and nothing is changed."""
    made = running(story(host, directory / "log", memory))
    path = made.logdir / victim if victim == "segments" else last(made, victim)
    moved = path.rename(directory / "moved")
    if kind == "link":
        path.symlink_to(moved)
    else:
        os.mkfifo(path)
    with pytest.raises(StorageError):
        begin(made)
    assert path.is_symlink() or path.is_fifo()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_checkpoint_that_is_no_file(host: Host, directory: Path, make: Callable[[Path], None]) -> None:
    """The same of the file beside the segments, where no page speaks for the log."""
    made = running(story(host, directory / "log", "state"))
    (made.logdir / "checkpoint").unlink()
    make(made.logdir / "checkpoint")
    with pytest.raises(StorageError, match="no regular file"):
        begin(made)


# --- the four traces of issue 13 ----------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [False, True], ids=["cannot sign", "signs"])
def test_a_carry_epoch_appended_behind_an_honest_close(
    host: Host, directory: Path, memory: Memory, *, signs: bool
) -> None:
    """A dump, or a verifier's thief, has the carry and goes on behind the close, with right tags."""
    made = closed(story(host, directory / "log", memory))
    thief = fork(made, directory / "thief")
    assert thief.start().link == "carry"
    thief.commit(3)
    thief.finish()
    if signs:
        shutil.rmtree(made.logdir)
        shutil.copytree(thief.logdir, made.logdir)
    else:
        plant(thief, made)
        # Nothing is wrong with it but that nobody signed it.
        assert verdict_of(made)[1] == {"epoch_unsigned", "close_unsigned"}
    if memory != "state":
        kinds = convicted(made)
    else:
        point = made.start()
        assert (point.link, point.memory, point.denies) == ("cold", "agrees", None)
        made.commit(1)
        made.finish()
        kinds = verdict_of(made)[1]
    assert "cold_start" in kinds
    # The honest agent signed nothing of the thief's, however often it signed since.
    assert ("epoch_unsigned" in kinds) is not signs


def test_an_epoch_that_somebody_continues_for_months(host: Host, directory: Path, memory: Memory) -> None:
    """The agent was killed; whoever dumped its key seals on in the running epoch, months later."""
    made = story(host, directory / "log", "both")
    running(made)
    thief = fork(made, directory / "thief")
    assert thief.start().link == "running"
    thief.clock.elapsed += MONTHS
    thief.running.commit(*block(b"months later\n"))
    thief.kill()
    shutil.rmtree(made.logdir)
    shutil.copytree(thief.logdir, made.logdir)
    made.clock.elapsed += 2 * MONTHS
    made.runtime_dir = None if memory == "state" else made.runtime_dir
    made.state_dir = None if memory == "page" else made.state_dir
    verdict, kinds = verdict_of(made)
    assert (verdict.verdict, "epoch_overrun" in kinds) == ("incomplete", True)
    if memory == "state":
        assert made.start().link == "cold"
        made.commit(1)
        made.finish()
        verdict, kinds = verdict_of(made)
        assert (verdict.verdict, kinds) == ("incomplete", {"cold_start", "epoch_overrun"})
    else:
        assert {"tampered_at_start", "epoch_overrun"} <= convicted(made)


def test_a_link_that_leads_to_a_log_made_anew(host: Host, directory: Path) -> None:
    """The log directory is named by a link, which somebody lets lead to another log of the same origin."""
    made = story(host, directory / "log", "both")
    (directory / "real").mkdir()
    made.logdir.symlink_to(directory / "real")
    closed(made)
    (directory / "anew").mkdir()
    thief = Story(host, directory / "anew", None, clock=copy.copy(made.clock))
    closed(thief)
    made.logdir.unlink()
    made.logdir.symlink_to(directory / "anew")
    assert verdict_of(made)[0].verdict == "verified"
    assert convicted(made) == {"cold_start", "tampered_at_start"}


def block(entry: bytes) -> tuple[memoryview, list[Piece]]:
    """One entry, ready to commit."""
    return memoryview(entry), [Piece(len(entry), 1, SourceMark("stdin", 1))]


def begin(made: Story, *, line: bool = False) -> RestartPoint:
    """A new process that has asked for nothing yet or, with `line`, whose epoch line is unsigned."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Story, "pump", lambda _: None)
            patch.setattr(Sealer, "live", True)
            point = made.start()
        if line:
            made.running.tick()
            while not made.running.begun:
                courier = made.running.calls.fileno()
                assert courier is not None
                assert select.select([courier], [], [], 10)[0]
                made.running.take_answer()
    except BaseException:
        made.kill()
        raise
    return point
