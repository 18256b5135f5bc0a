from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from epochseal.custody import memory


def run_python(code: str, *, limits: Callable[[], None] | None = None) -> str:
    """What the code prints, run by a new interpreter after `limits` was called there."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
        preexec_fn=limits,
    )
    return done.stdout.strip()


def test_a_lock_that_is_refused_names_the_limit() -> None:
    """A process that may lock nothing is told which limit to raise, and to what."""
    code = """
        import os, resource
        from epochseal.errors import StorageError
        from epochseal.custody.memory import SecretPage
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)  # CAP_IPC_LOCK ignores the limit
        try:
            SecretPage(1 << 20)
        except StorageError as exc:
            print(exc, "|", exc.hint)
    """
    shown = run_python(code)
    assert shown.startswith("cannot lock 1048576 bytes of memory: ")
    assert "RLIMIT_MEMLOCK is 4096 bytes" in shown
    assert "LimitMEMLOCK=" in shown


def test_a_hardened_process_cannot_dump_core() -> None:
    """Not dumpable, no core limit left to raise, and as much lockable memory as the hard limit allows."""

    def low_soft_limit() -> None:
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    code = """
        import ctypes, resource
        from epochseal.custody.memory import harden_process
        harden_process()
        soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        core = resource.getrlimit(resource.RLIMIT_CORE)
        print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), core, soft == hard)
    """
    assert run_python(code, limits=low_soft_limit) == "0 (0, 0) True"


def test_a_hardened_process_hides_its_memory_from_its_own_user() -> None:
    """Another process of the same user cannot open the memory of a hardened one, and could before."""
    code = """
        import ctypes, os
        from epochseal.custody.memory import harden_process
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as an ordinary process is
        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go[1])
            os.read(go[0], 1)
            harden_process()
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
        def look():
            try:
                open(f"/proc/{child}/mem", "rb").close()
                return "open"
            except PermissionError:
                return "closed"
        before = look()
        os.write(go[1], b"x")
        os.read(ready[0], 1)
        print(before, look())
    """
    assert run_python(code) == "open closed"


def test_a_child_dies_with_its_parent() -> None:
    """The kill -9 of a parent takes the child along, though nothing of either still runs code."""
    code = """
        import os, time
        from epochseal.custody.memory import die_with_parent
        parent = os.getpid()
        told = os.pipe()
        if os.fork() == 0:
            die_with_parent(parent)
            os.write(told[1], str(os.getpid()).encode())
            time.sleep(60)
        print(os.read(told[0], 20).decode(), flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 60
        while is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(child)


def test_a_child_whose_parent_is_already_gone_exits_at_once() -> None:
    """A parent that died between the fork and the call is noticed: nothing after the call runs."""
    child = os.fork()
    if child == 0:
        memory.die_with_parent(os.getppid() + 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
