"""One configuration file for laptop, staging, production and HSM: the daemon and the doctor on each."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.agents import PROGRAM, wait_until
from tests.integration.key_services import ORIGIN, Service, key_service

ENVIRONMENTS = {"dev": "file", "staging": "vault", "prod": "aws", "hsm": "pkcs11"}
_PREFIX = re.compile(r"EPOCHSEAL_(?:VAULT|AWS|PKCS11)_")
_PATIENCE = 120.0
_ENTRIES = 300


class Site:
    """The file, the services, and a folder to work in."""

    def __init__(self, folder: Path, services: Mapping[str, Service]) -> None:
        self.folder, self.services = folder, services
        text = f"""
commit_interval = "1ms"
epoch_max_entries = 100

[[log]]
dir = "logs"
origin = "{ORIGIN}"

[[log.source]]
kind = "unix-stream"
path = "s"
acks = true
"""
        for name, service in services.items():
            agent = service.agent
            text += f'\n[env.{name}]\nepoch_key = "{agent.epoch}"\ncheckpoint_key = "{agent.checkpoint}"\n'
            text += f'\n[env.{name}.log.logs]\ndir = "logs-{name}"\n'
            if (family := ENVIRONMENTS[name]) != "file":
                text += f"\n[env.{name}.{family}]\n{agent.table(family)}"
        (folder / "epochseal.toml").write_text(text, encoding="utf-8")

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command with this environment of the file."""
        return subprocess.run(
            [PROGRAM, *words, "--config", "epochseal.toml", "--env", name],
            cwd=self.folder,
            env=self.env(name),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )

    def env(self, name: str) -> dict[str, str]:
        """Without backend settings: these stand in the file; a user's own credentials do not."""
        given = self.services[name].agent.env
        return {key: value for key, value in given.items() if not _PREFIX.match(key)}

    def seal(self, name: str) -> None:
        """Have the daemon seal some entries."""
        with (self.folder / f"stderr-{name}").open("wb") as stderr:
            process = subprocess.Popen(
                [PROGRAM, "run", "--config", "epochseal.toml", "--env", name],
                cwd=self.folder,
                env=self.env(name),
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            path = os.path.relpath(self.folder / "s")
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_PATIENCE)
                wait_until(lambda: client.connect_ex(path) == 0)
                client.sendall(b"".join(b"entry %d\n" % number for number in range(_ENTRIES)))
                with client.makefile("r") as acks:
                    while int(acks.readline().split()[1]) < _ENTRIES - 1:
                        pass
            process.terminate()
            assert process.wait(_PATIENCE) == 0, (self.folder / f"stderr-{name}").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All four services run."""
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(key_service(family, tmp_path_factory.mktemp(name)))
            for name, family in ENVIRONMENTS.items()
        }
        yield Site(tmp_path_factory.mktemp("site"), services)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_environment(site: Site, name: str) -> None:
    """Checked, found good by the doctor, sealed by the daemon, verified with the verifier's credential."""
    service, family = site.services[name], ENVIRONMENTS[name]
    shown = site.run(name, "run", "--check", "--json")
    assert shown.returncode == 0, shown.stderr
    (log,) = json.loads(shown.stdout)["logs"]
    expected = {
        ("epoch_key", service.agent.epoch, f"env.{name}"),
        ("checkpoint_key", service.agent.checkpoint, f"env.{name}"),
    }
    expected |= {
        (f"{family}.{setting}", text, f"env.{name}.{family}")
        for setting, text in service.agent.settings(family).items()
    }
    assert expected == {
        (setting, found["value"], found["set_in"])
        for setting, found in log["settings"].items()
        if found["set_in"].startswith("env.") and setting != "dir"
    }
    checked = site.run(name, "doctor", "--json")
    findings = json.loads(checked.stdout)
    assert checked.returncode == 0, [item for item in json.dumps(findings).split("{") if '"wrong"' in item]
    site.seal(name)
    verifier = service.verifier
    done = subprocess.run(
        [PROGRAM, "verify", str(site.folder / f"logs-{name}"), *verifier.keys, "--json"],
        env=verifier.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["problems"], verdict["entries"]) == (0, [], _ENTRIES)
