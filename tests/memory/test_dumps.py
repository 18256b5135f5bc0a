"""What a crash, a debugger's dump and a trace of system calls show of the agent's keys: nothing."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.agents import tmpfs
from tests.memory.log_keys import keys_of_log
from tests.memory.patterns import make_patterns
from tests.memory.running import Backend, Watched
from tests.memory.scanner import Index

_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')


def index_of(watched: Watched, backend: Backend) -> Index:
    """All keys of its log so far."""
    keys = keys_of_log(watched.logdir, backend.recoverer)
    return Index(make_patterns([(key.name, key.value) for key in keys]))


def test_a_debuggers_dump_holds_no_key(tmp_path: Path, file_backend: Backend) -> None:
    """`gcore` as root: the pages are marked as not to be dumped, and nothing else holds a key."""
    with tmpfs() as runtime, Watched(tmp_path, file_backend, "--runtime-dir", str(runtime)) as watched:
        watched.commit(150)
        dump = tmp_path / "dump"
        subprocess.run(
            ["gcore", "-o", str(dump), str(watched.agent.process.pid)], check=True, capture_output=True
        )
        (core,) = tmp_path.glob("dump.*")
        data = core.read_bytes()
        assert len(data) > 1 << 20
        assert b"log.example/memory" in data
        assert {name for _, name, _ in index_of(watched, file_backend).find(data)} == set()
        # The live key is there while it runs: what the dump lacks is not simply gone.
        assert watched.look().live
        assert watched.agent.stop() == 0


def test_a_crash_leaves_no_core(tmp_path: Path, file_backend: Backend) -> None:
    """SIGSEGV where the user allows cores of any size: the agent's own limit is 0."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        with Watched(tmp_path, file_backend) as watched:
            watched.commit(50)
            pid = watched.agent.process.pid
            limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
            assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
            # Not dumpable: its files in /proc belong to root, whoever runs it (prctl(2)).
            os.kill(pid, signal.SIGSEGV)
            status = watched.agent.process.wait(60)
        assert status == -signal.SIGSEGV
        waited = subprocess.run(
            ["sh", "-c", "kill -SEGV $$"], check=False, cwd=tmp_path, capture_output=True
        ).returncode
        assert waited == -signal.SIGSEGV
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_no_system_call_carries_a_key(tmp_path: Path, file_backend: Backend, kept: str) -> None:
    """Every byte that the agent and its helpers hand to the kernel, by strace: no key in any form."""
    trace = tmp_path / "trace"
    with tmpfs() as runtime:
        options = ("--runtime-dir", str(runtime)) if kept == "file" else ()
        watched = Watched(tmp_path, file_backend, *options)
        watched.words[:0] = [
            "strace",
            "-f",
            "-xx",
            "-s",
            "10000000",
            "-e",
            "trace=%desc,%network",
            "-o",
            str(trace),
        ]
        with watched:
            watched.commit(120)
            assert watched.agent.end() == 0
    index = index_of(watched, file_backend)
    raw = trace.read_bytes()
    handed = [bytes.fromhex(text.replace(b"\\x", b"").decode()) for text in _STRING.findall(raw)]
    data = b"\0".join(handed)
    # What it writes is in the trace: the entries, and the lines that seal them.
    assert data.count(b"an entry as a service writes it\n") >= 120
    assert b'{"epoch":2,"origin":"log.example/memory"' in data
    assert {name for _, name, _ in index.find(data)} == set()
