"""The service files, checked by the programs that read them, and the daemon's side of what they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.backends_under_test.ports import free_port
from tests.integration.agents import PROGRAM, Place, kinds, tmpfs
from tests.integration.logs import ORIGIN
from tests.integration.systemd_analyze import check_exposure, check_units

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
UNITS = ["epochseal.service", "epochseal@.service"]


def settings(name: str) -> dict[str, str]:
    """The settings of a unit; of one that stands there twice, all of it."""
    found: dict[str, str] = {}
    for line in (DEPLOY / "systemd" / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key] = f"{found[key]} {value}" if key in found else value
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with the program where it is on this machine."""
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")
        assert "ExecStart=/usr/bin/epochseal run " in text
        (tmp_path / name).write_text(text.replace("/usr/bin/epochseal", PROGRAM), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_a_key_never_leaves_memory(name: str) -> None:
    """No core, no swap, memory to lock, no privilege; the runtime directory outlives the process.

    The state is the agent's alone, and a refused credential is not tried again and again.
    """
    unit = settings(name)
    wanted = {
        "LimitCORE": "0",
        "LimitMEMLOCK": "8M",
        "MemorySwapMax": "0",
        "LimitNOFILE": "65536",
        "RuntimeDirectoryPreserve": "yes",
        "KillMode": "mixed",
        "CapabilityBoundingSet": "",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "StateDirectoryMode": "0700",
        "RestartPreventExitStatus": "2 77",
    }
    assert {key: unit[key] for key in wanted} == wanted
    assert unit["User"] != "root"


def test_an_instance_differs_only_in_its_places() -> None:
    """Configuration, state and runtime directory have the instance's name; all else is the same."""
    single, instance = (settings(name) for name in UNITS)
    differing = {key for key in single if single[key] != instance[key]}
    assert single.keys() == instance.keys()
    assert differing == {"Description", "ExecStart", "StateDirectory", "RuntimeDirectory"}
    assert all("%i" in instance[key] for key in differing)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(installed: Path, name: str) -> None:
    """`systemd-analyze verify` is silent, and the exposure is low."""
    text = (installed / name).read_text(encoding="utf-8")
    assert len(re.findall(r"^\[(Unit|Service|Install)\]$", text, re.MULTILINE)) == 3
    check_units(installed / name)
    check_exposure(installed / name)


def test_a_drop_in_shows_one_device(installed: Path) -> None:
    """The unit is taken with hsm.conf by systemd, and sees no device but the one that is named."""
    drop_in = installed / "epochseal.service.d" / "hsm.conf"
    drop_in.parent.mkdir()
    shutil.copy(DEPLOY / "systemd" / "hsm.conf", drop_in)
    shown, unit = settings("hsm.conf"), settings("epochseal.service")
    assert (shown["PrivateDevices"], shown["DeviceAllow"]) == ("no", "/dev/tpmrm0 rw")
    assert (unit["PrivateDevices"], unit["DevicePolicy"]) == ("yes", "closed")
    assert "DevicePolicy" not in shown
    check_units(installed / "epochseal.service")


def test_logrotate_takes_the_example(tmp_path: Path) -> None:
    """Rotation is by renaming; logrotate itself reads the file, and renames a log by it."""
    text = (DEPLOY / "logrotate" / "epochseal").read_text(encoding="utf-8")
    rules = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
    assert "copytruncate" not in rules
    assert {"compress", "delaycompress"} <= set(rules)
    if (logrotate := shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        return
    log = tmp_path / "audit.log"
    log.write_bytes(b"line\n")
    # The service and its group are made up: what is left is what logrotate does with the file.
    text = text.replace("/var/log/myservice/audit.log", str(log)).replace(" myservice epochseal", "")
    text = re.sub(r"systemctl kill .*", "true", text)
    config = tmp_path / "epochseal"
    config.write_text(text, encoding="utf-8")
    config.chmod(0o644)
    tmp_path.chmod(0o755)
    words = [logrotate, "--force", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "audit.log.1").read_bytes() == b"line\n"
    assert log.read_bytes() == b""


# --- the daemon's side ------------------------------------------------------------------------------------


class Service:
    """The daemon as a service manager has it: told by datagrams, asked by HTTP, read on stderr."""

    def __init__(
        self,
        folder: Path,
        log: Path,
        place: Place,
        watchdog: str = "400000",
        program: Sequence[str] = (PROGRAM,),
    ) -> None:
        self.input = folder / "input.log"
        self.input.touch()
        self.port = free_port()
        self._stderr = folder / "journal"
        key = f"file:{place.keys.directory / 'agent'}"
        self.config = folder / "epochseal.toml"
        self.config.write_text(
            f"""epoch_key = "{key}"
checkpoint_key = "{key}"
runtime_dir = "{place.runtime}"
[metrics]
listen = "127.0.0.1:{self.port}"
[[log]]
name = "app"
dir = "{log}"
origin = "{ORIGIN}"
[[log.source]]
kind = "tail"
paths = ["{self.input}"]
""",
            encoding="utf-8",
        )
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(30)
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*program, "run", "--config", str(self.config)],
                env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": watchdog},
                stderr=stderr,
            )

    def heard(self, field: str) -> dict[str, str]:
        """The next message with this field; those before it are passed over."""
        while True:
            message = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            if field in message:
                return message

    def health(self) -> tuple[int, dict[str, list[str]]]:
        """What `/healthz` says."""
        url = f"http://127.0.0.1:{self.port}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.status, json.load(answer)["logs"]
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)["logs"]

    def until(self, status: int, reasons: list[str]) -> None:
        """Wait for this health."""
        deadline = time.monotonic() + 30
        while self.health() != (status, {"app": reasons}):
            assert time.monotonic() < deadline, (self.health(), self.events())
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """The value of a metric without labels but `log`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            (value,) = re.findall(rf'^{name}{{log="app"}} (\S+)$', answer.read().decode(), re.MULTILINE)
        return float(value)

    def events(self) -> list[str]:
        """The events of its own log, each line of which must be JSON."""
        return [json.loads(line)["event"] for line in self._stderr.read_bytes().splitlines()]

    def append(self, data: bytes) -> None:
        """What the service writes into the file that is tailed."""
        with self.input.open("ab") as file:
            file.write(data)

    def close(self) -> None:
        """End it if it still runs."""
        self.process.kill()
        self.process.wait()
        self._socket.close()


@contextmanager
def service(folder: Path, log: Path) -> Iterator[tuple[Service, Place]]:
    """A running daemon that has said that it is ready."""
    with tmpfs() as runtime:
        place = Place(folder, runtime)
        place.log = log
        started = Service(folder, log, place)
        try:
            assert started.heard("READY")["STATUS"]
            started.until(200, [])
            yield started, place
        finally:
            started.close()


_SLOW_FIRST_LOOK = """
import sys, time
from epochseal.sources.tail import TailSource
look = TailSource.tick
def late(tail):
    TailSource.tick = look
    time.sleep(1.0)
    look(tail)
