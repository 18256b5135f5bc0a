"""Time stamps of checkpoints by a real authority: `openssl ts` behind HTTP, with a root of its own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from epochseal.errors import BackendError, ConfigError, Unavailable, VerificationError
from epochseal.evidence.timestamp import check_stamps, request_stamp
from tests.integration.agents import PROGRAM
from tests.integration.logs import LogKeys, LogWriter, entry
from tests.integration.stamp_authority import Authority


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        assert self.headers["Content-Type"] == "application/timestamp-query"
        answer = self.server.authority.reply(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the class's own name for it
        """Nothing."""


class _Server(HTTPServer):
    authority: Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all tests: making its keys takes longest."""
    return Authority(tmp_path_factory.mktemp("authority") / "tsa")


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    """Where it answers."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.authority = authority
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/tsr"
        server.shutdown()
        thread.join()


@pytest.fixture
def writer(tmp_path: Path, keys: LogKeys) -> LogWriter:
    """A log with a signed epoch of 3 entries."""
    return LogWriter(tmp_path / "log", keys).start("genesis").block(*map(entry, range(3))).turn()


def test_a_stamp_is_kept_and_holds(writer: LogWriter, url: str, authority: Authority, keys: LogKeys) -> None:
    """Two checkpoints are stamped as the log grows; both hold, and openssl says so too."""
    first = request_stamp(writer.logdir, url)
    writer.block(entry(3)).turn("segment")
    second = request_stamp(writer.logdir, url)
    assert list(check_stamps(writer.logdir, keys.public, authority.root)) == [first, second]
    assert first.size < second.size == writer.signed
    stem = writer.logdir / "timestamps" / f"{first.size:012d}"
    command = ["openssl", "ts", "-verify", "-data", f"{stem}.checkpoint", "-in", f"{stem}.tsr"]
    command += ["-CAfile", str(authority.folder / "root.pem")]
    assert (
        "Verification: OK"
        in subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    )


def test_the_commands(writer: LogWriter, url: str, authority: Authority, keys: LogKeys) -> None:
    """`timestamp add` and `timestamp check`, as an operator types them."""
    check = [
        PROGRAM,
        "timestamp",
        "check",
        str(writer.logdir),
        "--authority",
        str(authority.folder / "root.pem"),
    ]
    check += ["--checkpoint-key", f"file:{keys.directory / 'auditor'}"]
    assert subprocess.run(check, check=False, timeout=60).returncode == 5
    subprocess.run([PROGRAM, "timestamp", "add", str(writer.logdir), "--url", url], check=True, timeout=60)
    done = subprocess.run(check, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(f"{writer.signed} lines existed at 20")


def test_another_authority_is_not_trusted(writer: LogWriter, url: str, keys: LogKeys, tmp_path: Path) -> None:
    """A stamp counts only under a root that the auditor named."""
    request_stamp(writer.logdir, url)
    other = Authority(tmp_path / "other")
    with pytest.raises(VerificationError, match="does not hold"):
        list(check_stamps(writer.logdir, keys.public, other.root))
    with pytest.raises(ConfigError, match="no certificate"):
        list(check_stamps(writer.logdir, keys.public, b"nothing"))


def test_a_rewritten_log_does_not_fit_its_stamp(
    writer: LogWriter, url: str, authority: Authority, keys: LogKeys
) -> None:
    """The same number of lines with another entry, signed by the stolen key: the stamp convicts it."""
    request_stamp(writer.logdir, url)
    forged = LogWriter(writer.logdir.parent / "forged", keys, "log").start("genesis")
    forged.block(b"1\n", b"2\n", b"3\n").turn()
    (writer.logdir / "timestamps").rename(forged.logdir / "timestamps")
    with pytest.raises(VerificationError, match="are not those that were stamped"):
        list(check_stamps(forged.logdir, keys.public, authority.root))


@pytest.mark.parametrize("part", ["checkpoint", "tsr"])
def test_a_changed_file_does_not_hold(
    writer: LogWriter, url: str, authority: Authority, keys: LogKeys, part: str
) -> None:
    """A bit at the end of the note's signature or of the stamp's."""
    stamp = request_stamp(writer.logdir, url)
    path = writer.logdir / "timestamps" / f"{stamp.size:012d}.{part}"
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Exception, match=r"does not hold|not canonical|not base64|no RFC 3161"):
        list(check_stamps(writer.logdir, keys.public, authority.root))


def test_an_old_answer_given_again_is_refused(
    writer: LogWriter, url: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nonce of the request has to come back: a recorded answer is not kept."""
    request_stamp(writer.logdir, url)
    recorded = (authority.folder / "answer").read_bytes()
    monkeypatch.setattr(authority, "reply", lambda _query: recorded)
    with pytest.raises(BackendError, match="something else"):
        request_stamp(writer.logdir, url)


def test_an_authority_that_is_down_is_unavailable(writer: LogWriter) -> None:
    """Nothing listens there: try again later, and nothing is kept."""
    with pytest.raises(Unavailable):
        request_stamp(writer.logdir, "http://127.0.0.1:1/tsr")
    assert not (writer.logdir / "timestamps").exists()
