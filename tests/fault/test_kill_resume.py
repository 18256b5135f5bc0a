"""`kill -9` at random moments: with a runtime directory the chain goes on; without, a start is cold."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments
from tests import warm_program
from tests.fault.samples import FULL
from tests.warm_process import WarmProcess

RESUME_ROUNDS = 200 if FULL else 4
COLD_ROUNDS = 20 if FULL else 3


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory on a tmpfs."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="epochseal-test-"))  # the tmpfs of every Linux
    yield path
    shutil.rmtree(path)


def _entry(number: int) -> bytes:
    """Entries of very different sizes, so that a kill also comes in the middle of a write."""
    return b"%d %s\n" % (number, b"x" * (number * 7919 % 4000))


class _Fed:
    """One run of the agent, fed from the entry that it says is next, until it is killed or told to end."""

    def __init__(self, command: list[str], sealed: int | None = None) -> None:
        with Path(os.devnull).open("wb") as nothing:
            self.process = WarmProcess(command[1:], Path.cwd(), nothing.fileno(), piped=True)
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        # Behind a cold link an agent vouches for no entry at its start: the files say where it goes on.
        first = int(self._stdout.readline() or b"-1") if sealed is None else sealed
        self.acknowledged = self.start = first
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._feed), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        number = self.start
        try:
            while not self._stop.is_set():
                self._stdin.write(b"".join(_entry(n) for n in range(number, number + 20)))
                number += 20
                if number % 3 == 0:
                    self._stdin.flush()
            self._stdin.close()
        except (BrokenPipeError, ValueError):
            pass

    def _read(self) -> None:
        for line in self._stdout:
            self.acknowledged = int(line)

    def kill(self, after: float) -> int:
        """Kill the agent; the last number that it acknowledged."""
        time.sleep(after)
        self.process.send_signal(signal.SIGKILL)
        return self._finish()

    def wait(self) -> None:
        """Until it has acknowledged something, or is gone."""
        while self.acknowledged == self.start and self.process.poll() is None:
            time.sleep(0.01)

    def end(self) -> int:
        """Let the input end; the last number that the agent acknowledged."""
        return self._finish()

    def _finish(self) -> int:
        self._stop.set()
        self.process.wait(60)
        for thread in self._threads:
            thread.join(60)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        return self.acknowledged


def _command(folder: Path, *more: str) -> list[str]:
    keys = ["--epoch-key", f"file:{folder}/keys/agent", "--checkpoint-key", f"file:{folder}/keys/agent"]
    limits = ["--epoch-max-entries", "500", "--segment-bytes", "3MiB", "--commit-interval", "1ms", "--acks"]
    return ["epochseal", "seal", str(folder / "log"), "--origin", "example.com/kill", *keys, *limits, *more]


def _verify(folder: Path) -> tuple[int, dict[str, object]]:
    keys = ["--epoch-key", f"file:{folder}/keys/verifier", "--checkpoint-key", f"file:{folder}/keys/auditor"]
    done = warm_program.run(["verify", str(folder / "log"), "--json", *keys])
    return done.returncode, json.loads(done.stdout)


def _entries(folder: Path) -> int:
    """How many entries the seal files account for."""
    end = read_chain_end(list_segments(folder / "log").segments)
    return end.entries if end is not None else 0


def _sealed(folder: Path) -> list[bytes]:
    logs = sorted((folder / "log" / "segments").glob("*.log"))
    return b"".join(path.read_bytes() for path in logs).splitlines(keepends=True)


def test_kill_and_resume_leaves_no_gap_and_no_warning(tmp_path: Path, runtime: Path) -> None:
    """Every acknowledged entry is there exactly once, in order, and verify has nothing to say."""
    warm_program.run(["keygen", str(tmp_path / "keys")]).check_returncode()
    command = _command(tmp_path, "--runtime-dir", str(runtime))
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(RESUME_ROUNDS):
        run = _Fed(command)
        assert run.start >= acknowledged
        acknowledged = run.kill(chance.uniform(0.0, 0.6))
    acknowledged = _Fed(command).end()
    status, verdict = _verify(tmp_path)
    warnings = verdict["warnings"]
    assert isinstance(warnings, list)
    # The only one is that of the verifier's own memory, which has just begun.
    assert (status, verdict["problems"], [item["kind"] for item in warnings]) == (0, [], ["pinned"])
    entries = _sealed(tmp_path)
    assert len(entries) == verdict["entries"] == acknowledged
    assert entries == [_entry(number) for number in range(acknowledged)]
    assert not list((tmp_path / "log" / "segments").glob("*.unsealed"))


def test_kill_without_runtime_directory_is_cold_and_never_tampering(tmp_path: Path) -> None:
    """The next start says `cold`, verify says incomplete, and nothing acknowledged is lost."""
    warm_program.run(["keygen", str(tmp_path / "keys")]).check_returncode()
    chance = random.Random(8)
    acknowledged = 0
    for number in range(COLD_ROUNDS):
        run = _Fed(_command(tmp_path), _entries(tmp_path))
        assert run.start >= acknowledged
        if number % 3:
            run.wait()
        acknowledged = run.kill(chance.uniform(0.0, 0.6))
        status, verdict = _verify(tmp_path)
        # Killed before the first line of the first start there is no log yet.
        assert status in ({0, 3} if acknowledged else {0, 3, 5}), verdict["problems"]
    run = _Fed(_command(tmp_path), _entries(tmp_path))
    run.wait()
    acknowledged = run.end()
    status, verdict = _verify(tmp_path)
    assert status == 3
    problems = verdict["problems"]
    assert isinstance(problems, list)
    assert {problem["kind"] for problem in problems} <= {"cold_start", "unsealed_bytes", "torn_lines"}
    entries = _sealed(tmp_path)
    assert len(entries) == verdict["entries"] == acknowledged
    assert entries == [_entry(number) for number in range(acknowledged)]
