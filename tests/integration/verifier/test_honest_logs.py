"""Honest logs of the real agent: none of them raises a false alarm, and a crash is told from an attack."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epochseal.verifier import Request, Verdict, verify
from tests.integration.logs import MODES, Log, LogKeys, Mode, entry, seal, seal_command
from tests.integration.verifier.attacks import edit

ODD_TEXTS = [
    b'epoch 0 {"epoch":0,"origin":"log.example/attacks"} AAAA',
    b'end 3 {"reason":"close","entries":3,"bytes":9} AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
    b"block 1 0 0 0 0 0 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= {} AAAA",
    b"note bG9nLmV4YW1wbGU=",
    b"an entry with ` integrity=` as another format marks its own",
    "— log.example/attacks AAAA".encode(),
    b"x" * 70_000,
    b"",
    b"\0\0\0",
    b"\xff\xfe not UTF-8 \xc3",
    b"carriage return\r",
    b'{"a":1,"a":2,"n":1.0000000000000000001}',
    b"\x1b[31mcolour\x1b[0m",
]


def now(log: Path, keys: LogKeys, mode: Mode, *, strict: bool = False) -> Verdict:
    """The verdict of this moment, with the verifier's own clock."""
    recoverer = keys.recoverer if mode == "keys" else None
    return verify(log, Request(make_recoverer=recoverer, checkpoint_key=keys.public, strict=strict))


