"""`epochseal rotate` with a real OpenBao server: other versions of both keys, recorded and not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends_under_test.openbao import OpenBao, Provisioned, environment
from tests.integration.agents import tmpfs
from tests.warm_program import run

ORIGIN = "example.com/rotated"


class Versions:
    """One log whose keys lie in transit; the agent names one version of the checkpoint key."""

    def __init__(self, folder: Path, bao: OpenBao, runtime: Path) -> None:
        self.bao = bao
        self.keys: Provisioned = bao.provision("rotated", ORIGIN)
        self.log, self._folder, self._runtime = folder / "log", folder, runtime
        self.signer = self.keys.checkpoint_uri

    def run(self, role: str, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A command with one role's credentials."""
        settings: dict[str, str] = getattr(self.keys, role)
        return run(words, data=data, env=environment(settings))

    def seal(self) -> None:
        """Two entries, by an agent with the keys of now."""
        done = self.run(
            "agent",
            "seal",
            str(self.log),
            "--origin",
            ORIGIN,
            "--epoch-key",
            self.keys.epoch_uri,
            "--checkpoint-key",
            self.signer,
            "--runtime-dir",
            str(self._runtime),
            data=b"one\ntwo\n",
        )
        assert done.returncode == 0, done.stderr

    def new_version(self, uri: str) -> None:
        """What an administrator does in the backend."""
        self.bao.request("POST", f"{self.keys.mount}/keys/{uri.rpartition('/')[2]}/rotate", {})
        self.bao.allow_versions(self.keys, ORIGIN, 1, 2)

    def rotate(self, option: str, uri: str) -> None:
        """Record it, with the agent's credentials."""
        config = self._folder / "epochseal.toml"
        settings = "".join(f'{name} = "{value}"\n' for name, value in self.keys.agent.items())
        config.write_text(
            f'epoch_key = "{self.keys.epoch_uri}"\ncheckpoint_key = "{self.signer}"\n'
            f'runtime_dir = "{self._runtime}"\n[vault]\n{settings}[[log]]\nname = "app"\ndir = "{self.log}"\n'
            f'origin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n'
        )
        done = self.run("agent", "rotate", "--config", str(config), "--reason", "a version", option, uri)
        assert done.returncode == 0, done.stderr

    def verify(self, checkpoint_key: str, *options: str) -> Any:  # noqa: ANN401  # what the command printed
        """The verdict with the verifier's credentials."""
        words = ["--epoch-key", self.keys.epoch_uri, "--checkpoint-key", checkpoint_key, *options]
        return json.loads(self.run("verifier", "verify", "--json", str(self.log), *words).stdout)


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    """A closed log under the first versions of both keys."""
    with tmpfs() as runtime, OpenBao(tmp_path / "bao") as bao:
        made = Versions(tmp_path, bao, runtime)
        made.seal()
        yield made


def test_versions_of_both_keys(versions: Versions) -> None:
    """A new version changes nothing until it is recorded; with any version named the log verifies."""
    first, second = versions.keys.checkpoint_uri, f"{versions.keys.checkpoint_uri}?version=2"
    versions.new_version(first)
    versions.seal()
    assert versions.verify(first, "--strict")["verdict"] == "verified"
    versions.rotate("--checkpoint-key", second)
    versions.signer = second
    versions.seal()
    versions.new_version(versions.keys.epoch_uri)
    versions.seal()
    found = versions.verify(first)
    assert [item["kind"] for item in found["warnings"]] == ["rotation_unrecorded"]
    assert versions.verify(first, "--strict")["verdict"] == "incomplete"
    versions.rotate("--epoch-key", versions.keys.epoch_uri)
    versions.seal()
    for named in (first, second):
        found = versions.verify(named, "--strict")
        assert (found["verdict"], found["warnings"], found["entries"]) == ("verified", [], 10)
        assert [item["key"] for item in found["rotations"]] == ["checkpoint", "epoch"]
    old, new = found["rotations"][1]["old"], found["rotations"][1]["new"]
    assert (old.split(":")[:2], new.split(":")[:2]) == (["vault", "v1"], ["vault", "v2"])
