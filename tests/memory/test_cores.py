"""What a crash leaves of the agent and its helpers: no core; and if there were one, no key of the log."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import wait_until
from tests.memory.running import Backend, Watched

PROCESSES = ("agent", "zygote", "courier")
_PATTERN = Path("/proc/sys/kernel/core_pattern")


@pytest.fixture(autouse=True)
def _cores_of_any_size() -> Iterator[None]:
    """The user allows core files: what prevents them is the agent's own doing."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    assert before[1], "core files are forbidden to this process: ulimit -Hc"
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def crash(watched: Watched, name: str, trace: Path) -> bool:
    """Kill one of the three by SIGSEGV; whether the kernel dumped it, as its tracer was told (wait(2))."""
    courier = watched.linger()
    pid = {"agent": watched.pid, "zygote": watched.zygote, "courier": courier}[name]
    os.kill(pid, signal.SIGSEGV)
    ending = re.compile(rf"^{pid} +\+\+\+ killed by SIGSEGV( \(core dumped\))? \+\+\+$", re.MULTILINE)
    wait_until(lambda: ending.search(trace.read_text(encoding="ascii")))
    found = ending.search(trace.read_text(encoding="ascii"))
    assert found is not None
    return found[1] is not None


@pytest.mark.parametrize("limit", ["", "no core limit,"])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_crash_leaves_no_core(tmp_path: Path, vault_backend: Backend, name: str, limit: str) -> None:
    """Agent, zygote, or a courier with a secret of OpenBao: the kernel dumps none of them.

    A kernel that hands cores to a program looks at no limit: it must suffice that they are not dumpable.
    """
    watched = make(tmp_path, vault_backend, f"{limit}recorded,lingering")
    with watched:
        assert not crash(watched, name, tmp_path / "trace")
    assert list(watched.cwd.iterdir()) == []


@pytest.mark.parametrize("name", PROCESSES)
def test_a_core_of_an_open_process(tmp_path: Path, vault_backend: Backend, name: str) -> None:
    """Were it not for the settings, there would be cores; the page and what it held is in none of them."""
    if not _PATTERN.read_text(encoding="utf-8").strip().startswith("core"):
        pytest.skip("this kernel hands core files to a program, or writes none, or into another folder")
    watched = make(tmp_path, vault_backend, "an open process,no memfd_secret,recorded,lingering")
    with watched:
        assert crash(watched, name, tmp_path / "trace")
        index = watched.index()
    (core,) = watched.cwd.iterdir()
    data = core.read_bytes()
    assert len(data) > 1 << 20
    found = {key for _, key, _ in index.find(data)}
    # A courier has what it fetched in its library's memory: for that, there must be no core.
    assert found == ({"issued secret 1"} if name == "courier" else set())


def make(folder: Path, backend: Backend, change: str) -> Watched:
    """An agent below a tracer that only sees how its processes end."""
    watched = Watched(folder, backend, change=change, epoch=1000)
    watched.words[:0] = ["strace", "-f", "-e", "trace=none", "-e", "signal=SEGV", "-o", str(folder / "trace")]
    return watched