@contextmanager
def running(log: Path, keys: LogKeys, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A sealing agent with an open standard input; killed at the end if it still runs."""
    with subprocess.Popen([*seal_command(log, keys), *options], stdin=subprocess.PIPE) as agent:
        try:
            yield agent
        finally:
            agent.kill()


def feed(agent: subprocess.Popen[bytes], data: bytes) -> None:
    """Write to the agent's standard input."""
    assert agent.stdin is not None
    agent.stdin.write(data)
    agent.stdin.flush()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sealed_entries(log: Path, keys: LogKeys, count: int) -> Callable[[], bool]:
    """Whether that many entries are sealed."""
    return lambda: log.exists() and now(log, keys, "keys").entries == count


@pytest.mark.parametrize("mode", MODES)
def test_odd_texts(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Whatever stands in an entry is data: seal lines, end markers, 70 KB, NUL, no UTF-8."""
    data = b"".join(text + b"\n" for text in ODD_TEXTS)
    seal(tmp_path / "log", keys, data, "--epoch-max-entries", "5", "--block-bytes", "64B")
    log = Log(tmp_path / "log", keys, 0)
    assert b"".join(path.read_bytes() for path in log.files("log")) == data
    verdict = now(log.path, keys, mode)
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", len(ODD_TEXTS), True)
    # The same text in the middle of the log, then the rest cut off: the marker ends nothing.
    edit(log.files("log")[0], lambda data: data[: data.index(b"block 1 0")])
    cut = now(log.path, keys, mode)
    assert cut.verdict == "tampered"
    assert {item.kind for item in cut.problems} <= {"entries_missing", "entries_altered"}
    assert cut.problems[0].first_entry == 2
    assert cut.problems[-1].last_entry == len(ODD_TEXTS) - 1


@pytest.mark.parametrize("mode", MODES)
def test_last_line_without_newline(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """An input that ends in the middle of a line is sealed whole."""
    seal(tmp_path / "log", keys, entry(0) + b"no newline")
    assert (now(tmp_path / "log", keys, mode).verdict, now(tmp_path / "log", keys, mode).entries) == (
        "verified",
        2,
    )


@pytest.mark.parametrize("mode", MODES)
def test_start_after_a_clean_close(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Close and start again: the agent has the carry, so there is not even a warning, strict or not."""
    seal(tmp_path / "log", keys, entry(0))
    seal(tmp_path / "log", keys, entry(1))
    for strict in (False, True):
        verdict = now(tmp_path / "log", keys, mode, strict=strict)
        assert verdict.verdict == "verified"
        assert [item.kind for item in verdict.warnings if item.kind != "public_only"] == []


@pytest.mark.parametrize("mode", MODES)
def test_start_without_the_carry_after_a_clean_close(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Close and start again with nothing remembered: incomplete at the place, until somebody accepts it."""
    seal(tmp_path / "log", keys, entry(0), "--state-dir", "none")
    seal(tmp_path / "log", keys, entry(1), "--state-dir", "none")
    for strict in (False, True):
        verdict = now(tmp_path / "log", keys, mode, strict=strict)
        assert [(item.kind, item.first_entry) for item in verdict.problems] == [("cold_start", 1)]
        assert verdict.exit_status == 3


@pytest.mark.parametrize("there", ["log", "seal", "both"])
@pytest.mark.parametrize("mode", MODES)
def test_kill_between_the_files_of_a_new_segment(
    keys: LogKeys, tmp_path: Path, mode: Mode, there: str
) -> None:
    """Empty files of a segment that was never begun are no trace of tampering, and the next start goes on."""
    seal(tmp_path / "log", keys, entry(0))
    folder = tmp_path / "log" / "segments"
    for ending in ("log", "seal"):
        if there in {ending, "both"}:
            left = folder / f"000002-20990101T000000Z.{ending}"
            left.touch()
            os.utime(left, (0, 0))  # long ago: no agent is about to begin it
    assert now(tmp_path / "log", keys, mode).verdict == "verified"
    seal(tmp_path / "log", keys, entry(1))
    verdict = now(tmp_path / "log", keys, mode)
    assert (verdict.verdict, verdict.entries, verdict.segments) == ("verified", 2, 2)


def test_kill_and_restart_is_a_cold_start_and_nothing_else(keys: LogKeys, tmp_path: Path) -> None:
    """A kill -9 and a new start, three times: exactly 3 with `cold_start` at each place, never 1."""
    path = tmp_path / "log"
    for run in range(3):
        with running(path, keys, "--epoch-max-entries", "4") as agent:
            feed(agent, b"".join(entry(3 * run + place) for place in range(3)))
            wait_for(sealed_entries(path, keys, 3 * (run + 1)))
            agent.send_signal(signal.SIGKILL)
    seal(path, keys, entry(9))
    for mode in MODES:
        verdict = now(path, keys, mode)
        assert verdict.exit_status == 3
        # Of an epoch that never ended nothing but its first line was signed: a public key shows no more.
        unvouched = [("unvouched", at) for at in (0, 3, 6)] if mode == "public" else []
        assert {(item.kind, item.first_entry) for item in verdict.problems} == {
            *unvouched,
            *(("cold_start", at) for at in (3, 6, 9)),
        }
        assert verdict.entries == 10


@pytest.mark.parametrize("mode", MODES)
def test_bytes_appended_before_a_restart_are_never_sealed(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Foreign lines behind an open log: set aside by the next start and named, no entries of the log."""
    path = tmp_path / "log"
    with running(path, keys) as agent:
        feed(agent, entry(0))
        wait_for(sealed_entries(path, keys, 1))
        agent.send_signal(signal.SIGKILL)
    log = Log(path, keys, 0)
    edit(log.files("log")[0], lambda data: data + b"a foreign line\n")
    seal(path, keys, entry(1))
    verdict = now(path, keys, mode)
    assert verdict.exit_status == 3
    assert {(item.kind, item.first_entry) for item in verdict.problems} == {
        ("cold_start", 1),
        ("unsealed_bytes", 1),
        *([("unvouched", 0)] if mode == "public" else []),
    }
    assert b"".join(item.read_bytes() for item in log.files("log")) == entry(0) + entry(1)
    assert log.files("unsealed")[0].read_bytes() == b"a foreign line\n"


@pytest.mark.parametrize("mode", MODES)
def test_bytes_appended_after_a_close_and_before_a_restart(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """Foreign lines behind a closed log are tampering, before the next start and after it."""
    path = tmp_path / "log"
    seal(path, keys, entry(0))
    log = Log(path, keys, 0)
    edit(log.files("log")[0], lambda data: data + b"a foreign line\n")
    assert [(item.kind, item.first_entry) for item in now(path, keys, mode).problems] == [
        ("foreign_bytes", 1)
    ]
    seal(path, keys, entry(1))
    verdict = now(path, keys, mode)
    assert verdict.exit_status == 1
    # The disk is not what the agent left, so what it handed on at the close is not gone on with.
    assert {(item.kind, item.first_entry) for item in verdict.problems} == {
        ("bad_unsealed", 1),
        ("cold_start", 1),
    }
    assert verdict.entries == 2


def test_live_log_never_raises_an_alarm(keys: LogKeys, tmp_path: Path) -> None:
    """200 verifications of a log that is being written, with epochs and segments turning: always verified.

    More of them where the agent is slow to turn: until they saw more than ten states of the log.
    """
    path = tmp_path / "log"
    with running(
        path, keys, "--epoch-max-entries", "40", "--segment-bytes", "4KiB", "--commit-interval", "1ms"
    ) as agent:
        feed(agent, entry(0))
        wait_for(sealed_entries(path, keys, 1))
        counts = itertools.count(1)
        seen: list[int] = []
        deadline = time.monotonic() + 180
        while len(seen) < 200 or (len(set(seen)) <= 10 and time.monotonic() < deadline):
            if len(seen) < 200:
                feed(agent, b"".join(entry(next(counts)) for _ in range(7)))
            verdict = now(path, keys, MODES[len(seen) % 2])
            assert (verdict.verdict, verdict.closed) == ("verified", False), verdict.problems
            seen.append(verdict.entries)
        assert agent.stdin is not None
        agent.stdin.close()
        assert agent.wait(30) == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    verdict = now(path, keys, "keys")
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 1401, True)
    assert verdict.segments > 3


def test_command_says_the_same(keys: LogKeys, tmp_path: Path) -> None:
    """`epochseal verify` prints the verdict and exits with its status, of several logs the gravest."""
    path, other = tmp_path / "log", tmp_path / "other"
    seal(path, keys, b"".join(map(entry, range(3))))
    seal(other, keys, b"".join(map(entry, range(3))))
    edit(Log(other, keys, 0).files("log")[0], lambda data: data.replace(b"0001", b"0007"))
    status, (good,) = _command(keys, path)
    assert (status, good["verdict"], good["entries"]) == (0, "verified", 3)
    status, (bad,) = _command(keys, other)
    assert (status, bad["verdict"]) == (1, "tampered")
    problem = bad["problems"][0]
    assert (problem["first_entry"], problem["last_entry"], problem["first_line"], problem["last_line"]) == (
        0,
        2,
        1,
        3,
    )
    assert _command(keys, tmp_path / "empty")[0] == 5
    assert _command(keys, tmp_path / "empty", path, other)[0] == 1


def _command(keys: LogKeys, *logs: Path) -> tuple[int, list[dict[str, Any]]]:
    program = Path(sys.executable).parent / "epochseal"
    roles = (
        "--epoch-key",
        f"file:{keys.directory / 'verifier'}",
        "--checkpoint-key",
        f"file:{keys.directory / 'auditor'}",
    )
    done = subprocess.run(
        [program, "verify", *logs, *roles, "--json"], capture_output=True, check=False, timeout=60
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]