TailSource.tick = late
from epochseal.__main__ import main
sys.exit(main())
"""


def test_what_is_rotated_once_it_is_ready_was_seen(tmp_path: Path) -> None:
    """A file that moves away under a name that nobody foresees as soon as the daemon is ready."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        daemon = Service(tmp_path, tmp_path / "log", place, program=(sys.executable, "-c", _SLOW_FIRST_LOOK))
        try:
            daemon.append(b"before\n" * 10)
            daemon.heard("READY")
            daemon.input.rename(tmp_path / "moved")
            daemon.append(b"after\n")
            deadline = time.monotonic() + 180
            while daemon.metric("epochseal_entries_total") < 11:
                assert time.monotonic() < deadline, daemon.events()
                time.sleep(0.05)
        finally:
            daemon.close()


def test_the_manager_is_told_of_every_step(tmp_path: Path) -> None:
    """Ready, alive, reloading, ready, stopping; then a clean end, and a log that verifies."""
    with service(tmp_path, tmp_path / "log") as (daemon, place):
        daemon.append(b"one\ntwo\n")
        assert daemon.heard("WATCHDOG") == {"WATCHDOG": "1"}
        daemon.process.send_signal(signal.SIGHUP)
        assert int(daemon.heard("RELOADING")["MONOTONIC_USEC"]) > 0
        daemon.heard("READY")
        deadline = time.monotonic() + 30
        while daemon.metric("epochseal_entries_total") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.heard("STOPPING")
        assert daemon.process.wait(30) == 0
        assert {"started", "reloaded", "closed"} <= set(daemon.events())
        assert b"one" not in (tmp_path / "journal").read_bytes()
        assert (place.verify().verdict, place.entries()) == ("verified", b"one\ntwo\n")


def test_a_service_on_a_full_disk_says_so_and_recovers(tmp_path: Path) -> None:
    """503 and one event while there is no room, the watchdog content; then 200, and all of it sealed once."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "epochseal-test", str(disk)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(
            f"a full disk is tried on a tmpfs of its own, and mounting one was refused: {done.stderr}"
        )
    try:
        with service(tmp_path, disk / "log") as (daemon, place):
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
            sent = b"".join(b"entry %d ".ljust(4000, b".") % number + b"\n" for number in range(50))
            daemon.append(sent)
            daemon.until(503, ["no_room"])
            daemon.heard("WATCHDOG")
            assert daemon.metric("epochseal_stalled_seconds") > 0
            assert daemon.metric("epochseal_entries_total") < 50
            ballast.unlink()
            daemon.until(200, [])
            deadline = time.monotonic() + 30
            while daemon.metric("epochseal_entries_total") < 50:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(30) == 0
            assert [name for name in daemon.events() if "room" in name] == ["no_room", "room_again"]
            verdict = place.verify()
            assert (verdict.verdict, kinds(verdict), place.entries()) == ("verified", [], sent)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
