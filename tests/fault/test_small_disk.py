"""A disk of one megabyte that is full, or slow: the agent waits, goes on, and what it sealed verifies."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import Agent, Place, kinds, tmpfs

PAGE = 4096
DISK = 1 << 20


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


def send_until_it_is_full(agent: Agent, disk: SmallDisk) -> list[bytes]:
    """Fill the disk after 20 entries are acknowledged, and write ten large ones: the agent waits for room."""
    sent = [entry(number) for number in range(20)] + [entry(number, 3 * PAGE) for number in range(20, 30)]
    agent.send(*sent[:20])
    disk.fill()
    agent.write(b"".join(sent[20:]))
    wait_for("No space left on device: waiting for room", agent)
    return sent


def acknowledges_nothing(agent: Agent, seconds: float) -> bool:
    """Whether no acknowledgement comes for so long."""
    assert agent.process.stdout is not None
    return not select.select([agent.process.stdout], [], [], seconds)[0]


def test_a_full_disk_stops_acknowledging_and_goes_on_by_itself(
    place: Place, disk: SmallDisk, resuming: tuple[str, ...]
) -> None:
    """No acknowledgement while there is no room; once there is, all of it is sealed, once, and verifies."""
    with place.agent(*resuming) as agent:
        sent = send_until_it_is_full(agent, disk)
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
    with place.agent(*resuming) as agent:
        sent = send_until_it_is_full(agent, disk)
        began = time.monotonic()
        agent.process.send_signal(number)
        status = agent.process.wait(30)
        assert time.monotonic() - began < 20
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
