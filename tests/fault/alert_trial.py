"""Each alert of deploy/prometheus in a real run of agents, a monitor and a Prometheus.

`python -m tests.fault.alert_trial` says of each alert how many seconds after its cause it fired. The rules
are the given ones, but for their times: what waits for minutes there waits for seconds (`_hastened`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.backends_under_test.ports import free_port
from tests.integration.agents import PROGRAM, tmpfs, wait_until
from tests.integration.logs import LogKeys, LogWriter, entry

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "epochseal.rules.yml"
_PATIENCE = 300.0
_SCRUB_SECONDS = 60


def _hastened(rules: str) -> str:
    """The rules with seconds in the place of minutes; a period of the scrub is what it is."""
    rules = re.sub(r"for: \d+m", "for: 2s", rules)
    for given, short in (("> 300", "> 20"), ("> 120", "> 8"), ("> 1800", "> 3"), ("[5m]", "[25s]")):
        assert given in rules
        rules = rules.replace(given, short)
    return rules.replace("[1h]", "[60s]").replace("offset 1h", "offset 60s")


class Daemon:
    """An agent of one log, whose lines come from a file that it follows."""

    def __init__(self, folder: Path, runtime: Path, name: str) -> None:
        self.folder, self.log, self.name = folder / name, folder / name / name, name
        self.folder.mkdir()
        (runtime / name).mkdir(mode=0o700)
        self.keys = LogKeys(self.folder / "keys", name)
        self.keys.write()
        shutil.copytree(self.keys.directory / "agent", self.keys.directory / "signer")
        self.port = free_port()
        self.file = self.folder / "app.log"
        self.file.write_text("the first line\n", encoding="ascii")
        text = f'runtime_dir = "{runtime / name}"\nepoch_key = "file:keys/agent"\n'
        text += 'checkpoint_key = "file:keys/signer"\nstate_dir = "state"\nepoch_interval = "2s"\n'
        text += f'max_overdue = "20s"\n[metrics]\nlisten = "127.0.0.1:{self.port}"\n'
        text += f'[[log]]\ndir = "{name}"\norigin = "example.com/{name}"\n'
        text += f'[[log.source]]\nkind = "tail"\npaths = ["{self.file}"]\n'
        (self.folder / "epochseal.toml").write_text(text, encoding="ascii")
        self.start()

    def start(self) -> None:
        """Begin, or go on; its log is there then."""
        with (self.folder / "stderr").open("ab") as stderr:
            words = [PROGRAM, "run", "--config", "epochseal.toml"]
            self.process = subprocess.Popen(words, cwd=self.folder, stderr=stderr)
        wait_until((self.log / "checkpoint").exists)

    def end(self, how: signal.Signals) -> None:
        """By this signal."""
        self.process.send_signal(how)
        self.process.wait(_PATIENCE)

    def table(self, *lines: str) -> str:
        """What the monitor is told of it."""
        return _table(self.log, self.keys, *lines)


def _table(log: Path, keys: LogKeys, *lines: str) -> str:
    text = f'[[monitor.log]]\ndir = "{log}"\nepoch_key = "file:{keys.directory / "verifier"}"\n'
    return text + f'checkpoint_key = "file:{keys.directory / "auditor"}"\n' + "".join(f"{x}\n" for x in lines)


class Prometheus:
    """A server that scrapes each second, and holds the rules against what it finds."""

    def __init__(self, folder: Path, agents: list[int], monitor: int) -> None:
        self._folder, self._agents, self._monitor = folder, agents, monitor
        self._port = free_port()
        (folder / "rules.yml").write_text(_hastened(RULES.read_text(encoding="utf-8")), encoding="utf-8")
        self.configure(monitored=False)
        with (folder / "prometheus.stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stderr=stderr,
            )

    def configure(self, *, monitored: bool) -> None:
        """Write its configuration."""
        jobs = [{"job_name": "epochseal", "static_configs": [_targets(self._agents)]}]
        if monitored:
            jobs.append({"job_name": "epochseal-monitor", "static_configs": [_targets([self._monitor])]})
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": jobs,
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="ascii")

    def take_up(self) -> None:
        """Read the configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def firing(self) -> set[str]:
        """The names of the alerts that fire now, each with its log, stream or instance."""
        found = set()
        with suppress(OSError):
            url = f"http://127.0.0.1:{self._port}/api/v1/alerts"
            with urllib.request.urlopen(url, timeout=10) as answer:
                alerts = json.load(answer)["data"]["alerts"]
            for alert in alerts:
                labels = alert["labels"]
                what = labels.get("log") or labels.get("origin") or labels.get("instance") or ""
                if alert["state"] == "firing":
                    found.add(f"{labels['alertname']} {Path(what).name}")
        return found

    def end(self) -> None:
        """At the end of all."""
        self._process.terminate()
        self._process.wait(_PATIENCE)


def _targets(ports: list[int]) -> dict[str, list[str]]:
    return {"targets": [f"127.0.0.1:{port}" for port in ports]}


