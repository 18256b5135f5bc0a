"""A log on transit keys, its agents as processes with an AppRole login, and its server's audit trail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epochseal.encoding import b64decode, b64encode
from epochseal.format.note import Checkpoint, Note, VerifierKey, sign_text
from epochseal.format.seal_lines import encode_note_line
from epochseal.keys import Context, parse_key_uri
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments
from epochseal.trail import read_sealed
from epochseal_backends.vault import backend as vault
from tests.backends_under_test.openbao import OpenBao, Provisioned, environment
from tests.backends_under_test.variables import variables
from tests.integration.agents import PROGRAM, Agent, wait_until
from tests.integration.logs import ORIGIN, LogKeys, LogWriter
from tests.reference.keys import Keys
from tests.warm_program import run

__all__ = ["ORIGIN", "Forger", "TransitLog"]
PER_EPOCH = 2
_PATIENCE = 120.0


class TransitLog:
    """One log directory, and what its agents remember; `of` makes another with the same keys and trail."""

    def __init__(self, path: Path, bao: OpenBao, keys: Provisioned) -> None:
        self.path, self.bao, self.keys = path, bao, keys
        self.state = path.with_name(f"{path.name}.state")
        self.signer = keys.checkpoint_uri

    def of(self, path: Path, *, state: bool = False) -> TransitLog:
        """A copy of the log as it is, on another host; `state`: its agents remember the same there."""
        shutil.copytree(self.path, path)
        copy = TransitLog(path, self.bao, self.keys)
        if state:
            (folder,) = self.state.iterdir()
            shutil.copytree(folder, copy.state / hashlib.sha256(os.fsencode(path)).hexdigest()[:16])
            copy.state.chmod(0o700)
        return copy

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
        end = read_chain_end(list_segments(self.path).segments)
        stderr = self.path.parent / f"{self.path.name}.stderr"
        return Agent(self._sealing(*options), stderr, sealed=end.entries if end is not None else 0)

    def _sealing(self, *options: str) -> list[str]:
        return [
            *_variables(self.keys.agent),
            PROGRAM,
            "seal",
            str(self.path),
            "--origin",
            ORIGIN,
            "--epoch-key",
            self.keys.epoch_uri,
            "--checkpoint-key",
            self.signer,
            "--epoch-max-entries",
            str(PER_EPOCH),
            "--commit-interval",
            "1ms",
            "--acks",
            "--state-dir",
            str(self.state),
            *options,
        ]

    def seal(self, entries: int, *options: str) -> None:
        """Seal some entries, one at a time, and close the log."""
        with self.agent(*options) as agent:
            self.send(agent, entries)
            assert agent.end() == 0, agent.said

    @contextmanager
    def held_at_start(self) -> Iterator[subprocess.Popen[bytes] | None]:
        """An agent that stands still with a secret that it has begun no epoch with; None if it was faster."""
        issue, epochs = f"{self.keys.mount}/datakey/plaintext/{self.keys.name}-epoch", self.epochs()
        calls, seen = self.served(issue), self.bao.trail.stat().st_size
        process = subprocess.Popen(self._sealing(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            self._await_request(issue, seen)
            process.send_signal(signal.SIGSTOP)
            self._await_calls(issue, calls + 1)
            yield process if self.epochs() == epochs else None
        finally:
            process.kill()
            process.wait(_PATIENCE)

    def _await_request(self, path: str, seen: int) -> None:
        """Until the trail has a request behind so many bytes; without pauses: the answer follows at once."""
        deadline, wanted = time.monotonic() + _PATIENCE, f'"path":"{path}"'.encode()
        with self.bao.trail.open("rb") as file:
            file.seek(seen)
            found = b""
            while wanted not in found:
                assert time.monotonic() < deadline
                found += file.read()

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

    def links(self) -> list[str]:
        """How each epoch follows the one before it."""
        return [header.link for header in read_sealed(self.path).headers]

    def pass_by(self, moment: int) -> None:
        """Have the trail reach over a moment (ms): something else happens on the server after it."""
        wait_until(lambda: time.time() * 1000 > moment)
        self.bao.request("GET", "sys/mounts")

    def served(self, what: str, trail: Path | None = None) -> int:
        """How many calls to a path of the server have been answered."""
        lines = (trail or self.bao.trail).read_bytes().split(b"\n")[:-1]
        entries = [json.loads(line) for line in lines if what.encode() in line]
        return sum(item["type"] == "response" and item["request"]["path"] == what for item in entries)

    def stop_between(self, agent: Agent) -> None:
        """Have the agent stand still after a call for a secret was served and before its `sign` line.

        With that line the state directory remembers the call, as the page does from its beginning on. The
        courier, which makes the call, goes on. Where the agent was faster, the next epoch is tried.
        """
        issue = f"{self.keys.mount}/datakey/plaintext/{self.keys.name}-epoch"
        while True:
            lines, calls, seen = self._turning(), self.served(issue), self.bao.trail.stat().st_size
            wanted = agent.acknowledged + PER_EPOCH
            agent.write(b"entry\n" * PER_EPOCH)
            self._await_request(issue, seen)
            agent.process.send_signal(signal.SIGSTOP)
            self._await_calls(issue, calls + 1)
            if self._turning() == lines:
                return
            agent.process.send_signal(signal.SIGCONT)
            agent.wait_for(wanted)

    def _turning(self) -> int:
        """How many lines stand there that take a log from one epoch to the next."""
        files = self.path.glob("segments/[0-9]*.seal")
        return sum(path.read_bytes().count(kind) for path in files for kind in (b"\nsign ", b"\nepoch "))

    def _await_calls(self, path: str, calls: int) -> None:
        wait_until(lambda: self.served(path) >= calls)

    def recover_with(self, token: str) -> None:
        """Get the first epoch's secret back with some token."""
        header = read_sealed(self.path).headers[0]
        context = Context(
            header.origin, b64decode(header.log, "log"), header.epoch, b64decode(header.asked.tag, "tag")
        )
        body = {
            "ciphertext": b64decode(header.wrapped, "wrapped").decode(),
            "context": b64encode(context.encode()),
        }
        self.bao.request("POST", f"{self.keys.mount}/decrypt/{self.keys.name}-epoch", body, token=token)

    def doctor(self) -> subprocess.CompletedProcess[bytes]:
        """Run `epochseal doctor` with the agent's login."""
        return self._configured("doctor")

    def rotate(self, option: str, uri: str) -> None:
        """Record another key with `epochseal rotate` and the agent's login; the log goes on with it."""
        done = self._configured("rotate", "--reason", "yearly", option, uri)
        assert done.returncode == 0, done.stderr
        if option == "--checkpoint-key":
            self.signer = uri

    def _configured(self, command: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        settings = "".join(f'{name} = "{value}"\n' for name, value in self.keys.agent.items())
        file = self.path.parent / "epochseal.toml"
        file.write_text(
            f'epoch_key = "{self.keys.epoch_uri}"\ncheckpoint_key = "{self.signer}"\n'
            f'state_dir = "{self.state}"\n[vault]\n{settings}'
            f'[[log]]\ndir = "{self.path}"\norigin = "{ORIGIN}"\n'
            f'[[log.source]]\nkind = "unix-stream"\npath = "log.sock"\n',
            encoding="utf-8",
        )
        return run([command, "--config", str(file), *options])

    def reconcile(self, *options: str, trail: Sequence[Path] = ()) -> tuple[int, Any]:
        """Exit status and result of the real command."""
        files = [str(path) for path in trail or [self.bao.trail]]
        words = ["reconcile", str(self.path), "--trail", *files, "--json", *options]
        settings = self.bao.settings(token_file=str(self.bao.secret_file(self.bao.root_token)))
        done = run(words, env=environment(settings))
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def found(self, *options: str, trail: Sequence[Path] = ()) -> tuple[int, list[tuple[str, int]]]:
        """Exit status, and kind and epoch of each problem."""
        status, result = self.reconcile(*options, trail=trail)
        return status, [(item["kind"], item["epoch"]) for item in result["problems"]]

    def verify(self, *, memory: str = "") -> tuple[int, list[str], list[str]]:
        """Exit status, kinds of problems and of warnings of the real command, with the verifier's login.

        Each log has verifiers of its own, who remember what they saw; with a `memory` they know what others
        of that name have seen.
        """
        words = [
            "verify",
            str(self.path),
            "--epoch-key",
            self.keys.epoch_uri,
            "--checkpoint-key",
            self.keys.checkpoint_uri,
            "--json",
        ]
        state = self.path.with_name(f"{memory or self.path.name}.verifier")
        env = {**environment(self.keys.verifier), "XDG_STATE_HOME": str(state)}
        done = run(words, env=env)
        assert done.stdout, done.stderr
        result = json.loads(done.stdout)
        kinds = [[item["kind"] for item in result[name]] for name in ("problems", "warnings")]
        return done.returncode, kinds[0], kinds[1]


def _variables(settings: dict[str, str]) -> list[str]:
    """The prefix of a command that is to have these settings."""
    return ["env", *(f"{name}={value}" for name, value in variables("vault", settings).items())]


class Forger(LogWriter):
    """Continues a log by hand, with every permission on its keys, and without what the agent's memory held.

    With `replays`, an epoch gets the wrapped secret of the first one, beside a call for one that is not used.
    """

    @classmethod
    def of(cls, log: TransitLog, *, replays: bool = False) -> LogWriter:
        """From the files of the log as they are now."""
        return cls.after(
            log.path, StolenKeys(log, replays=replays), "thief", time=int(time.time() * 1000), signs=True
        )

    def note(self, *_others: Keys, size: int = -1) -> LogWriter:
        """A signature by the server, with the agent's login."""
        thief = self.keys
        assert isinstance(thief, StolenKeys)
        at = self.size if size < 0 else size
        text = Checkpoint(self.origin, at, self.roots[at]).text()
        signature = sign_text(text, VerifierKey(self.origin, thief.public), thief.signer.sign(text.encode()))
        raw = Note(text, (signature,)).encode()
        self._append("seal", encode_note_line(raw))
        (self.path / "checkpoint").write_bytes(raw)
        return self


class StolenKeys(LogKeys):
    """Wraps through the server as root, and signs with the agent's login."""

    def __init__(self, log: TransitLog, *, replays: bool) -> None:
        super().__init__(log.path.parent / "stolen", "what the server does instead")
        self._log, self._replays = log, replays
        self.signer = vault.signer(parse_key_uri(log.keys.checkpoint_uri), log.keys.agent)
        self.public = self.signer.public_key()
        self.key_id = f"vault:v1:{log.epoch_key}"

    def wrap(self, context: bytes, secret: bytes) -> bytes:
        """Encrypt a secret of the thief's own, for this context."""
        log, encoded = self._log, b64encode(context)
        if self._replays:
            header = read_sealed(log.path).headers[0]
            log.bao.request(
                "POST", f"{log.keys.mount}/datakey/plaintext/{log.keys.name}-epoch", {"context": encoded}
            )
            return b64decode(header.wrapped, "wrapped")
        body = {"plaintext": b64encode(secret), "context": encoded}
        made = log.bao.request("POST", f"{log.keys.mount}/encrypt/{log.keys.name}-epoch", body)
        return str(made["data"]["ciphertext"]).encode()
