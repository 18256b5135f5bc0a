"""A log on each backend, from the command line to the verdict, over a rotation; each role held to its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agents import PROGRAM, Agent
from tests.integration.key_services import BACKENDS, ORIGIN, Role, Service, key_service
from tests.warm_program import run_text

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
ENTRIES, EPOCHS = (100_000, 20) if FULL else (1_200, 6)
PATIENCE = 600.0 if FULL else 120.0
# How every backend begins what it says of a role that is refused, and what is to be done.
REFUSED = re.compile(
    r"epochseal: error: .*this (?:role|credential|folder is .*)(?: and)? may not .*\nepochseal: hint: "
)


@pytest.fixture(params=BACKENDS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A key service that runs."""
    with key_service(request.param, tmp_path) as started:
        yield started


def run(env: Mapping[str, str], *words: str, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command with a role's environment."""
    return run_text(words, env=env, data=data, timeout=PATIENCE)


def verify(role: Role, log: Path, *options: str) -> tuple[int, Any]:
    """The verdict that a role comes to."""
    done = run(role.env, "verify", str(log), *options, "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_log_over_a_rotation(service: Service, tmp_path: Path) -> None:
    """Keys are rotated in the service while the agent runs; every role gets what it may, and no more."""
    log, agent = tmp_path / "log", service.agent
    words = [PROGRAM, "seal", str(log), "--origin", ORIGIN, *agent.keys, "--acks", "--commit-interval", "1ms"]
    half = b"".join(b"%05d: an entry as a service writes it\n" % number for number in range(ENTRIES // 2))
    options = ["--epoch-max-entries", str(ENTRIES // EPOCHS)]
    with Agent([*words, *options], tmp_path / "stderr", agent.env) as sealing:
        sealing.write(half)
        sealing.wait_for(ENTRIES // 2)
        if service.rotate is not None:
            service.rotate()
        sealing.write(half)
        sealing.wait_for(ENTRIES)
        assert sealing.end() == 0, sealing.said
    _check_roles(service, log, half + half)
    headers = [line for path in log.glob("segments/*.seal") for line in path.read_text().splitlines()]
    keys = {
        json.loads(line.split(" ", 2)[2].rpartition(" ")[0])["key"]
        for line in headers
        if line[:6] == "epoch "
    }
    # A KMS gives the same ARN to every generation of its key material.
    assert len(keys) == (1 if service.rotate is None or "awskms" in agent.epoch else 2)


def _check_roles(service: Service, log: Path, data: bytes) -> None:
    verifier, auditor, agent = service.verifier, service.auditor, service.agent
    status, verdict = verify(verifier, log, *verifier.keys)
    assert (status, verdict["problems"], verdict["entries"]) == (0, [], ENTRIES)
    assert verdict["epochs"] >= EPOCHS
    # The first time that this verifier sees the log, which it remembers from now on.
    assert {item["kind"] for item in verdict["warnings"]} - {"rotation_unrecorded"} == {"pinned"}
    assert b"".join(path.read_bytes() for path in sorted(log.glob("segments/*.log"))) == data
    status, verdict = verify(auditor, log, "--checkpoint-key", auditor.checkpoint)
    assert (status, verdict["mode"], verdict["signed_entries"]) == (0, "public", ENTRIES)
    # The agent's own credential recovers nothing: the service refuses, and the message says what is missing.
    # What ends with 77 is a refusal; the words say of what.
    status, said = verify(agent, log, *agent.keys)
    assert (status, REFUSED.search(said) is not None) == (77, True), said
    # The verifier's signs nothing: a log is not even begun.
    other = log.with_name("other")
    done = run(verifier.env, "seal", str(other), "--origin", ORIGIN, *verifier.keys, data=b"an entry\n")
    assert (done.returncode, REFUSED.search(done.stderr) is not None) == (77, True), done.stderr
    assert not list(other.glob("segments/*.log")) or not b"".join(
        path.read_bytes() for path in other.glob("segments/*.log")
    )
