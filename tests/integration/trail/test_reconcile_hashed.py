"""A trail that shows only HMACs of contexts: compared through `sys/audit-hash` of a real OpenBao."""

from __future__ import annotations

import gzip
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.keys import parse_key_uri
from epochseal_backends.vault import backend as vault
from tests.backends_under_test.openbao import OpenBao, environment
from tests.integration.agents import PROGRAM, tmpfs
from tests.integration.trail.transit_logs import ORIGIN, TransitLog

MOUNT = "hidden"
_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server with two devices, and an engine that shows nothing in their trails."""
    server = OpenBao(tmp_path_factory.mktemp("bao"))
    server.devices = ["file", "second"]
    with server:
        server.request("POST", f"sys/mounts/{MOUNT}", {"type": "transit"})
        yield server


@pytest.fixture
def log(bao: OpenBao, tmp_path: Path) -> TransitLog:
    """A log with keys of its own that nothing was sealed in yet."""
    return TransitLog(tmp_path / "log", bao, bao.provision(next(_names), ORIGIN, mount=MOUNT))


def asking(log: TransitLog, device: str = "file") -> tuple[str, ...]:
    """The options that have the server asked."""
    return "--audit-hash", device, "--epoch-key", log.keys.epoch_uri


def test_hashed_contexts(log: TransitLog, tmp_path: Path) -> None:
    """Honest, with a call that came to nothing: clean once the server is asked, and only then."""
    with tmpfs() as runtime:
        resuming = ("--runtime-dir", str(runtime))
        with log.agent(*resuming) as agent:
            log.send(agent, 3)
            log.stop_between(agent)
            agent.kill()
        log.seal(3, *resuming)
    status, result = log.reconcile()
    assert (status, {item["kind"] for item in result["problems"]}) == (3, {"hidden_context"})
    for device in ("file", "second"):
        trail = [log.bao.trail_of(device)]
        options = (*asking(log, device), "--signing-key", log.signing_key)
        status, result = log.reconcile(*options, trail=trail)
        assert (status, result["problems"]) == (0, [])
        assert result["matched"] == result["epochs"] == log.epochs()
        assert "abandoned" in [item["kind"] for item in result["notes"]]
    # Both devices wrote each call down, each with its own salt and moment; one of them was rotated, and the
    # other is in the middle of a line.
    lines = log.bao.trail.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    rotated, live, second = (tmp_path / name for name in ("audit.log.1.gz", "audit.log", "second.log"))
    rotated.write_bytes(gzip.compress(b"".join(lines[:half])))
    live.write_bytes(b"".join(lines[half:]))
    second.write_bytes(log.bao.trail_of("second").read_bytes() + b'{"time":"2026-')
    status, both = log.reconcile(*asking(log), trail=[second, live, rotated])
    assert (status, both["problems"]) == (0, [])
    assert (both["calls"], both["files"]) == (result["calls"], 3)
    assert "doubled" in [item["kind"] for item in both["notes"]]


@pytest.mark.parametrize("state", [False, True], ids=["without its memory", "with its memory"])
def test_forked_behind_hashes(log: TransitLog, tmp_path: Path, *, state: bool) -> None:
    """A fork is found as it is where contexts are shown."""
    log.seal(4)
    fork = log.of(tmp_path / "fork", state=state)
    first = log.epochs()
    log.seal(1)
    fork.seal(1)
    for either in (log, fork):
        status, found = either.found(*asking(log), "--signing-key", log.signing_key)
        assert status == 1
        assert ("issued_not_sealed", first) in found


def test_changed_salt(log: TransitLog) -> None:
    """What a device wrote before it was disabled can be compared with nothing: incomplete, not forged."""
    log.seal(3)
    assert log.found(*asking(log)) == (0, [])
    for devices in (["second"], ["file", "second"]):
        log.bao.stop()
        log.bao.devices = devices
        log.bao.start()
    assert log.found(*asking(log)) == (3, [("hidden_context", -1)])
    assert log.found(*asking(log, "second"), trail=[log.bao.trail_of("second")]) == (0, [])


def test_asked_once(log: TransitLog) -> None:
    """A text is asked for once; its HMAC is the one that the device writes."""
    settings = log.bao.settings(token_file=str(log.bao.secret_file(log.bao.root_token)))
    hash_of = vault.audit_hasher(parse_key_uri(log.keys.epoch_uri), settings, "file")
    before = log.served("sys/audit-hash/file")
    text = "a text that stands nowhere else"
    assert hash_of(text) == hash_of(text)
    assert log.served("sys/audit-hash/file") == before + 1
    assert hash_of(text) in log.bao.trail.read_text()


def test_who_may_not_ask(log: TransitLog) -> None:
    """The error names the line that the policy lacks, the device that is not there, or the other backend."""
    log.seal(1)
    words = [PROGRAM, "reconcile", str(log.path), "--trail", str(log.bao.trail)]

    def said(status: int, *options: str) -> str:
        done = subprocess.run(
            [*words, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment(log.keys.auditor),
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert 'path "sys/audit-hash/file" { capabilities = ["update"] }' in said(77, *asking(log))
    assert "not an audit device: '../x'" in said(2, *asking(log, "../x"))
    assert "keys of file: have no audit device" in said(2, "--audit-hash", "file", "--epoch-key", "file:x")
    status, _ = log.reconcile(*asking(log))
    assert status == 0
    policy = 'path "sys/audit-hash/*" { capabilities = ["update"] }'
    log.bao.request("PUT", "sys/policies/acl/hasher", {"policy": policy})
    log.bao.request("POST", f"auth/approle/role/{log.keys.name}-auditor", {"token_policies": ["hasher"]})
    assert "there is no audit device 'gone'" in said(2, *asking(log, "gone"))
