"""The honest side of an attack: one log, its agent and its verifiers, all of them the installed program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from epochseal.keys import parse_key_uri
from tests.attacks.access import Access
from tests.integration.agents import PROGRAM, Agent, tmpfs, wait_until
from tests.integration.key_services import ORIGIN, Service, key_service
from tests.warm_program import run

Mode = Literal["keys", "public"]
Memory = Literal["none", "known logs", "trust file", "log id"]
MODES: tuple[Mode, ...] = ("keys", "public")
MEMORIES: tuple[Memory, ...] = ("known logs", "trust file", "log id")
_PATIENCE = 120


@dataclass(frozen=True)
class Row:
    """One question to the honest side, its answer, and whether it is the one that must be.

    `limit` says why a log alone cannot give another answer than *verified*; empty otherwise.
    """

    case: str
    status: int
    said: str
    good: bool
    limit: str = ""


@dataclass
class Scene:
    """A log on its host, and what verifiers elsewhere remember of it."""

    folder: Path
    runtime: Path
    service: Service
    rows: list[Row] = field(default_factory=list)
    log_id: str = ""
    more_epoch_keys: tuple[str, ...] = ()
    auditors_key: str = ""
    _lost: int = 0
    _copies: int = 0

    @property
    def log(self) -> Path:
        """The log directory."""
        return self.folder / "log"

    @property
    def agent_access(self) -> Access:
        """The agent's credential."""
        return Access(self.service.agent)

    @property
    def verifier_access(self) -> Access:
        """The verifier's credential."""
        return Access(self.service.verifier)

    def seal(self, *entries: str, page: bool = True, options: tuple[str, ...] = ()) -> str:
        """Start the agent, seal these entries, close the log; what it said.

        `page` uses the runtime directory, which a reboot empties; `options` are more of the command.
        """
        data = "".join(f"{entry}\n" for entry in entries).encode()
        words = self._words(page=page, options=options)[1:]
        done = run(words, data=data, env=self._host())
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode()

    def seal_configured(self, *entries: str, **settings: str) -> None:
        """As `seal`, without a page, by `epochseal run` with these keys of the log's table."""
        with self._daemon(settings) as daemon:
            daemon.communicate("".join(f"{entry}\n" for entry in entries).encode(), _PATIENCE)
            assert daemon.returncode == 0, (self.folder / "stderr").read_text()

    def kill_configured(self, entry: str, **settings: str) -> bytes:
        """Have `epochseal run` seal one entry and kill it; the page as it was before."""
        with self._daemon({"runtime_dir": f'"{self.runtime}"', **settings}) as daemon:
            assert daemon.stdin is not None
            daemon.stdin.write(f"{entry}\n".encode())
            daemon.stdin.flush()
            wait_until(lambda: b"\nblock 1 0 1 " in b"".join(map(Path.read_bytes, self.log.rglob("*.seal"))))
            page = self.page.read_bytes()
            daemon.kill()
            daemon.wait()
        return page

    def configuration(self, settings: Mapping[str, str]) -> Path:
        """A file for the daemon, with these keys of the log's table."""
        file, role = self.folder / "epochseal.toml", self.service.agent
        family = parse_key_uri(role.epoch).family
        table = f"[{family}]\n{role.table(family)}" if family else ""
        keys = f'epoch_key = "{role.epoch}"\ncheckpoint_key = "{role.checkpoint}"\n'
        log = f'[[log]]\nname = "app"\ndir = "{self.log}"\norigin = "{ORIGIN}"\n'
        more = "".join(f"{name} = {value}\n" for name, value in settings.items())
        file.write_text(f'{keys}{log}{more}[[log.source]]\nkind = "stdin"\n{table}', encoding="utf-8")
        return file

    @contextmanager
    def _daemon(self, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        words = [PROGRAM, "run", "--config", str(self.configuration(settings))]
        with (self.folder / "stderr").open("wb") as stderr:
            daemon = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=stderr, env=self._host())
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()

    def agent(self, *, page: bool = True, options: tuple[str, ...] = ()) -> Agent:
        """An agent that runs, on a log that it can go on with."""
        words = [*self._words(page=page, options=options), "--acks"]
        return Agent(words, self.folder / "stderr", env=self._host())

    def lose_state(self) -> None:
        """From now on the agent finds no page and an empty state directory: another host, no volume."""
        self.reboot()
        self._lost += 1

    def reboot(self) -> None:
        """The page is gone."""
        for path in self.runtime.iterdir():
            path.unlink()

    @property
    def page(self) -> Path:
        """The page of this log's agent."""
        (path,) = self.runtime.glob("*.page")
        return path

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """The log's files as they are now, put back at the end; the agent's memories stay as they get."""
        kept = self.folder / "kept"
        shutil.copytree(self.log, kept, symlinks=True)
        try:
            yield self.log
        finally:
            shutil.rmtree(self.log)
            kept.rename(self.log)

    def now(self) -> int:
        """The time in ms."""
        return time.time_ns() // 1_000_000

    def on_host(self, *words: str) -> str:
        """Run any command as the agent's user does; what it said."""
        done = run(words, env=self._host())
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode()

    def host_state(self) -> Path:
        """A copy of the agent's state directory."""
        self._copies += 1
        kept = self.folder / f"state-{self._copies}"
        shutil.copytree(self._state(), kept)
        return kept

    def put_back(self, page: bytes, state: Path) -> None:
        """Put the agent's memories back as they were: another try of the same attack begins there."""
        for path in self.runtime.glob("*.page"):
            path.write_bytes(page)
        mine = self._state()
        shutil.rmtree(mine)
        shutil.copytree(state, mine)

    def remember(self) -> None:
        """Verify with all keys and with the public one: known logs and a trust file of each from now on."""
        for mode in MODES:
            told = self.verify(mode, "known logs")
            assert told["verdict"] == "verified", told
            self.log_id = told["log"]
            words = ["trust", str(self.log), "-o", str(self._trust(mode)), *self._verifier_keys(mode)]
            assert self._run(words, mode).returncode == 0

    def expect(
        self,
        case: str,
        status: int,
        *kinds: str,
        mode: Mode = "keys",
        memory: Memory = "none",
        limit: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        """Verify, and note whether the exit status is this one and all these kinds are among the findings."""
        told = self.verify(mode, memory, *options)
        found = [problem["kind"] for problem in told["problems"]]
        good = told["exit_status"] == status and set(kinds) <= {
            *found,
            *(w["kind"] for w in told["warnings"]),
        }
        said = f"{told['verdict']}: {', '.join(dict.fromkeys(found)) or 'no problem'}"
        name = f"{case}: verify, {mode}, {'no memory' if memory == 'none' else memory}"
        self.rows.append(Row(name, told["exit_status"], said, good, limit))

    def expect_proof(self, case: str, entry: int, status: int) -> None:
        """Have an entry proven with the public key at hand, and note whether that ends so."""
        key = ["--checkpoint-key", self.service.auditor.checkpoint]
        done = self._run(["prove", str(self.log), "--entry", str(entry), *key], "public")
        said = done.stderr.decode().strip().splitlines() or ["proven"]
        self.rows.append(Row(f"{case}: prove", done.returncode, said[0], done.returncode == status))

    def expect_true(self, case: str, holds: bool) -> None:  # noqa: FBT001  # what is noted, not an option
        """Note whether something else holds."""
        self.rows.append(Row(case, 0 if holds else 1, "so it is" if holds else "it is not so", holds))

    def expect_said(self, case: str, said: str, words: str) -> None:
        """Note whether the agent's messages hold these words."""
        lines = [line for line in said.splitlines() if words in line]
        self.rows.append(Row(f"{case}: the agent said", 0 if lines else 1, (lines or [said])[0], bool(lines)))

    def accept(self, start: str) -> None:
        """A person accepts a start in the trust file of the key-holding verifier."""
        words = ["trust", str(self.log), "-o", str(self._trust("keys")), *self._verifier_keys("keys")]
        done = self._run([*words, "--accept-start", start, "--reason", "looked into"], "keys")
        assert done.returncode == 0, done.stdout + done.stderr

    def starts(self, mode: Mode = "keys") -> list[str]:
        """The hashes of the starts that a verification asks about."""
        problems = self.verify(mode, "trust file")["problems"]
        asked = ("cold_start", "tampered_at_start", "start_unsigned")
        return [word for item in problems if item["kind"] in asked for word in _hashes(item["detail"])]

    def verify(self, mode: Mode, memory: Memory, *options: str) -> dict[str, Any]:
        """What `verify --json` says, and its exit status."""
        for path in self.log.rglob("*"):
            os.utime(path, (0, 0), follow_symlinks=False)  # nobody waits for a writer that is not there
        remembered = {
            "none": ["--trust", "none"],
            "known logs": [],
            "trust file": ["--trust", str(self._trust(mode))],
            "log id": ["--trust", "none", "--log", self.log_id],
        }[memory]
        words = [
            "verify",
            "--json",
            str(self.log),
            "--origin",
            ORIGIN,
            *self._verifier_keys(mode),
            *remembered,
        ]
        words += options
        done = self._run(words, mode)
        assert done.stdout, done.stderr.decode()
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told | {"exit_status": done.returncode}

    def _trust(self, mode: Mode) -> Path:
        return self.folder / f"{mode}.trust"

    def _verifier_keys(self, mode: Mode) -> list[str]:
        keys = [self.service.verifier.epoch, *self.more_epoch_keys] if mode == "keys" else []
        recovering = [word for key in keys for word in ("--epoch-key", key)]
        told = self.auditors_key if mode == "public" else ""
        return [*recovering, "--checkpoint-key", told or self.service.auditor.checkpoint]

    def _run(self, words: list[str], mode: Mode) -> subprocess.CompletedProcess[bytes]:
        role = self.service.verifier if mode == "keys" else self.service.auditor
        env = {**role.env, "XDG_STATE_HOME": str(self.folder / f"{mode}-verifier")}
        return run(words, env=env)

    def _words(self, *, page: bool, options: tuple[str, ...]) -> list[str]:
        words = [PROGRAM, "seal", str(self.log), "--origin", ORIGIN, *self.service.agent.keys]
        return [*words, *(["--runtime-dir", str(self.runtime)] if page else []), *options]

    def _host(self) -> Mapping[str, str]:
        return {**self.service.agent.env, "XDG_STATE_HOME": str(self._state())}

    def _state(self) -> Path:
        path = self.folder / f"host-{self._lost}"
        path.mkdir(exist_ok=True)
        return path


def _hashes(detail: str) -> list[str]:
    return [word.strip(".,;()") for word in detail.split() if len(word.strip(".,;()")) == 44]


@contextmanager
def scene(backend: str, folder: Path) -> Iterator[Scene]:
    """A log with keys in that backend."""
    with tmpfs() as runtime, key_service(backend, folder / "service") as service:
        yield Scene(folder, runtime, service)
