"""A log on transit keys, its agents as processes with an AppRole login, and its server's audit trail."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epochseal.segments import list_segments
from tests.backends_under_test.openbao import OpenBao, Provisioned, environment
from tests.integration.agents import PROGRAM, Agent, wait_until

ORIGIN = "example.com/payments"
PER_EPOCH = 2
_PATIENCE = 120.0


class TransitLog:
    """One log directory; `of` makes another that has the same keys and the same trail."""

    def __init__(self, path: Path, bao: OpenBao, keys: Provisioned) -> None:
        self.path, self.bao, self.keys = path, bao, keys

    def of(self, path: Path) -> TransitLog:
        """A copy of the log as it is, on another host."""
        shutil.copytree(self.path, path)
        return TransitLog(path, self.bao, self.keys)

    @property
    def epoch_key(self) -> str:
        """The epoch key as the trail names it."""
        return f"{self.keys.mount}/{self.keys.name}-epoch"

    @property
    def signing_key(self) -> str:
        """The checkpoint key as the trail names it."""
        return f"{self.keys.mount}/{self.keys.name}-checkpoint"

    def agent(self, *options: str) -> Agent:
        """Start `epochseal seal` with the agent's login; an epoch has two entries."""
        words = [
            *_variables(self.keys.agent), PROGRAM, "seal", str(self.path), "--origin", ORIGIN,
            "--epoch-key", self.keys.epoch_uri, "--checkpoint-key", self.keys.checkpoint_uri,
            "--epoch-max-entries", str(PER_EPOCH), "--commit-interval", "1ms", "--acks", *options,
        ]  # fmt: skip  # a command
        return Agent(words, self.path.parent / f"{self.path.name}.stderr")

    def seal(self, entries: int, *options: str) -> None:
        """Seal some entries, one at a time, and close the log."""
        with self.agent(*options) as agent:
            self.send(agent, entries)
            assert agent.end() == 0, agent.said

    @staticmethod
    def send(agent: Agent, entries: int) -> None:
        """Have so many entries sealed."""
        for _ in range(entries):
            agent.send(b"entry %04d\n" % agent.acknowledged)

    def epochs(self) -> int:
        """How many epoch lines the log has."""
        segments = list_segments(self.path).segments
        seals = b"".join(item.seal.read_bytes() for item in segments if item.seal is not None)
        return sum(line.startswith(b"epoch ") for line in seals.splitlines())

    def served(self, what: str, trail: Path | None = None) -> int:
        """How many calls to a path of the server have been answered."""
        lines = (trail or self.bao.trail).read_bytes().split(b"\n")[:-1]
        entries = [json.loads(line) for line in lines if what.encode() in line]
        return sum(item["type"] == "response" and item["request"]["path"] == what for item in entries)

    def stop_between(self, agent: Agent) -> None:
        """Have the agent stand still after a call for a secret was served and before its epoch line.

        Its courier, which makes the call, goes on. Should the agent have been faster, the next epoch is tried.
        """
        issue = f"{self.keys.mount}/datakey/plaintext/{self.keys.name}-epoch"
        sign = f"{self.keys.mount}/sign/{self.keys.name}-checkpoint"
        logins = "auth/approle/login"
        while True:
            epochs, known = self.epochs(), self.served(logins)
            calls, signed = self.served(issue), self.served(sign)
            wanted = agent.acknowledged + PER_EPOCH
            agent.write(b"entry\n" * PER_EPOCH)
            wait_until(lambda: self.served(logins) > known)  # noqa: B023  # it is called within this round
            agent.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: self.served(issue) > calls or self.served(sign) > signed)  # noqa: B023  # as above
            if self.served(issue) > calls and self.epochs() == epochs:
                return
            agent.process.send_signal(signal.SIGCONT)
            agent.wait_for(wanted)

    def reconcile(self, *options: str, trail: Sequence[Path] = ()) -> tuple[int, Any]:
        """Exit status and result of the real command."""
        files = [str(path) for path in trail or [self.bao.trail]]
        words = [PROGRAM, "reconcile", str(self.path), "--trail", *files, "--json", *options]
        settings = self.bao.settings(token_file=str(self.bao.secret_file(self.bao.root_token)))
        done = subprocess.run(
            words, capture_output=True, check=False, timeout=_PATIENCE, env=environment(settings)
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def found(self, *options: str, trail: Sequence[Path] = ()) -> tuple[int, list[tuple[str, int]]]:
        """Exit status, and kind and epoch of each problem."""
        status, result = self.reconcile(*options, trail=trail)
        return status, [(item["kind"], item["epoch"]) for item in result["problems"]]

    def verify(self) -> tuple[int, list[str], list[str]]:
        """Exit status, kinds of problems and of warnings of the real command, with the verifier's login."""
        words = [
            PROGRAM, "verify", str(self.path), "--epoch-key", self.keys.epoch_uri,
            "--checkpoint-key", self.keys.checkpoint_uri, "--json",
        ]  # fmt: skip  # a command
        done = subprocess.run(
            words, capture_output=True, check=False, timeout=_PATIENCE, env=environment(self.keys.verifier)
        )
        assert done.stdout, done.stderr
        result = json.loads(done.stdout)
        kinds = [[item["kind"] for item in result[name]] for name in ("problems", "warnings")]
        return done.returncode, kinds[0], kinds[1]


def _variables(settings: dict[str, str]) -> list[str]:
    """The prefix of a command that is to have these settings."""
    return ["env", *(f"EPOCHSEAL_VAULT_{name.upper()}={value}" for name, value in settings.items())]
