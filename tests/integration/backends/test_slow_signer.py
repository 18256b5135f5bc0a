"""A signer that hangs in the middle of a turn, on each key service: commits go on in the old epoch."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.backends_under_test.proxy import Proxy
from tests.integration.agents import PROGRAM, Agent, wait_until
from tests.integration.backends.test_key_services import verify
from tests.integration.key_services import ORIGIN, Service, key_service

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
HELD_SECONDS = 64.0 if FULL else 2.0
"""Longer than a secret waits for its signature; in the short run, longer than an epoch."""
PAUSE_SECONDS = 3.0
"""A commit takes some milliseconds, on a busy machine seconds; one that waits never ends."""
_ADDRESSES = {"vault": "EPOCHSEAL_VAULT_ADDRESS", "aws": "EPOCHSEAL_AWS_ENDPOINT"}
Hold = Callable[[int], None]


@contextmanager
def held_back(name: str, service: Service) -> Iterator[tuple[Mapping[str, str], Hold, Hold]]:
    """The agent's environment, what keeps all answers back, and what lets them through again."""
    env = dict(service.agent.env)
    if name == "pkcs11":
        # A token has no network: the process that waits for it is stopped instead.
        yield (
            env,
            lambda pid: _signal_couriers(pid, signal.SIGSTOP),
            lambda pid: _signal_couriers(pid, signal.SIGCONT),
        )
        return
    there = urlsplit(env[_ADDRESSES[name]])
    assert there.port is not None
    with Proxy(there.port) as proxy:
        env[_ADDRESSES[name]] = f"{there.scheme}://{there.hostname}:{proxy.port}"
        yield env, lambda _pid: proxy.stalled.set(), lambda _pid: proxy.stalled.clear()


def _signal_couriers(agent: int, number: signal.Signals) -> None:
    for zygote in _children(agent):
        for courier in _children(zygote):
            os.kill(courier, number)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("name", ["vault", "aws", "pkcs11"])
def test_commits_go_on_while_a_signature_is_kept_back(name: str, tmp_path: Path) -> None:
    """No commit waits for it, no epoch begins without it; then the log goes on, and verifies."""
    with key_service(name, tmp_path) as service, held_back(name, service) as (env, hold, let_go):
        log = tmp_path / "log"
        words = [PROGRAM, "seal", str(log), "--origin", ORIGIN, *service.agent.keys, "--acks"]
        options = ["--commit-interval", "1ms", "--epoch-interval", "1s"]
        with Agent([*words, *options], tmp_path / "stderr", env) as agent:
            pid = agent.process.pid
            agent.send(b"first\n")
            _hold_a_signature(log, agent, hold, let_go)
            before, longest, end = _headers(log), 0.0, time.monotonic() + HELD_SECONDS
            while time.monotonic() < end:
                began = time.monotonic()
                agent.send(b"an entry while the signature is kept back\n")
                longest = max(longest, time.monotonic() - began)
                time.sleep(0.02)
            assert longest < PAUSE_SECONDS
            assert len(_headers(log)) == len(before)
            let_go(pid)
            wait_until(lambda: len(_headers(log)) > len(before))
            agent.send(b"last\n")
            assert agent.end() == 0, agent.said
        following = _headers(log)[len(before)]
        # A secret that waited for longer than a minute was given up, and the next line says so.
        assert bool(following["abandoned"]) == FULL
        status, verdict = verify(service.verifier, log, *service.verifier.keys)
        assert (status, verdict["problems"]) == (0, [])
        status, verdict = verify(service.auditor, log, "--checkpoint-key", service.auditor.checkpoint)
        assert (status, verdict["problems"]) == (0, [])


def _hold_a_signature(log: Path, agent: Agent, hold: Hold, let_go: Hold) -> None:
    """Keep answers back from the moment that a `sign` line stands there, until one got no signature."""
    for _ in range(40):
        known = _signs(log)
        wait_until(lambda known=known: _signs(log) > known)  # type: ignore[misc]  # bound in its own round
        hold(agent.process.pid)
        time.sleep(0.25)
        if not _is_signed(log):
            return
        let_go(agent.process.pid)
    raise AssertionError("every signature was there before it could be kept back")


def _lines(log: Path) -> list[bytes]:
    return [line for path in sorted(log.glob("segments/*.seal")) for line in path.read_bytes().splitlines()]


def _signs(log: Path) -> int:
    return sum(line.startswith(b"sign ") for line in _lines(log))


def _is_signed(log: Path) -> bool:
    """Whether a note stands behind the last `sign` line."""
    kinds = [line.partition(b" ")[0] for line in _lines(log)]
    behind = kinds[len(kinds) - kinds[::-1].index(b"sign") :]
    return b"note" in behind


def _headers(log: Path) -> list[dict[str, object]]:
    return [
        json.loads(line.split(b" ", 2)[2].rpartition(b" ")[0])
        for line in _lines(log)
        if line.startswith(b"epoch ")
    ]
