"""A disk that is full, slow, or whose clock jumps: the agent waits, goes on, and what it sealed verifies."""

from __future__ import annotations

import errno
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.sealer import Sealer
from tests.fault.story import Clock, Host, Story, check, go_on, read_log
from tests.integration.agents import Agent, Place, kinds, tmpfs

PAGE = 4096
DISK = 1 << 20


# --- every step that needs room, by hand ------------------------------------------------------------------


class NoRoom:
    """Counts the system calls that take room, once a sealer started; one of them finds none for some tries.

    Args:
        victim: the number of the call, from 0; -1 for none.
        tries: how often it fails before there is room again; a write does half of its work each time.
    """

    def __init__(self, victim: int = -1, tries: int = 3) -> None:
        self._victim, self._tries = victim, tries
        self._armed = False
        self.calls: list[str] = []
        self.pauses = 0
        self.gives_up = False

    @contextmanager
    def active(self) -> Iterator[NoRoom]:
        """Put them between the sealer and the system."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("write", "pwrite", "open", "mkdir", "rename"):
                patch.setattr(os, name, self._wrap(name, getattr(os, name)))
            patch.setattr(Sealer, "start", self._arming(Sealer.start))
            patch.setattr("epochseal.sealing.full_disk._stop", self._pause)
            yield self

    def _arming(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def start(*args: Any) -> Any:  # noqa: ANN401  # what a start takes and gives, handed through
            point = real(*args)
            self._armed = True
            return point

        return start

    def _pause(self, _seconds: float) -> bool:
        self.pauses += 1
        return not self.gives_up

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # stands for five functions
            if not self._armed or (name == "open" and not args[1] & os.O_CREAT):
                return real(*args, **options)
            if len(self.calls) != self._victim:
                self.calls.append(name)
                return real(*args, **options)
            if self._tries == 0:
                self.calls.append(name)
                return real(*args, **options)
            self._tries -= 1
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return call


def calls_of(story: Story) -> list[str]:
    """The calls that need room in a story that finds all it needs."""
    with NoRoom().active() as counted:
        story.tell()
    return counted.calls


def test_each_call_that_finds_no_room_is_waited_out(
    host: Host, directory: Path, runtime_dir: Path | None
) -> None:
    """Whatever the full disk interrupts, it goes on by itself: nothing lost, nothing twice, no new start."""
    calls = calls_of(Story(host, directory / "counted", runtime_dir, state_dir=directory / "state"))
    assert set(calls) == {"write", "open", "mkdir", "rename", "pwrite"}
    for victim in range(len(calls)):
        story = Story(host, directory / str(victim), runtime_dir, state_dir=directory / f"{victim}-state")
        with NoRoom(victim).active() as faults:
            story.tell()
        # What is tidied up after one of them may be another of the three calls that find no room.
        assert faults.pauses in {2, 3}
        assert story.running.counters.errors["disk_full"] == 1
        assert story.running.full_disk.cause is None
        assert story.acknowledged == story.sent
        assert read_log(story.logdir).content == b"".join(story.sent)
        check(story, gapless=True)


def test_a_stop_while_there_is_no_room_is_as_a_crash(
    host: Host, directory: Path, runtime_dir: Path | None
) -> None:
    """Given up at any of these calls, the log is left as it is; the next start goes on from there."""
    calls = calls_of(Story(host, directory / "counted", runtime_dir, state_dir=directory / "state"))
    for victim in range(len(calls)):
        story = Story(host, directory / str(victim), runtime_dir, state_dir=directory / f"{victim}-state")
        with NoRoom(victim).active() as faults:
            faults.gives_up = True
            with pytest.raises(StorageError, match="stopped while the disk was full"):
                story.tell()
        assert not story.running.live
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)


def test_a_sync_that_finds_no_room_is_final(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """What the kernel may have dropped is not synced again: a new start reads what is on the disk."""
    story = Story(host, directory / "log", runtime_dir)
    with NoRoom().active() as faults:
        story.start()
        story.commit(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fdatasync", _no_space)
            with pytest.raises(StorageError, match="No space left on device"):
                story.commit(1)
        assert faults.pauses == 0
        with pytest.raises(StorageError):
            story.commit(1)
    story.kill()
    go_on(story)
    check(story, gapless=runtime_dir is not None)


def _no_space(_fd: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_bytes_are_set_aside_once_however_often_there_is_no_room(
    host: Host, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that has no room for a second megabyte takes the first one back: no try adds to the file."""
    story = Story(host, directory / "log", None)
    story.start()
    story.commit(1)
    story.kill()
    (log,) = story.logdir.glob("segments/*.log")
    foreign = random.Random(3).randbytes(3 << 19)
    with log.open("ab") as target:
        target.write(foreign)
    with monkeypatch.context() as patch:
        real, written = os.write, 0

        def write(fd: int, data: bytes) -> int:
            nonlocal written
            if written >= 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            count = real(fd, data)
            written += count
            return count

        patch.setattr(os, "write", write)
        for _ in range(3):
            written = 0
            with pytest.raises(StorageError, match="No space left on device"):
                story.start()
            story.kill()
            assert log.with_suffix(".unsealed").stat().st_size == 0
    assert story.start().set_aside == len(foreign)
    story.finish()
    assert log.with_suffix(".unsealed").read_bytes() == foreign
    check(story, gapless=False)


