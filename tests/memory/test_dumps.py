"""What a debugger's dump and a trace of system calls show of the agent's keys: nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.agents import tmpfs
from tests.memory.running import Backend, Watched

_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
_TRACER = ["strace", "-f", "-xx", "-s", "10000000", "-o"]


def dump(pid: int, folder: Path) -> bytes:
    """All that a debugger which is root writes of a process."""
    subprocess.run(["gcore", "-o", str(folder / "dump"), str(pid)], check=True, capture_output=True)
    path = folder / f"dump.{pid}"
    data = path.read_bytes()
    path.unlink()
    assert len(data) > 1 << 20
    return data


@pytest.mark.parametrize("kind", ["memfd_secret", "locked", "file"])
def test_a_debuggers_dump_holds_no_key(tmp_path: Path, file_backend: Backend, kind: str) -> None:
    """`gcore` as root: the pages are marked as not to be dumped, and nothing else holds a key."""
    change = None if kind == "memfd_secret" else "no memfd_secret"
    with tmpfs() as runtime:
        options = ("--runtime-dir", str(runtime)) if kind == "file" else ()
        with Watched(tmp_path, file_backend, *options, change=change) as watched:
            watched.commit(150)
            data = dump(watched.pid, tmp_path)
            assert b"log.example/memory" in data
            assert {name for _, name, _ in watched.index().find(data)} == set()
            # The live key is there while it runs: what the dump lacks is not simply gone.
            assert bool(watched.look_at_rest().live) == (kind != "memfd_secret")
            assert watched.agent.stop() == 0


def test_dumps_of_the_helpers(tmp_path: Path, vault_backend: Backend) -> None:
    """With hvac and a secret on its way: agent and zygote hold nothing, the courier what it fetched."""
    change = "no memfd_secret,recorded,lingering"
    with Watched(tmp_path, vault_backend, change=change, epoch=1000) as watched:
        courier = watched.linger()
        watched.commit(50)
        index = watched.index()
        found = {
            pid: {name for _, name, _ in index.find(dump(pid, tmp_path))}
            for pid in (watched.pid, watched.zygote, courier)
        }
        assert found[watched.pid] == found[watched.zygote] == set()
        # So a dump does show a key where there is one; by the design it lives for this call.
        assert found[courier] == {"issued secret 1"}


def handed_over(trace: Path) -> bytes:
    """All strings of a trace."""
    texts = _STRING.findall(trace.read_bytes())
    return b"\0".join(bytes.fromhex(text.replace(b"\\x", b"").decode()) for text in texts)


@pytest.mark.parametrize(
    ("name", "state"), [("file", "none"), *((name, "state") for name in ("file", "vault", "aws", "pkcs11"))]
)
def test_no_system_call_carries_a_key(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, state: str
) -> None:
    """Every byte that the agent and its helpers exchange with the kernel, by strace: no key in any form.

    But one, at the close: the carry, on its way into the file that hands it on.
    """
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    trace = tmp_path / "trace"
    with tmpfs() as runtime:
        options = ["--state-dir", state if state == "none" else str(tmp_path / state)]
        options += ["--runtime-dir", str(runtime)] if name == "file" else []
        # A tracer is not shown what is in memory of memfd_secret: where the page is in a file, that is the
        # mailbox alone, which there gets its secret from the kernel itself (getrandom).
        change = None if name == "file" else "no memfd_secret"
        watched = Watched(tmp_path, backend, *options, change=change)
        watched.words[:0] = [*_TRACER, str(trace)]
        with watched:
            watched.commit(200)
            assert watched.agent.end() == 0
    data = handed_over(trace)
    # What it writes is in the trace: the entries, and the lines that seal them.
    assert data.count(b"an entry as a service writes it\n") >= 200
    assert b'{"epoch":2,"origin":"log.example/memory"' in data
    found = {place: (key, form) for place, key, form in watched.index().find(data)}
    last = watched.keys()[-1].name
    assert last.startswith("carry out of epoch ")
    assert list(found.values()) == ([] if state == "none" else [(last, "raw")])


def test_a_key_in_a_system_call_is_seen(tmp_path: Path, file_backend: Backend) -> None:
    """With a log line that tells a key the same trace shows it, in the form in which it was written."""
    trace = tmp_path / "trace"
    watched = Watched(tmp_path, file_backend, change="a log line")
    watched.words[:0] = [*_TRACER, str(trace)]
    with watched:
        watched.commit(50)
        assert watched.agent.end() == 0
    assert {form for _, _, form in watched.index().find(handed_over(trace))} == {"hex"}
