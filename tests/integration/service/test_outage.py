"""A real OpenBao that is stopped and started again under a running daemon."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.backends_under_test.openbao import OpenBao
from tests.integration.agents import PROGRAM, wait_until
from tests.integration.key_services import ORIGIN, Service, vault_service

OUTAGE_SECONDS = 30.0 if os.environ.get("EPOCHSEAL_FULL") == "1" else 5.0
_PATIENCE = 120.0


class Daemon:
    """`epochseal run` with one log on a key service, and one client that waits for each acknowledgement."""

    def __init__(self, folder: Path, service: Service, max_overdue: str) -> None:
        self.folder, self.service = folder, service
        self.log = folder / "log"
        self.sent = 0
        agent = service.agent
        (folder / "epochseal.toml").write_text(
            f'epoch_key = "{agent.epoch}"\ncheckpoint_key = "{agent.checkpoint}"\n'
            f'epoch_interval = "1s"\nmax_overdue = "{max_overdue}"\ncommit_interval = "1ms"\n'
            f'[[log]]\ndir = "log"\norigin = "{ORIGIN}"\n'
            '[[log.source]]\nkind = "unix-stream"\npath = "s"\nacks = true\n'
            f"[vault]\n{agent.table('vault')}"
            f'[metrics]\nlisten = "127.0.0.1:0"\n'
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, its client connected."""
        with (self.folder / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [PROGRAM, "run", "--config", "epochseal.toml"],
                cwd=self.folder,
                env=self.service.agent.env,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            self._client = socket.socket(socket.AF_UNIX)
            self._client.settimeout(_PATIENCE)
            path = os.path.relpath(self.folder / "s")
            wait_until(lambda: self._client.connect_ex(path) == 0)
            self._acks = self._client.makefile("r")
            yield
            self._acks.close()
            self._client.close()
            process.terminate()
            assert process.wait(_PATIENCE) == 0, self.events()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def send(self) -> float:
        """One entry, until it is acknowledged; the seconds that it took."""
        began = time.monotonic()
        self._client.sendall(b"%06d\n" % self.sent)
        assert self._acks.readline() == f"{self.sent} {self.sent}\n"
        self.sent += 1
        return time.monotonic() - began

    def send_nothing(self, seconds: float) -> bool:
        """Whether one more entry stays without an acknowledgement for so long; it is waited for later."""
        self._client.sendall(b"%06d\n" % self.sent)
        return self.nothing_comes(seconds)

    def nothing_comes(self, seconds: float) -> bool:
        """Whether no acknowledgement comes for so long."""
        self._client.settimeout(seconds)
        try:
            return not self._client.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self._client.settimeout(_PATIENCE)

    def await_late(self) -> None:
        """The acknowledgement of that entry."""
        assert self._acks.readline() == f"{self.sent} {self.sent}\n"
        self.sent += 1

    def events(self) -> list[dict[str, Any]]:
        """Its journal so far."""
        lines = (self.folder / "stderr").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of `/metrics` or `/healthz`."""
        (listening,) = self.told("metrics")
        try:
            with urllib.request.urlopen(f"http://{listening['listen']}{path}", timeout=_PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def metric(self, name: str, label: str = 'log="log"') -> float:
        """The value of a metric of this log, the one with this label if there are several."""
        (value,) = re.findall(
            rf"^epochseal_{name}{{.*{label}.*}} (\S+)$", self.get("/metrics")[1], re.MULTILINE
        )
        return float(value)

    def told(self, event: str) -> list[dict[str, Any]]:
        """The entries of one name."""
        return [item for item in self.events() if item["event"] == event]

    def verify(self) -> tuple[int, Any]:
        """The verifier's verdict."""
        verifier = self.service.verifier
        words = [PROGRAM, "verify", str(self.log), *verifier.keys, "--json"]
        done = subprocess.run(words, env=verifier.env, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)


def epochs(log: Path) -> int:
    """Epoch lines so far."""
    return sum(path.read_bytes().count(b"\nepoch ") + 1 for path in log.glob("segments/*.seal"))


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server that runs; each test leaves it running."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


def test_sealing_goes_on_without_the_server(bao: OpenBao, tmp_path: Path) -> None:
    """No entry is lost or waits: the epoch runs overdue, and turns once the server is back."""
    daemon = Daemon(tmp_path, vault_service(bao, "brief"), "1h")
    with daemon.running():
        wait_until(lambda: daemon.send() and epochs(daemon.log) >= 2)
        bao.stop()
        down = time.monotonic()
        # Each of these is acknowledged before the server is started: none waits for it.
        wait_until(lambda: daemon.send() and daemon.told("backend_down"))
        before, meanwhile = epochs(daemon.log), daemon.sent
        while time.monotonic() - down < OUTAGE_SECONDS or daemon.sent < meanwhile + 20:
            daemon.send()
            time.sleep(0.01)
        during = epochs(daemon.log)
        assert daemon.metric("epoch_overdue_seconds") > 0
        assert daemon.metric("backend_failures_total", 'kind="issue"') > 0
        assert daemon.get("/healthz")[0] == 200
        bao.start()
        wait_until(lambda: daemon.send() and epochs(daemon.log) > during)
        assert before == during
        wait_until(lambda: daemon.told("backend_back"))
        wait_until(lambda: daemon.metric("epoch_overdue_seconds") == 0)
    assert daemon.told("backend_down")
    assert not daemon.told("overdue")
    status, verdict = daemon.verify()
    assert (status, verdict["problems"], verdict["entries"]) == (0, [], daemon.sent)
    content = b"".join(path.read_bytes() for path in sorted(daemon.log.glob("segments/*.log")))
    assert content == b"".join(b"%06d\n" % number for number in range(daemon.sent))


def test_sealing_stops_beyond_max_overdue(bao: OpenBao, tmp_path: Path) -> None:
    """Beyond it nothing is acknowledged, the journal says why, and it goes on by itself."""
    daemon = Daemon(tmp_path, vault_service(bao, "long"), "3s")
    with daemon.running():
        wait_until(lambda: daemon.send() and epochs(daemon.log) >= 2)
        bao.stop()
        # A slow machine may have been overdue before, and a secret that is here already turns one more epoch.
        while not daemon.send_nothing(2.0):
            daemon.await_late()
        wait_until(lambda: daemon.told("overdue"))
        assert daemon.nothing_comes(1.0)
        status, health = daemon.get("/healthz")
        assert (status, json.loads(health)["logs"]) == (503, {"log": ["overdue"]})
        assert daemon.metric("healthy") == 0
        bao.start()
        daemon.await_late()
        for _ in range(20):
            daemon.send()
        wait_until(lambda: daemon.told("backend_back"))
        wait_until(lambda: daemon.get("/healthz")[0] == 200)
    # The first of the two may be told while a call still waits, without its outcome.
    reasons = [item["reason"] for name in ("backend_down", "overdue") for item in daemon.told(name)]
    assert any("cannot be reached" in reason for reason in reasons), reasons
    status, verdict = daemon.verify()
    assert (status, verdict["problems"], verdict["entries"]) == (0, [], daemon.sent)
