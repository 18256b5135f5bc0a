"""The archiver under kills, refusals, lost answers, hanging requests and an outage of a whole minute.

    python -m tests.fault.archive_trial 200 60

A log of so many segments is put into moto's S3 through a relay that does all of that. In the end every object
must be there, once, byte for byte; at no time may a segment have a receipt whose files are not there.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import msgspec

from epochseal.upkeep.archive_receipts import Receipts
from tests.backends_under_test.s3 import BUCKET, S3Server, running_s3
from tests.integration.logs import ORIGIN, LogKeys, LogWriter, entry

PREFIX = "trial"
_HANG_SECONDS = 5.0


class Relay:
    """Passes requests on to the store, and does to some of them what stores do on bad days.

    `down`: no request is answered; `trouble`: the share of requests that are refused, lost or left hanging.
    """

    def __init__(self, target: str, seed: int) -> None:
        self.target = urlsplit(target)
        self.down, self.trouble = threading.Event(), 0.0
        self.done = dict.fromkeys(("passed", "503", "lost", "hung", "down"), 0)
        self._chance = random.Random(seed)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Relayed, self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def fate(self) -> str:
        """What becomes of the next request."""
        fate = "passed"
        if self.down.is_set():
            fate = "down"
        elif self._chance.random() < self.trouble:
            fate = self._chance.choice(["503", "lost", "hung"])
        self.done[fate] += 1
        return fate

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class _Relayed(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, relay: Relay, *given: Any) -> None:  # noqa: ANN401  # the server's own
        self._relay = relay
        super().__init__(*given)

    def do_PUT(self) -> None:  # http.server's name
        """An object, or a part of one."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fate = self._relay.fate()
        if fate == "503":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        if fate in {"hung", "down"}:
            time.sleep(_HANG_SECONDS if fate == "hung" else 0)
            self.close_connection = True
            return
        target = self._relay.target
        upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fate == "lost":
            self.close_connection = True
            return
        self._answer(answer.status, dict(answer.headers), content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


def write_segments(folder: Path, keys: LogKeys, count: int) -> None:
    """A log with so many ended segments and one that goes on."""
    writer = LogWriter(folder, keys, "trial").start("genesis")
    for number in range(count):
        writer.block(entry(2 * number), entry(2 * number + 1)).turn("segment")
    writer.block(entry(2 * count))


def run_trial(count: int, outage: float, kill_share: float = 0.5, seed: int = 1) -> dict[str, object]:
    """What happened; raises AssertionError if anything is lost, doubled, or receipted too early."""
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="epochseal-archive-") as place, running_s3(Path(place) / "s3") as s3:
        folder = Path(place)
        s3.admin.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        keys = LogKeys(folder / "keys")
        keys.write()
        write_segments(folder / "log", keys, count)
        (folder / "receipts").mkdir()
        config = folder / "epochseal.toml"
        agent = f"file:{keys.directory / 'agent'}"
        config.write_text(
            f'[[log]]\ndir = "{folder / "log"}"\norigin = "{ORIGIN}"\nepoch_key = "{agent}"\n'
            f'checkpoint_key = "{agent}"\narchive = "s3://{BUCKET}/{PREFIX}"\n'
            f'archive_receipts = "{folder / "receipts"}"\n'
        )
        relay = Relay(s3.url, seed)
        relay.trouble = 0.15
        environ = {**os.environ, **s3.environ("archiver"), "AWS_ENDPOINT_URL": relay.url}
        kills, outages, began = 0, 0, time.monotonic()
        try:
            while len(_receipts(folder)) < count:
                assert time.monotonic() - began < 3600 + outage, "the archiver does not come to an end"
                process = subprocess.Popen(
                    [Path(sys.executable).parent / "epochseal", "archive", "--config", config],
                    env=environ,
                    stderr=subprocess.DEVNULL,
                )
                goal = len(_receipts(folder)) + chance.randrange(1, max(count // 12, 2))
                until = time.monotonic() + 60
                while len(_receipts(folder)) < min(goal, count) and time.monotonic() < until:
                    time.sleep(0.05)
                    if not outages and len(_receipts(folder)) >= count // 2:
                        relay.down.set()
                        time.sleep(outage)
                        relay.down.clear()
                        outages += 1
                time.sleep(chance.random() * 0.3)
                if chance.random() < kill_share:
                    process.kill()
                    kills += 1
                else:
                    process.terminate()
                process.wait()
                _check_receipts(s3, folder)
        finally:
            relay.close()
        _check_all(s3, folder, count)
        return {"segments": count, "kills": kills, "outage_s": outage * outages, **relay.done}


def _receipts(folder: Path) -> dict[str, dict[str, str]]:
    with suppress(IndexError, FileNotFoundError):
        path = next(iter((folder / "receipts").glob("*.receipts")), None)
        if path is not None:
            return msgspec.json.decode(path.read_bytes(), type=Receipts).segments
    return {}


def _check_receipts(s3: S3Server, folder: Path) -> None:
    there = {key.rpartition("/")[2] for key in s3.keys(f"{PREFIX}/segments/")}
    for stem, names in _receipts(folder).items():
        assert len(names) == 2, stem
        assert names.keys() <= there, f"{stem} has a receipt and is not there"


def _check_all(s3: S3Server, folder: Path, count: int) -> None:
    pages = s3.admin.get_paginator("list_object_versions").paginate(
        Bucket=BUCKET, Prefix=f"{PREFIX}/segments/"
    )
    versions = [item["Key"] for page in pages for item in page.get("Versions", ())]
    assert len(versions) == len(set(versions)) == 2 * count, "an object is missing, or was written twice"
    for names in _receipts(folder).values():
        for name, digest in names.items():
            body = s3.admin.get_object(Bucket=BUCKET, Key=f"{PREFIX}/segments/{name}")["Body"].read()
            assert hashlib.sha256(body).hexdigest() == digest
            assert body == (folder / "log" / "segments" / name).read_bytes()


if __name__ == "__main__":
    print(run_trial(int(sys.argv[1]), float(sys.argv[2])))  # noqa: T201  # its figures
