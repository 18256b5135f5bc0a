from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.sources.tailing import TailAgent

REQUESTS = 2000
_PATIENCE = 30.0


class Bao:
    """An OpenBao server that writes its trail twice: to `audit.log`, which is rotated, and to `copy.log`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.trail, self.copy = folder / "audit.log", folder / "copy.log"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        address = f"127.0.0.1:{self._port}"
        config = folder / "bao.hcl"
        devices = [
            f'audit "file" "{path.stem}" {{ options {{ file_path = "{path}" }} }}\n' for path in self._files
        ]
        config.write_text(
            f'storage "inmem" {{}}\nlistener "tcp" {{ address = "{address}"\n tls_disable = true }}\n'
            f'disable_mlock = true\napi_addr = "http://{address}"\n' + "".join(devices),
            encoding="utf-8",
        )
        program = str(Path(sys.executable).parent / "bao")
        with (folder / "bao.out").open("wb") as out:
            self.process = subprocess.Popen([program, "server", f"-config={config}"], stdout=out, stderr=out)
        self._token = ""
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        self._unseal()

    @property
    def _files(self) -> tuple[Path, Path]:
        return self.trail, self.copy

    def request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # whatever it answers
        """Ask the server."""
        data = json.dumps(body).encode() if body is not None else None
        self._connection.request(method, f"/v1/{path}", data, {"X-Vault-Token": self._token})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 204}, content
        return json.loads(content) if content else None

    def work(self, count: int) -> None:
        """Make requests that are audited."""
        for number in range(count):
            self.request("PUT", f"cubbyhole/item-{number % 7}", {"value": str(number)})

    def written(self) -> list[tuple[str, str]]:
        """What the server wrote to the file that nobody rotates."""
        return request_ids(self.copy.read_bytes())

    def _unseal(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                made = self.request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
                break
            except OSError:
                assert time.monotonic() < deadline
                self._connection.close()
                time.sleep(0.05)
        self.request("PUT", "sys/unseal", {"key": made["keys"][0]})
        self._token = made["root_token"]
        health = {"sealed": True}
        while health["sealed"] or health["standby"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            health = self.request("GET", "sys/health?sealedcode=200&standbycode=200")

    def stop(self) -> None:
        """End it."""
        self._connection.close()
        self.process.terminate()
        self.process.wait(_PATIENCE)


def request_ids(trail: bytes) -> list[tuple[str, str]]:
    """Kind and request of each audit entry, in order: the devices have salts of their own, so texts differ.

    Without the entry that a new device is tried with: each has its own.
    """
    entries = [(json.loads(line)["type"], json.loads(line)["request"]) for line in trail.splitlines()]
    return [(kind, request["id"]) for kind, request in entries if request["path"] != "sys/audit/test"]


def whole(sealed: bytes) -> bytes:
    """Without a last line that is being written at this moment."""
    return sealed[: sealed.rfind(b"\n") + 1]


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Bao]:
    """A running server."""
    made = Bao(tmp_path / "bao")
    yield made
    made.stop()


def rotate(bao: Bao, *directives: str) -> None:
    """Run logrotate once."""
    folder = bao.trail.parent
    config = folder / "logrotate.conf"
    lines = [f'"{bao.trail}" {{', "rotate 9", "missingok", *directives, "}"]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config.chmod(0o600)
    program = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None
    subprocess.run(
        [program, "--force", "--state", str(folder / "state"), str(config)], check=True, timeout=60
    )


def renaming(bao: Bao) -> list[str]:
    """The server writes on to the renamed file until it is told."""
    return ["nocreate", "postrotate", f"kill -{signal.SIGHUP.name[3:]} {bao.process.pid}", "endscript"]


def test_an_audited_server_through_rotations_and_kills(bao: Bao, tmp_path: Path) -> None:
    """2,000 requests, two renames, one copytruncate, two kills: sealed is what the server wrote, in order."""
    part = REQUESTS // 8
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        with TailAgent(place.log, place.keys.directory, runtime, [bao.trail]) as agent:
            bao.work(part)
            agent.wait_for(bool)
            rotate(bao, *renaming(bao))
            bao.work(part)
            agent.kill()
            bao.work(part)
            rotate(bao, "compress", "delaycompress", *renaming(bao))
            bao.work(part)
            before = len(agent.sealed())
            agent.start()
            bao.work(part)
            agent.wait_for(lambda sealed: len(sealed) > before)
            agent.kill()
            bao.work(part)
            agent.start()
            bao.work(part)
            agent.wait_for(lambda sealed: len(request_ids(whole(sealed))) == len(bao.written()))
            rotate(bao, "copytruncate")
            bao.work(part)
            agent.wait_for(lambda sealed: len(request_ids(whole(sealed))) == len(bao.written()))
            agent.stop()
        sealed = request_ids(agent.sealed())
        assert sealed == bao.written()
        assert len(sealed) >= 2 * REQUESTS
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), verdict.entries) == ("verified", [], len(sealed) + 1)
        assert set(warnings(verdict)) == {"source_gap"}