def test_a_clock_that_goes_back_an_hour(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Entries, epochs, segments and a restart after the jump: all there, and no more than a warning."""
    clock = Clock()
    clock.ahead = 3_600_000
    story = Story(host, directory / "log", runtime_dir, state_dir=directory / "state", clock=clock)
    story.start()
    story.commit(2)
    clock.ahead = 0
    story.commit(1)
    clock.elapsed += 10_000
    story.running.tick()
    story.commit(1)
    story.running.request_next_epoch("interval")
    story.pump()
    story.commit(1)
    story.running.request_next_epoch("segment")
    story.pump()
    story.commit(1)
    story.finish()
    story.start()
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).content == b"".join(story.sent)
    verdict = host.verify(story.logdir, clock.now)
    assert (verdict.verdict, verdict.problems) == ("verified", [])
    assert {warning.kind for warning in verdict.warnings} == {"clock_back"}


# --- a real disk of one megabyte --------------------------------------------------------------------------


class SmallDisk:
    """A file system that a test fills and empties."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self) -> None:
        """Leave not one free page."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while ballast.write(bytes(PAGE)):
                    pass
            except OSError as exc:
                assert exc.errno == errno.ENOSPC  # noqa: PT017  # the loop ends by it
        assert os.statvfs(self.root).f_bavail == 0

    def free(self, size: int | None = None) -> None:
        """Give so many bytes back, or all."""
        kept = 0 if size is None else max(self._ballast.stat().st_size - size, 0)
        os.truncate(self._ballast, kept)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """One megabyte of tmpfs, mounted for the test."""
    root = tmp_path / "disk"
    root.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "epochseal-test", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(
            f"a full disk is tried on a tmpfs of its own, and mounting one was refused: {done.stderr}"
        )
    yield SmallDisk(root)
    subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.fixture
def place(tmp_path: Path, disk: SmallDisk) -> Iterator[Place]:
    """A log on the small disk; keys and runtime directory elsewhere."""
    with tmpfs() as runtime:
        made = Place(tmp_path, runtime)
        made.log = disk.root / "log"
        yield made


@pytest.fixture(params=["in memory", "on tmpfs"])
def resuming(request: pytest.FixtureRequest, place: Place) -> tuple[str, ...]:
    """The options of an agent without and with a page that outlives it."""
    return () if request.param == "in memory" else place.resuming


def entry(number: int, size: int = 100) -> bytes:
    """One line, unlike any other."""
    return (b"entry %06d " % number).ljust(size - 1, b".") + b"\n"


def wait_for(text: str, agent: Agent, times: int = 1) -> None:
    """Wait until the agent has said this so often."""
    deadline = time.monotonic() + 30
    while agent.said.count(text) < times:
        assert time.monotonic() < deadline, f"the agent said only: {agent.said}"
        time.sleep(0.02)


def acknowledges_nothing(agent: Agent, seconds: float) -> bool:
    """Whether no acknowledgement comes for so long."""
    assert agent.process.stdout is not None
    return not select.select([agent.process.stdout], [], [], seconds)[0]


def test_a_full_disk_stops_acknowledging_and_goes_on_by_itself(
    place: Place, disk: SmallDisk, resuming: tuple[str, ...]
) -> None:
    """No acknowledgement while there is no room; once there is, all of it is sealed, once, and verifies."""
    sent = [entry(number) for number in range(20)] + [entry(number, 3 * PAGE) for number in range(20, 30)]
    with place.agent(*resuming) as agent:
        agent.send(*sent[:20])
        disk.fill()
        agent.write(b"".join(sent[20:]))
        wait_for("No space left on device: waiting for room", agent)
        assert acknowledges_nothing(agent, 1.0)
        disk.free()
        take_until(agent, len(sent))
        assert agent.said.count("there is room again") == 1
        assert agent.stop() == 0
    assert place.entries() == b"".join(sent)
    verdict = place.verify()
    assert (verdict.verdict, verdict.entries, kinds(verdict)) == ("verified", len(sent), [])


def take_until(agent: Agent, entries: int) -> None:
    """Wait until so many entries are acknowledged."""
    while agent.acknowledged < entries:
        agent.acknowledged = agent._next()  # noqa: SLF001  # `send` without anything to send


def test_a_disk_that_is_full_again_and_again(
    place: Place, disk: SmallDisk, resuming: tuple[str, ...]
) -> None:
    """A few pages of room at a time, through epochs, segments and checkpoints: it never loses its way."""
    rand = random.Random(7)
    sent = [entry(number, rand.choice([60, 300, 2000, 9000])) for number in range(120)]
    options = ("--epoch-max-entries", "9", "--segment-bytes", "40KiB", *resuming)
    with place.agent(*options) as agent:
        disk.fill()
        writer = threading.Thread(target=agent.write, args=(b"".join(sent),))
        writer.start()
        deadline = time.monotonic() + 60
        stalls = 0
        while agent.acknowledged < len(sent):
            assert time.monotonic() < deadline, agent.said
            if acknowledges_nothing(agent, 0.25):
                stalls += 1
                disk.free(rand.randrange(1, 12) * PAGE)
            else:
                agent.acknowledged = agent._next()  # noqa: SLF001  # it is readable: this does not wait
        writer.join()
        assert stalls > 10
        disk.free()
        assert agent.stop() == 0
    assert place.entries() == b"".join(sent)
    verdict = place.verify()
    assert (verdict.verdict, verdict.entries, kinds(verdict)) == ("verified", len(sent), [])
    assert verdict.segments > 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_an_agent_that_ends_while_the_disk_is_full(
    place: Place, disk: SmallDisk, resuming: tuple[str, ...], number: signal.Signals
) -> None:
    """It ends at once; the next start has every acknowledged entry, none twice, and no alarm of tampering."""
    sent = [entry(number) for number in range(20)] + [entry(number, 3 * PAGE) for number in range(20, 30)]
    with place.agent(*resuming) as agent:
        agent.send(*sent[:20])
        disk.fill()
        agent.write(b"".join(sent[20:]))
        wait_for("waiting for room", agent)
        began = time.monotonic()
        agent.process.send_signal(number)
        status = agent.process.wait(30)
        assert time.monotonic() - began < 5
        assert status == (6 if number == signal.SIGTERM else -signal.SIGKILL)
        if number == signal.SIGTERM:
            assert "epochseal: error: stopped while the disk was full" in agent.said
            assert "epochseal: hint: nothing that was acknowledged is lost" in agent.said
    disk.free()
    with place.agent(*resuming) as agent:
        agent.send(entry(99))
        assert agent.stop() == 0
    found = place.entries().splitlines(keepends=True)
    assert found[:20] == sent[:20]
    assert found[-1] == entry(99)
    # What was under way was never acknowledged: with a page it is completed, without it is set aside.
    assert found[20:-1] == sent[20 : len(found) - 1]
    verdict = place.verify()
    if resuming:
        assert (verdict.verdict, kinds(verdict)) == ("verified", [])
        assert len(found) == 31
    else:
        assert verdict.verdict == "incomplete"
        assert set(kinds(verdict)) <= {"cold_start", "unsealed_bytes"}


def test_a_start_on_a_full_disk_says_so(place: Place, disk: SmallDisk) -> None:
    """A log that cannot begin yet waits for room instead of ending, and accepts nothing before."""
    place.log.mkdir()
    disk.fill()
    words = place.sealing("seal", "--acks")
    with (place.folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
    try:
        deadline = time.monotonic() + 30
        while b"waiting for room" not in (place.folder / "stderr").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        disk.free()
        out, _ = process.communicate(entry(0), timeout=30)
        assert process.returncode == 0
        assert out.split() == [b"0", b"1"]
    finally:
        process.kill()
        process.wait()
    assert place.verify().verdict == "verified"


_SLOW = """
import os, time
real = os.fdatasync
def slow(fd):
    time.sleep(0.05)
    real(fd)
os.fdatasync = slow
from epochseal.cli.program import main
main()
"""


def test_a_slow_disk_holds_the_writer_back(tmp_path: Path) -> None:
    """A disk that needs 50 ms for a sync: the writer waits, memory does not grow, and all of it is sealed."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        words = [sys.executable, "-c", _SLOW, *place.sealing("seal")[1:]]
        process = subprocess.Popen(words, stdin=subprocess.PIPE)
        assert process.stdin is not None
        lines = [entry(number, 1000) for number in range(32_000)]
        largest, written_before_end = 0, 0.0
        began = time.monotonic()
        for start in range(0, len(lines), 1000):
            process.stdin.write(b"".join(lines[start : start + 1000]))
            largest = max(largest, resident(process.pid))
        written_before_end = time.monotonic() - began
        process.stdin.close()
        assert process.wait(60) == 0
        # 32 MB through a buffer of 2: the writer was held back by the syncs of at least half of them.
        assert written_before_end > 0.8
        assert largest < 80 << 20
        assert place.entries() == b"".join(lines)
        assert place.verify().verdict == "verified"


def resident(pid: int) -> int:
    """Memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
