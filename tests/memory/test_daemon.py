"""The daemon with two logs, two key services and all that runs beside: the same is true of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.integration.agents import tmpfs, wait_until
from tests.memory.log_keys import LogKey, Recovered, count_lines, keys_of_log
from tests.memory.protection import find_gaps
from tests.memory.running import ORIGIN, ROOT, Backend, changed, index_of, split
from tests.memory.scanner import Hit, children, scan, stopped

_PATIENCE = 180.0
_EPOCH = 40


class Daemon:
    """`epochseal run` with the logs `file` and `vault`, one client for each, and a runtime directory."""

    def __init__(self, folder: Path, runtime: Path, backends: Mapping[str, Backend]) -> None:
        self.folder, self.runtime = folder, runtime
        self.logs = {name: folder / name for name in backends}
        self._recovered = {name: Recovered(backend.recoverer) for name, backend in backends.items()}
        # OpenBao's policy is for one origin, and two logs of one daemon never share theirs.
        origins = {"vault": ORIGIN, "file": f"{ORIGIN}/file"}
        self.state = folder / "state"
        text = f'commit_interval = "0ms"\nepoch_max_entries = {_EPOCH}\nruntime_dir = "{runtime}"\n'
        text += f'state_dir = "{self.state}"\n'
        for name, backend in backends.items():
            text += (
                f'[[log]]\ndir = "{name}"\norigin = "{origins[name]}"\nepoch_key = "{backend.agent[1]}"\n'
                f'checkpoint_key = "{backend.agent[3]}"\n'
                f'[[log.source]]\nkind = "unix-stream"\npath = "{name}.s"\nacks = true\n'
            )
        text += '[metrics]\nlisten = "127.0.0.1:0"\n[vault]\n'
        for name, value in backends["vault"].environment.items():
            if name.startswith("EPOCHSEAL_VAULT_"):
                text += f'{name.removeprefix("EPOCHSEAL_VAULT_").lower()} = "{value}"\n'
        (folder / "epochseal.toml").write_text(text, encoding="utf-8")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, its clients connected; it is for the caller to end it."""
        words = [*changed("no memfd_secret"), "run", "--config", "epochseal.toml"]
        with (self.folder / "stderr").open("ab") as stderr:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        self.pid = process.pid
        self._clients = {name: socket.socket(socket.AF_UNIX) for name in self.logs}
        try:
            for name, client in self._clients.items():
                client.settimeout(_PATIENCE)
                wait_until(partial(_connects, client, os.path.relpath(self.folder / f"{name}.s")))
            yield
        finally:
            for client in self._clients.values():
                client.close()
            if process.poll() is None:
                process.kill()
            self.status = process.wait(_PATIENCE)

    def commit(self, count: int) -> None:
        """So many entries into each log, each in a commit of its own."""
        for _ in range(count):
            for client in self._clients.values():
                client.sendall(b"an entry as a service writes it\n")
            for client in self._clients.values():
                assert client.recv(64).endswith(b"\n")

    def keys(self) -> dict[str, list[LogKey]]:
        """All keys of each log."""
        return {name: keys_of_log(log, self._recovered[name]) for name, log in self.logs.items()}

    def look(self) -> tuple[list[Hit], dict[str, list[Hit]], list[str]]:
        """At rest: places of superseded keys, those of each log's live one, and gaps in the protection."""
        superseded: list[Hit] = []
        live: dict[str, list[Hit]] = {}
        with self._at_rest() as pids:
            for name, keys in self.keys().items():
                hits = scan(pids, index_of(keys)).hits
                gone, live[name] = split(hits, keys, count_lines(self.logs[name]))
                superseded += gone
            gaps = find_gaps(pids)
        return superseded, live, gaps

    @contextmanager
    def _at_rest(self) -> Iterator[list[int]]:
        """Held still in a moment without a courier: its processes."""
        while True:
            wait_until(lambda: not any(children(zygote) for zygote in children(self.pid)))
            with stopped(self.pid) as pids:
                # One may have been sent for between the two.
                if set(pids) == {self.pid, *children(self.pid)}:
                    yield pids
                    return

    def left(self, folder: Path) -> list[set[str]]:
        """Each log's keys that are in a file of the runtime directory, or of the state directory."""
        data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        return [{name for _, name, _ in index_of(keys).find(data)} for keys in self.keys().values()]

    def metrics(self) -> bytes:
        """What it tells anybody who asks."""
        text = (self.folder / "stderr").read_text(encoding="utf-8")
        address = text.rpartition('"listen":"')[2].partition('"')[0]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_PATIENCE) as answer:
            data: bytes = answer.read()
            return data


def _connects(client: socket.socket, path: str) -> bool:
    return client.connect_ex(path) == 0


@pytest.fixture
def daemon(tmp_path: Path, file_backend: Backend, vault_backend: Backend) -> Iterator[Daemon]:
    """Not yet started."""
    with tmpfs() as runtime:
        yield Daemon(tmp_path, runtime, {"file": file_backend, "vault": vault_backend})


def test_at_work(daemon: Daemon) -> None:
    """Epochs, a segment's end, a scrape: nothing superseded, and each log's key once, in its own page."""
    with daemon.running():
        daemon.commit(3 * _EPOCH)
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.commit(_EPOCH)
        told = daemon.metrics()
        superseded, live, gaps = daemon.look()
        assert superseded == []
        assert gaps == []
        places = [[(hit.pid, Path(hit.mapping).suffix) for hit in hits] for hits in live.values()]
        assert places == [[(daemon.pid, ".page")]] * 2
        assert len({hit.mapping for hits in live.values() for hit in hits}) == 2
        told += (daemon.folder / "stderr").read_bytes()
        for keys in daemon.keys().values():
            assert not list(index_of(keys).find(told))
        assert b"epochseal_epochs_total" in told


def test_what_outlives_it(daemon: Daemon) -> None:
    """Killed, it leaves the live key in each page, and closed cleanly what the next epoch begins with."""
    with daemon.running():
        daemon.commit(_EPOCH + 10)
        os.kill(daemon.pid, signal.SIGKILL)
    assert daemon.left(daemon.runtime) == [{keys[-1].name} for keys in daemon.keys().values()]
    assert daemon.left(daemon.state) == [set(), set()]
    with daemon.running():
        # The next process goes on from the page, and holds nothing else.
        daemon.commit(10)
        superseded, live, _ = daemon.look()
        assert superseded == []
        assert [len(hits) for hits in live.values()] == [1, 1]
        os.kill(daemon.pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{daemon.pid}/cmdline").read_bytes())
    assert daemon.status == 0
    last = [keys[-1].name for keys in daemon.keys().values()]
    assert all(name.startswith("carry out of epoch ") for name in last)
    assert daemon.left(daemon.runtime) == [{name} for name in last]
    assert daemon.left(daemon.state) == [{name} for name in last]
    with daemon.running():
        daemon.commit(1)
        assert daemon.left(daemon.state) == [set(), set()]
        superseded, live, _ = daemon.look()
        assert superseded == []
        assert [len(hits) for hits in live.values()] == [1, 1]
