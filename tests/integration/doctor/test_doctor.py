from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from epochseal.storage.durable import DirectoryLock
from epochseal_backends.file import backend as file
from tests.warm_program import run_text

PROGRAM = str(Path(sys.executable).with_name("epochseal"))


@dataclass
class Host:
    """Keys, one log and its configuration."""

    folder: Path
    source: str = 'kind = "unix-stream"\npath = "a.sock"'
    top: str = ""
    kept: list[Any] = field(default_factory=list)

    @property
    def agent(self) -> Path:
        """The agent's key folder."""
        return self.folder / "keys" / "agent"

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        (self.folder / "epochseal.toml").write_text(
            f'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n{self.top}\n[[log]]\n'
            f'dir = "logs"\norigin = "example.com/doctor"\n[[log.source]]\n{self.source}\n',
            encoding="utf-8",
        )
        environment = {key: value for key, value in os.environ.items() if key != "EPOCHSEAL_ENV"}
        words = ["doctor", "--config", "epochseal.toml", *options]
        return run_text(words, cwd=self.folder, env=environment)

    def checks(self, status: int) -> dict[str, dict[str, Any]]:
        """The checks by topic; of several with one topic the gravest."""
        done = self.doctor("--json")
        assert done.returncode == status, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert answer["status"] == status
        order = ("good", "unknown", "wrong")
        return {
            item["topic"]: item for item in sorted(answer["checks"], key=lambda i: order.index(i["outcome"]))
        }


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A setup with nothing wrong: the verifier's folder is elsewhere."""
    file.generate(tmp_path / "keys")
    (tmp_path / "keys" / "verifier").rename(tmp_path / "elsewhere")
    made = Host(tmp_path)
    yield made
    for item in made.kept:
        item.close()


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.name != "epochseal.toml")


def test_good_setup(host: Host) -> None:
    """Where nothing is wrong the status is 0, all is told, and nothing on the disk was changed."""
    before = _files(host.folder)
    checks = host.checks(0)
    assert not [item for item in checks.values() if item["outcome"] == "wrong"]
    good = {topic for topic, item in checks.items() if item["outcome"] == "good"}
    assert good >= {
        "core dumps",
        "memory for keys",
        "directory lock",
        "directory",
        "free space",
        "inodes",
        "fdatasync",
        "source socket",
        "epoch secrets are issued",
        "recovery is refused",
        "checkpoint key signs",
        "agent holds no private wrapping key",
        "checkpoint.key: owner and mode",
    }
    assert _files(host.folder) == before


def test_table(host: Host) -> None:
    """People get a table with what to do, and the numbers of each outcome at its end."""
    (host.agent / "checkpoint.key").chmod(0o644)
    done = host.doctor()
    assert done.returncode == 1
    assert "log logs" in done.stdout
    # However narrow the table is: its columns fold between words.
    assert "-> chmod 600" in done.stdout
    assert "keys/agent/checkpoint.key" in done.stdout
    assert "wrong, " in done.stdout.splitlines()[-1]


def _listen(host: Host) -> str:
    server = socket.create_server(("127.0.0.1", 0))
    host.kept.append(server)
    return f"127.0.0.1:{server.getsockname()[1]}"


def _hold_socket(host: Host) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(host.folder / "a.sock"))
    server.listen()
    host.kept.append(server)


def _hold_private_wrapping_key(host: Host) -> None:
    shutil.copy(host.folder / "elsewhere" / "epoch.key", host.agent)


def _mix_up_the_pair(host: Host) -> None:
    file.generate(host.folder / "other")
    shutil.copy(host.folder / "other" / "agent" / "checkpoint.pub", host.agent)


def _use_the_verifiers_folder(host: Host) -> None:
    shutil.rmtree(host.agent)
    shutil.copytree(host.folder / "elsewhere", host.agent)


def _open_log_directory(host: Host) -> None:
    (host.folder / "logs").mkdir()
    (host.folder / "logs").chmod(0o777)


def _future_log(host: Host) -> None:
    path = host.folder / "logs" / "segments" / "000001-20990101T000000Z.seal"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (4e9, 4e9))


def _source(text: str) -> Callable[[Host], None]:
    return lambda host: setattr(host, "source", text)


def _top(text: str) -> Callable[[Host], None]:
    return lambda host: setattr(host, "top", text)