class Trial:
    """The story at the top of this file."""

    def __init__(self, folder: Path, runtime: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._agents = {
            name: Daemon(folder, runtime, name)
            for name in ("quiet", "cut", "aside", "changed", "keyless", "unsigned")
        }
        for agent in self._agents.values():
            stack.callback(_kill, agent)
        self._closed = {name: self._write(name) for name in ("tampered", "untrusted", "incomplete", "unread")}
        self._port = free_port()
        self._config = folder / "monitor.toml"
        text = f'[monitor]\ninterval = "1s"\nscrub = "{_SCRUB_SECONDS}s"\nstate_dir = "{folder / "state"}"\n'
        text += f'listen = "127.0.0.1:{self._port}"\nexpected = ["example.com/quiet", "example.com/gone"]\n'
        text += "".join(agent.table() for agent in self._agents.values())
        text += self._told("tampered") + self._told("untrusted", 'origin = "example.com/another"')
        text += self._told("incomplete", 'max_age = "1m"') + self._told("unread")
        self._config.write_text(text, encoding="utf-8")
        ports = [agent.port for agent in self._agents.values()]
        self._prometheus = Prometheus(folder, ports, self._port)
        stack.callback(self._prometheus.end)
        self.fired: list[tuple[str, float]] = []
        self.late: list[str] = []

    def _write(self, name: str) -> LogWriter:
        keys = LogKeys(self._folder / f"keys-{name}", name)
        keys.write()
        writer = LogWriter(self._folder / name, keys, name).start("genesis")
        writer.block(entry(1))
        return writer if name == "incomplete" else writer.turn("segment").close()

    def _told(self, name: str, *lines: str) -> str:
        return _table(self._folder / name, self._closed[name].keys, *lines)

    def run(self, stack: ExitStack) -> None:
        """All of it."""
        fires = self._fires
        fires("EpochsealMonitorAbsent ")
        shutil.rmtree(self._closed["unread"].keys.directory / "verifier")
        with (self._folder / "monitor.stderr").open("wb") as stderr:
            monitor = subprocess.Popen([PROGRAM, "monitor", "--config", str(self._config)], stderr=stderr)
        stack.callback(_kill_process, monitor)
        self._prometheus.configure(monitored=True)
        self._prometheus.take_up()
        fires("EpochsealUntrusted untrusted", "EpochsealIncomplete incomplete", "EpochsealStale incomplete")
        fires("EpochsealStreamMissing gone", "EpochsealNotExamined unread", "EpochsealNeverRan unread")
        quiet = self._prometheus.firing()
        with _scrubless(monitor.pid):
            self._flip(self._folder / "tampered")
            fires("EpochsealTampered tampered")
            self._hurt_agents()
            fires("EpochsealScrubBehind tampered")
        os.kill(monitor.pid, signal.SIGSTOP)
        fires(f"EpochsealMonitorStopped 127.0.0.1:{self._port}")
        os.kill(monitor.pid, signal.SIGCONT)
        # Of the logs to which nothing was done nothing was told before, nor is at the end.
        for alert in quiet | self._prometheus.firing():
            if alert.endswith(" quiet"):
                self.late.append(f"{alert} fired, and had no reason")

    def _hurt_agents(self) -> None:
        fires, agents = self._fires, self._agents
        agents["cut"].file.write_text("x\n", encoding="ascii")
        fires("EpochsealSourceGap cut")
        agents["cut"].end(signal.SIGKILL)
        fires(f"EpochsealAgentDown 127.0.0.1:{agents['cut'].port}", "EpochsealStale cut")
        aside = agents["aside"]
        aside.end(signal.SIGKILL)
        with max(aside.log.glob("segments/*.log")).open("ab") as file:
            file.write(b"a line that nobody has sealed\n")
        aside.start()
        fires("EpochsealSetAside aside")
        changed = agents["changed"]
        changed.end(signal.SIGTERM)
        for path in changed.log.glob("segments/*"):
            path.unlink()
        changed.start()
        fires("EpochsealTamperedAtStart changed")
        (agents["unsigned"].keys.directory / "signer").rename(agents["unsigned"].keys.directory / "away")
        fires("EpochsealUnsigned unsigned")
        keyless = agents["keyless"]
        (keyless.keys.directory / "agent").rename(keyless.keys.directory / "away")
        fires("EpochsealBackendRefuses keyless", "EpochsealEpochOverdue keyless")
        fires("EpochsealAgentUnhealthy keyless", "EpochsealAgentStandsStill keyless")

    @staticmethod
    def _flip(log: Path) -> None:
        path = min(log.glob("segments/*.log"))
        held = path.read_bytes()
        path.write_bytes(bytes([held[0] ^ 1]) + held[1:])

    def _fires(self, *alerts: str) -> None:
        """Wait until each of these fires."""
        began, waiting = time.monotonic(), set(alerts)
        while waiting and time.monotonic() < began + _PATIENCE:
            for alert in waiting & self._prometheus.firing():
                self.fired.append((alert, time.monotonic() - began))
                sys.stderr.write(f"{alert}: {time.monotonic() - began:.1f} s\n")
                waiting.remove(alert)
            time.sleep(0.2)
        self.late += [f"{alert} does not fire" for alert in waiting]


@contextmanager
def _scrubless(monitor: int) -> Iterator[None]:
    """The lane of the scrub stands still."""
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text(encoding="ascii").split()
    # In the order in which they were made.
    scrub = int(sorted(children, key=int)[2])
    os.kill(scrub, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(scrub, signal.SIGCONT)


def _kill(agent: Daemon) -> None:
    _kill_process(agent.process)


def _kill_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def main() -> None:
    """Say what fired when; status 1 if one did not."""
    with TemporaryDirectory(dir="/dev/shm") as made, tmpfs() as runtime, ExitStack() as stack:
        trial = Trial(Path(made), runtime, stack)
        trial.run(stack)
        named = {
            rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
        }
        trial.late += [
            f"{name} was not tried" for name in named - {what.split()[0] for what, _ in trial.fired}
        ]
        lines = [f"{seconds:6.1f} s {alert}" for alert, seconds in trial.fired] + trial.late
        sys.stdout.write("\n".join((*lines, "")))
        sys.exit(bool(trial.late))


if __name__ == "__main__":
    main()
