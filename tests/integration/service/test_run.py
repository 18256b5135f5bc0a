"""`epochseal run`: several logs in one daemon, signals, failures, compression and expiry beside it."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epochseal.errors import EpochsealError
from epochseal.storage.compression import clean, compress, exchange
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, Verdict, verify
from tests.integration.agents import PROGRAM, kinds, tmpfs, warnings
from tests.integration.logs import LogKeys

_PATIENCE = 180.0


class Host:
    """A configuration file, keys, and the daemon that is started with them."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.keys = LogKeys(folder / "keys")
        self.keys.write()
        self.file = folder / "epochseal.toml"
        self.said = ""

    def configure(self, *logs: str, more: str = "", top: str = "") -> None:
        """Write the file: each log has a name, a socket of that name, and more keys after a newline."""
        text = 'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n'
        text += f'commit_interval = "1ms"\n{top}'
        for log in logs:
            name, _, keys = log.partition("\n")
            text += (
                f'[[log]]\ndir = "logs/{name}"\norigin = "example.com/{name}"\n{keys}\n'
                f'[[log.source]]\nkind = "unix-stream"\npath = "{name}.sock"\nacks = true\n'
            )
        self.file.write_text(text + more, encoding="utf-8")

    @property
    def resuming(self) -> str:
        """The key that makes a restart go on with the same chain."""
        return f'runtime_dir = "{self.runtime}"'

    @contextmanager
    def daemon(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A running daemon, all of its sources open."""
        with (self.folder / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [PROGRAM, "run", "--config", self.file.name, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            self.said = (self.folder / "stderr").read_text(encoding="utf-8")

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            [PROGRAM, "run", "--config", self.file.name, *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )

    def send(self, name: str, *entries: str) -> list[str]:
        """Send entries to a log's socket, and wait until all are durable; the acknowledgements."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(_PATIENCE)
        path = os.path.relpath(self.folder / f"{name}.sock")
        wait_for(lambda: client.connect_ex(path) == 0)
        with client, client.makefile("r") as acks:
            client.sendall("".join(f"{entry}\n" for entry in entries).encode())
            lines = [acks.readline()]
            while count(lines) < len(entries):
                lines.append(acks.readline())
        return [line.strip() for line in lines]

    def verify(self, name: str) -> Verdict:
        """The verdict of one log at this moment."""
        return verify(
            self.folder / "logs" / name,
            Request(make_recoverer=self.keys.recoverer, checkpoint_key=self.keys.public),
        )

    def numbers(self, name: str) -> list[int]:
        """The segments that are there."""
        return [item.number for item in list_segments(self.folder / "logs" / name).segments]

    def events(self) -> list[dict[str, object]]:
        """What the daemon has told so far."""
        lines = (self.folder / "stderr").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def told(self, event: str) -> list[dict[str, object]]:
        """The events of one name."""
        return [item for item in self.events() if item["event"] == event]


def count(acks: list[str]) -> int:
    """How many entries some lines of `FIRST LAST` acknowledge."""
    pairs = [line.split() for line in acks]
    return sum(int(last) - int(first) + 1 for first, last in pairs)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Keys, an empty folder, a runtime directory."""
    monkeypatch.delenv("EPOCHSEAL_ENV", raising=False)
    with tmpfs() as runtime:
        yield Host(tmp_path, runtime)


# --- the configuration ------------------------------------------------------------------------------------


def test_check_of_a_backend_that_is_not_installed(host: Host) -> None:
    """--check validates an environment whose backend cannot even be loaded here, and says so."""
    staging = '[env.staging]\nepoch_key = "openbao://transit/e"\ncompress = "zstd"\n'
    host.configure("a", more=f'{staging}[env.staging.vault]\naddress = "https://bao.example:8200"\n')
    done = host.run("--check", "--env", "staging")
    assert done.returncode == 0
    assert "backends were not contacted" in done.stdout
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert ["epoch_key", "openbao://transit/e", "env.staging, line 13"] in rows
    assert ["epoch_interval", "5m", "default"] in rows
    assert ["vault.address", "https://bao.example:8200", "env.staging.vault, line 16"] in rows
    assert not (host.folder / "logs").exists()


def test_check_as_json(host: Host) -> None:
    """--json gives values as numbers, each with the place that set it."""
    host.configure("a\nsegment_bytes = '1MiB'")
    found = json.loads(host.run("--check", "--json").stdout)
    (log,) = found["logs"]
    assert log["settings"]["segment_bytes"] == {"value": 1 << 20, "text": "1MiB", "set_in": "log", "line": 7}
    assert log["sources"][0]["kind"] == "unix-stream"
    assert found["backends"] == "not contacted"


def test_wrong_file_starts_nothing(host: Host) -> None:
    """A wrong file ends the command with 2, before a directory or a socket is made."""
    host.configure("a\nsegment_byte = '1MiB'")
    done = host.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "epochseal: error: epochseal.toml:7: unknown key segment_byte in [[log]]\n"
        "epochseal: hint: did you mean segment_bytes?\n"
    )
    assert not (host.folder / "logs").exists()


def test_environments_have_their_own_keys(host: Host) -> None:
    """One file, two environments, two sets of keys: those of one do not verify the log of the other."""
    other = LogKeys(host.folder / "other", "keys of another environment")
    other.write()
    overlays = "".join(
        f'[env.{env}]\nepoch_key = "file:{keys}/agent"\ncheckpoint_key = "file:{keys}/agent"\n'
        f'[env.{env}.log.a]\ndir = "logs/{env}"\n'
        for env, keys in (("dev", "keys"), ("ci", "other"))
    )
    host.configure("a", more=overlays)
    for env in ("dev", "ci"):
        with host.daemon("--env", env) as process:
            host.send("a", "entry")
            process.terminate()
            assert process.wait(_PATIENCE) == 0
    assert host.verify("dev").verdict == "verified"
    assert host.verify("ci").verdict == "untrusted"
    host.keys = other
    assert host.verify("ci").verdict == "verified"


# --- several logs -----------------------------------------------------------------------------------------


def test_several_logs_close_cleanly(host: Host) -> None:
    """Entries reach the log of their own socket; SIGTERM closes all logs, and a restart goes on with them."""
    host.configure("a\n" + host.resuming, "b\n" + host.resuming, "c")
    for start in (0, 2):
        with host.daemon() as process:
            for name in "abc":
                assert host.send(name, name, name)[0].startswith(f"{start} ")
            process.send_signal(signal.SIGTERM if start else signal.SIGINT)
            assert process.wait(_PATIENCE) == 0
    for name in "abc":
        verdict = host.verify(name)
        assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 4, True)
        assert verdict.origin == f"example.com/{name}"
        # By the page, or by the carry in the state directory: nobody is needed.
        assert warnings(verdict) == []


def test_killed_daemon_resumes_every_log(host: Host) -> None:
    """A kill -9 is no gap in any log that has a runtime directory, which they may share."""
    host.configure("a", "b", top=host.resuming + "\n")
    for _ in range(2):
        with host.daemon() as process:
            host.send("a", "x")
            host.send("b", "y", "z")
            process.kill()
            process.wait()
    with host.daemon() as process:
        wait_for(lambda: len(host.told("started")) == 2)
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    assert [(host.verify(name).verdict, host.verify(name).entries) for name in "ab"] == [
        ("verified", 2),
        ("verified", 4),
    ]


def test_no_helper_outlives_the_daemon(host: Host) -> None:
    """All zygotes end with the daemon, however it ends, and the directories are free again at once."""
    host.configure("a", "b")
    with host.daemon() as process:
        host.send("a", "x")
        children = (
            (Path("/proc") / str(process.pid) / "task" / str(process.pid) / "children").read_text().split()
        )
        assert len(children) == 2
        process.kill()
        process.wait()
    wait_for(lambda: not any((Path("/proc") / child).exists() for child in children))
    assert host.folder.joinpath("logs/a/segments").exists()
    with host.daemon() as process:
        host.send("a", "y")
        process.terminate()
        assert process.wait(_PATIENCE) == 0


def test_busy_directory(host: Host) -> None:
    """A log that another agent holds is named, and nothing of the others is begun."""
    host.configure("a", "b")
    with host.daemon():
        host.send("b", "y")
        done = host.run()
        assert done.returncode == 6
        assert "epochseal: error: log a: another agent holds logs/a" in done.stderr
    assert host.verify("b").entries == 1


def test_standard_input_ends(host: Host) -> None:
    """When all sources have ended, the daemon closes its logs and ends with 0."""
    host.file.write_text(
        'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n[[log]]\ndir = "logs/a"\n'
        'origin = "example.com/a"\nkeep = "1d"\n[[log.source]]\nkind = "stdin"\n'
    )
    words = [PROGRAM, "run", "--config", host.file.name]
    subprocess.run(words, cwd=host.folder, input=b"one\ntwo", check=True, timeout=_PATIENCE)
    verdict = host.verify("a")
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 2, True)


# --- SIGHUP -----------------------------------------------------------------------------------------------


def test_hangup(host: Host) -> None:
    """SIGHUP begins a segment in every log, takes new limits at once, and names what needs a restart."""
    host.configure("a", "b")
    with host.daemon() as process:
        host.send("a", "x")
        host.send("b", "y")
        host.configure("a\nsegment_bytes = '20'", "b\nheartbeat = '1s'", "c")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: host.numbers("a") == [1, 2] and host.numbers("b") == [1, 2])
        for _ in range(4):
            host.send("a", "0123456789abcdef")
        wait_for(lambda: len(host.numbers("a")) >= 4)
        reasons = {item["log"]: item["reason"] for item in host.told("restart_needed")}
        assert reasons == {"b": "these changed: heartbeat", "c": "the log is new in the configuration"}
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    assert [host.verify(name).verdict for name in "ab"] == ["verified", "verified"]


def test_hangup_with_a_wrong_file(host: Host) -> None:
    """A wrong file changes nothing: what is wrong is told, and sealing goes on."""
    host.configure("a")
    with host.daemon() as process:
        host.send("a", "x")
        host.file.write_text("[[log]\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: host.numbers("a") == [1, 2])
        assert "epochseal.toml:1: not TOML" in str(host.told("not_reloaded")[0]["message"])
        host.send("a", "y")
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    assert host.verify("a").entries == 2


def test_the_daemon_uses_all_descriptors_that_it_may(host: Host) -> None:
    """A soft limit is meant for programs that `select`; tails and clients must not meet it."""
    host.configure("a")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with host.daemon() as process:
            assert host.send("a", "entry") == ["0 0"]
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# --- segments that have ended -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compression_beside_a_verifier(host: Host, kind: str) -> None:
    """Ended segments are compressed one after the other; a verifier never sees anything but a whole log."""
    host.configure(f"a\ncompress = '{kind}'\nsegment_bytes = '100'\n{host.resuming}")
    suffix = {"gzip": ".gz", "zstd": ".zst"}[kind]
    folder = host.folder / "logs/a/segments"
    with host.daemon() as process:
        for number in range(4):
            host.send("a", f"{number:0100}")
        packed = 0
        deadline = time.monotonic() + _PATIENCE
        while packed < 2:
            assert time.monotonic() < deadline
            assert kinds(host.verify("a")) == []
            packed = len(list(folder.glob(f"*.log{suffix}")))
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    verdict = host.verify("a")
    assert (verdict.verdict, verdict.entries, verdict.problems) == ("verified", 4, [])
    with host.daemon() as process:
        assert host.send("a", "later") == ["4 4"]
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    assert host.verify("a").verdict == "verified"


class CrashError(Exception):
    """Stands for a kill: nothing behind it is done."""


CALLS = [
    "os.link",
    "pathlib.Path.mkdir",
    "pathlib.Path.rename",
    "epochseal.storage.compression.sync_directory",
    "epochseal.storage.compression._swap",
    "shutil.copystat",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_crash_in_an_exchange(host: Host, monkeypatch: pytest.MonkeyPatch, call: str, *, after: bool) -> None:
    """A kill before or after any call leaves a log that verifies as it lies, and the next start tidies up."""
    host.configure("a\nsegment_bytes = '100'\n" + host.resuming)
    with host.daemon() as process:
        for number in range(3):
            host.send("a", f"{number:0100}")
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    logdir = host.folder / "logs/a"
    plain = list_segments(logdir).segments[0].logs[0]
    packed = compress(plain, "gzip", lambda: False)
    owner, _, name = call.rpartition(".")
    place = (
        importlib.import_module("pathlib").Path if owner == "pathlib.Path" else importlib.import_module(owner)
    )
    real, left = getattr(place, name), [1]

    def crashing(*args: object, **options: object) -> object:
        if left[0] and not after:
            raise CrashError
        result = real(*args, **options)
        if left[0]:
            raise CrashError
        return result

    monkeypatch.setattr(place, name, crashing)
    with pytest.raises(CrashError):
        exchange(plain, packed, "gzip")
    left[0] = 0
    verdict = host.verify("a")
    assert (verdict.verdict, kinds(verdict), verdict.entries) == ("verified", [], 3)
    clean(logdir)
    assert sorted(path.name for path in logdir.iterdir()) == ["checkpoint", "segments"]
    assert host.verify("a").verdict == "verified"


def test_file_system_without_exchange(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where directories cannot be exchanged, the segment stays as it was, and the message says what to do."""
    host.configure("a\nsegment_bytes = '100'")
    with host.daemon() as process:
        for number in range(2):
            host.send("a", f"{number:0100}")
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    plain = list_segments(host.folder / "logs/a").segments[0].logs[0]
    packed = compress(plain, "gzip", lambda: False)
    monkeypatch.setattr("epochseal.storage.exchange._RENAME_EXCHANGE", 1 << 20)
    with pytest.raises(EpochsealError, match="cannot exchange two directories: Invalid argument"):
        exchange(plain, packed, "gzip")
    assert host.verify("a").verdict == "verified"


def test_expiry_beside_the_flow(host: Host) -> None:
    """Segments older than `keep` go once a signed checkpoint covers the line that says so."""
    host.configure("a\nkeep = '1s'\nsegment_bytes = '100'\nepoch_interval = '300ms'\n" + host.resuming)
    with host.daemon() as process:
        for number in range(4):
            host.send("a", f"{number:0100}")
        wait_for(lambda: host.numbers("a")[:1] > [2])
        host.send("a", "later")
        wait_for(lambda: bool(host.told("expired")))
        process.terminate()
        assert process.wait(_PATIENCE) == 0
    verdict = host.verify("a")
    assert (verdict.verdict, warnings(verdict)) == ("verified", ["pruned", "beginning_unproven"])
