"""A log held against the audit device of a real OpenBao: honest agents that crash, and thieves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends_under_test.openbao import OpenBao
from tests.integration.agents import tmpfs
from tests.integration.transit_logs import ORIGIN, TransitLog

_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server whose trail shows contexts, secrets in their wrapped form, and what is signed."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        server.make_mount("transit")
        shown = {
            "audit_non_hmac_request_keys": ["context", "input"],
            "audit_non_hmac_response_keys": ["ciphertext"],
        }
        server.request("POST", "sys/mounts/transit/tune", shown)
        yield server


@pytest.fixture
def log(bao: OpenBao, tmp_path: Path) -> TransitLog:
    """A log with keys of its own that nothing was sealed in yet."""
    return TransitLog(tmp_path / "log", bao, bao.provision(next(_names), ORIGIN))


def rotate(log: TransitLog) -> None:
    """A new version of the epoch key in the backend."""
    log.bao.request("POST", f"{log.keys.mount}/keys/{log.keys.name}-epoch/rotate", {})


def test_honest(log: TransitLog) -> None:
    """Three rotations, two crashes between a call and its epoch line, a reboot: clean, and all explained."""
    with tmpfs() as runtime:
        resuming = ("--runtime-dir", str(runtime))
        with log.agent(*resuming) as agent:
            log.send(agent, 5)
            rotate(log)
            log.send(agent, 4)
            log.stop_between(agent)
            agent.kill()
        with log.agent(*resuming) as agent:
            log.send(agent, 4)
            rotate(log)
            log.send(agent, 3)
            assert agent.end() == 0
    # The page went with the machine's memory.
    with log.agent() as agent:
        log.send(agent, 3)
        log.stop_between(agent)
        agent.kill()
    log.seal(3)
    rotate(log)
    log.seal(3)
    status, problems, warnings = log.verify()
    assert (status, problems) == (3, ["cold_start"])
    assert warnings.count("reopen") == 2
    status, result = log.reconcile()
    assert (status, result["problems"], result["verdict"]) == (0, [], "clean")
    assert result["matched"] == result["epochs"] == log.epochs() >= 12
    assert result["calls"] == result["epochs"] + 2
    kinds = Counter(item["kind"] for item in result["notes"])
    assert kinds == {"orphan": 2, "key_changed": 2, "recovered": 1}
