"""`epochseal rotate` with keys in tokens: a new wrapping pair under another label, a new signing pair."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests import warm_program
from tests.backends_under_test.softhsm import SoftHSM, make_roles
from tests.backends_under_test.variables import variables
from tests.integration.agents import tmpfs

ORIGIN = "example.com/rotated"


def run(*words: str, data: bytes = b"") -> bytes:
    """What a command prints; it must end with 0."""
    named = variables("pkcs11", SoftHSM.shared().settings)
    done = warm_program.run(words, data=data, env=os.environ | named)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_other_keys(tmp_path: Path) -> None:
    """Both keys are replaced; with the verifier's token and either checkpoint key the log verifies."""
    hsm = SoftHSM.shared()
    roles = make_roles(hsm)
    roles.verifier.generate("epoch2", "p256", "derive")
    roles.verifier.copy_public("epoch2", roles.agent)
    roles.agent.generate("checkpoint2", "p256", "sign")
    roles.agent.copy_public("checkpoint2", roles.verifier)
    labels = {"epoch": "epoch", "checkpoint": "checkpoint"}
    config, log = tmp_path / "epochseal.toml", tmp_path / "log"
    settings = "".join(f'{name} = "{value}"\n' for name, value in hsm.settings.items())
    with tmpfs() as runtime:
        for key in ("", "checkpoint", "epoch"):
            config.write_text(
                "".join(f'{name}_key = "{roles.agent.uri(label)}"\n' for name, label in labels.items())
                + f'runtime_dir = "{runtime}"\n[pkcs11]\n{settings}'
                f'[[log]]\nname = "app"\ndir = "{log}"\norigin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n'
            )
            if key:
                labels[key] = f"{key}2"
                words = ["--reason", "a test", f"--{key}-key", roles.agent.uri(labels[key])]
                run("rotate", "--config", str(config), *words)
            keys = [word for name in labels for word in (f"--{name}-key", roles.agent.uri(labels[name]))]
            run(
                "seal", str(log), "--origin", ORIGIN, *keys, "--runtime-dir", str(runtime), data=b"one\ntwo\n"
            )
    recovering = [
        word for label in ("epoch", "epoch2") for word in ("--epoch-key", roles.verifier.uri(label))
    ]
    for named in ("checkpoint", "checkpoint2"):
        words = [*recovering, "--checkpoint-key", roles.verifier.uri(named), "--strict"]
        found = json.loads(run("verify", "--json", str(log), *words))
        told = [item["kind"] for item in found["warnings"] if item["kind"] != "pinned"]
        assert (found["verdict"], told, found["entries"]) == ("verified", [], 6)
        assert [item["key"] for item in found["rotations"]] == ["checkpoint", "epoch"]
