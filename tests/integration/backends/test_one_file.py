"""One configuration file for laptop, staging, production and HSM: daemon, doctor and verifier on each."""

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

from epochseal.families import FAMILIES
from tests.integration.agents import PROGRAM, wait_until
from tests.integration.key_services import ORIGIN, Role, Service, key_service

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
            text += _verifier_table(f"env.{name}.verifier", service.verifier, family)
        (folder / "epochseal.toml").write_text(text, encoding="utf-8")

    def run(self, name: str, *words: str, role: str = "agent") -> subprocess.CompletedProcess[str]:
        """A command with this environment of the file."""
        return subprocess.run(
            [PROGRAM, *words, "--config", "epochseal.toml", "--env", name],
            cwd=self.folder,
            env=self.env(name, role),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )

    def env(self, name: str, role: str = "agent") -> dict[str, str]:
        """Without backend settings: these stand in the file; a user's own credentials do not."""
        service = self.services[name]
        given = (service.agent if role == "agent" else service.verifier).env
        state = {"XDG_STATE_HOME": str(self.folder / f"state-{role}")}
        return {**{key: value for key, value in given.items() if not _PREFIX.match(key)}, **state}

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


def _verifier_table(at: str, role: Role, family: str) -> str:
    """The keys and the login of a verifier; where the backend is, is said in the agent's table."""
    text = f'\n[{at}]\nepoch_key = ["{role.epoch}"]\ncheckpoint_key = "{role.checkpoint}"\n'
    if family == "file":
        return text
    own = {key: value for key, value in role.settings(family).items() if key not in FAMILIES[family].places}
    return f"{text}\n[{at}.{family}]\n" + "".join(f"{key} = {json.dumps(own[key])}\n" for key in own)


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
    _check_as_verifier(site, name)


def _check_as_verifier(site: Site, name: str) -> None:
    """Every command that checks takes its keys and its login from the file, and none the agent's login."""
    log = f"logs-{name}"
    done = site.run(name, "verify", "--json", role="verifier")
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["problems"], verdict["entries"]) == (0, [], _ENTRIES), done.stderr
    assert (verdict["mode"], verdict["origin"]) == ("keys", ORIGIN)
    shown = site.run(name, "cat", log, "--entries", "7", role="verifier")
    assert (shown.returncode, shown.stdout) == (0, "entry 7\n"), shown.stderr
    trusted = site.run(name, "trust", log, "-o", f"{name}.trust", role="verifier")
    assert trusted.returncode == 0, trusted.stderr
    proof = site.run(name, "prove", log, "--entry", "7", "-o", f"{name}.proof", role="verifier")
    assert (proof.returncode, "was not checked" in proof.stderr) == (0, False), proof.stderr
    proven = site.run(name, "check-proof", f"{name}.proof", role="verifier")
    assert (proven.returncode, proven.stdout) == (0, "entry 7\n"), proven.stderr
    given = site.run(name, "public-key", "-o", f"{name}.vkey", role="verifier")
    assert given.returncode == 0, given.stderr
    vkey = site.folder / f"{name}.vkey"
    assert vkey.read_text() == site.run(name, "public-key", role="verifier").stdout
    assert vkey.stat().st_mode & 0o777 == 0o644
    public = subprocess.run(
        [PROGRAM, "verify", log, "--checkpoint-key", vkey, "--trust", "none", "--json"],
        cwd=site.folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert (public.returncode, json.loads(public.stdout)["mode"]) == (0, "public"), public.stderr
