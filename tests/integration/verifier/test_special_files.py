"""What is no file where a file of a log belongs: nobody waits for it, and nothing of it is shown."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from epochseal.errors import StorageError
from epochseal.evidence.timestamp import check_stamps
from epochseal.report.page import Subject, render_report
from epochseal.storage.seal_file import read_damaged_lines, read_whole_lines
from epochseal.verifier.workers import default_jobs
from tests.integration.logs import Log, LogKeys, write_log


@pytest.fixture
def log(tmp_path: Path, keys: LogKeys) -> Log:
    """35 entries in 6 epochs and 3 segments, closed."""
    return write_log(tmp_path / "log", keys)


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Whoever waits for a FIFO is ended."""
    signal.alarm(30)
    yield
    signal.alarm(0)


def root_certificate() -> bytes:
    """A certificate of nobody, in PEM."""
    key = Ed25519PrivateKey.generate()
    name = Name([NameAttribute(NameOID.COMMON_NAME, "nobody")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    return builder.sign(key, None).public_bytes(Encoding.PEM)


def page_of(log: Log) -> str:
    """The page about a log."""
    verdict = log.verify("keys")
    assert verdict.verdict == "tampered"
    return render_report([Subject(log.path, verdict, ("epochseal verify log",))], log.now).decode("utf-8")


def test_a_linked_log_file_is_not_shown(log: Log, tmp_path: Path) -> None:
    """A page holds nothing of a file of the auditor's machine that a link in the log leads to."""
    private = tmp_path / "private"
    private.write_bytes(b"what only the auditor may read\n" * 20)
    place = log.files("log")[1]
    place.unlink()
    place.symlink_to(private)
    assert "what only the auditor" not in page_of(log)


def test_a_fifo_as_log_file(log: Log) -> None:
    """A page is made all the same."""
    place = log.files("log")[1]
    place.unlink()
    os.mkfifo(place)
    assert "<html" in page_of(log)


@pytest.mark.parametrize("read", [read_whole_lines, read_damaged_lines])
def test_a_fifo_as_seal_file(log: Log, read: object) -> None:
    """Its lines are refused at once."""
    place = log.files("seal")[1]
    place.unlink()
    os.mkfifo(place)
    assert callable(read)
    with pytest.raises(StorageError, match="no regular file"):
        list(read(place))


@pytest.mark.parametrize("ending", ["checkpoint", "tsr"])
def test_a_fifo_as_stamp(log: Log, keys: LogKeys, ending: str) -> None:
    """So is a stamp."""
    folder = log.path / "timestamps"
    folder.mkdir()
    for name in ("000000000001.checkpoint", "000000000001.tsr"):
        (folder / name).write_bytes((log.path / "checkpoint").read_bytes())
    (folder / f"000000000001.{ending}").unlink()
    os.mkfifo(folder / f"000000000001.{ending}")
    with pytest.raises(StorageError, match="no regular file"):
        list(check_stamps(log.path, keys.public, root_certificate()))


def test_a_link_loop_hides_no_verdict(log: Log) -> None:
    """A name that leads to itself is tampering like any other: looking at sizes does not fail on it."""
    (log.path / "segments" / "000009-20260101T000000Z.log").symlink_to("000009-20260101T000000Z.log")
    assert default_jobs(log.path) == 1
    assert log.verify("keys").verdict == "tampered"