WRONG: dict[str, tuple[Callable[[Host], object], str, str]] = {
    "private wrapping key in the agent's folder": (
        _hold_private_wrapping_key,
        "agent holds no private wrapping key",
        "epoch.key is there",
    ),
    "agent that can recover": (
        _hold_private_wrapping_key,
        "epoch secrets are issued",
        "is the verifier's: whoever steals its epoch.key",
    ),
    "verifier's folder for an agent": (
        _use_the_verifiers_folder,
        "checkpoint key is there",
        "may not sign checkpoints",
    ),
    "private key readable by others": (
        lambda host: (host.agent / "checkpoint.key").chmod(0o640),
        "checkpoint.key: owner and mode",
        "0640",
    ),
    "folder writable by others": (lambda host: host.agent.chmod(0o777), "agent: owner and mode", "0777"),
    "public key writable by others": (
        lambda host: (host.agent / "epoch.pub").chmod(0o666),
        "epoch.pub: owner and mode",
        "0666",
    ),
    "checkpoint pair mixed up": (_mix_up_the_pair, "checkpoint key is there", "are not a pair"),
    "no public wrapping key": (
        lambda host: (host.agent / "epoch.pub").unlink(),
        "epoch secrets are issued",
        "epoch.pub does not",
    ),
    "log directory writable by others": (_open_log_directory, "directory", "0777"),
    "log directory is a file": (lambda host: (host.folder / "logs").touch(), "directory", "not a directory"),
    "clock behind the log": (_future_log, "clock and log", "seconds from now"),
    "segment larger than the disk": (_top('segment_bytes = "4000000GiB"'), "free space", "MiB"),
    "runtime_dir on no tmpfs": (_top('runtime_dir = "/proc"'), "runtime_dir", "not on tmpfs"),
    "missing folder to tail": (
        _source('kind = "tail"\npaths = ["/nonexistent/a.log"]'),
        "source tail",
        "/nonexistent",
    ),
    "socket of another program": (_hold_socket, "source socket", "taken by another"),
    "no socket": (lambda host: (host.folder / "a.sock").touch(), "source socket", "no socket"),
    "no folder for a socket": (
        _source('kind = "unix-datagram"\npath = "none/a.sock"'),
        "source socket",
        "is missing",
    ),
    "port of another program": (
        lambda host: setattr(host, "source", f'kind = "syslog"\nlisten = "{_listen(host)}"'),
        "source syslog",
        "taken by another",
    ),
    "address of another machine": (
        _source('kind = "syslog"\nlisten = "192.0.2.1:6514"'),
        "source syslog",
        "192.0.2.1",
    ),
    "no certificate": (
        _source('kind = "syslog"\nlisten = "127.0.0.1:0"\ntls = { cert = "c", key = "k" }'),
        "source syslog: TLS",
        "No such file",
    ),
    "metrics port of another program": (
        lambda host: setattr(host, "top", f'[metrics]\nlisten = "{_listen(host)}"'),
        "address is free",
        "taken by another",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setup(host: Host, name: str) -> None:
    """A setup with one thing wrong ends with 1, and that thing is named."""
    spoil, topic, detail = WRONG[name]
    spoil(host)
    found = host.checks(1)[topic]
    assert found["outcome"] == "wrong"
    assert detail in found["detail"]
    assert found["hint"]


def test_readable_verifier_beside(host: Host) -> None:
    """On one machine for a trial, a verifier's key within reach is told, and is no error."""
    (host.folder / "elsewhere").rename(host.folder / "keys" / "verifier")
    found = host.checks(0)["agent holds no private wrapping key"]
    assert found["outcome"] == "unknown"
    assert "keys/verifier/epoch.key" in found["detail"]


def test_running_agent(host: Host) -> None:
    """While an agent holds the directory, the socket that is taken is its own."""
    (host.folder / "logs").mkdir(0o750)
    _hold_socket(host)
    with DirectoryLock(host.folder / "logs"):
        checks = host.checks(0)
    assert checks["directory lock"]["detail"] == "an agent holds it"
    assert checks["source socket"]["outcome"] == "good"


def test_wrong_configuration(host: Host) -> None:
    """A file that is refused ends with 2, before anything is looked at."""
    host.top = "epoch_intervall = 5"
    done = host.doctor("--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean epoch_interval?" in done.stderr
