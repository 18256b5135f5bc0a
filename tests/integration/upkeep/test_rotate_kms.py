"""`epochseal rotate` with AWS KMS (moto's server): another epoch key and another P-256 checkpoint key."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests import warm_program
from tests.backends_under_test.kms import KmsServer, running_kms
from tests.backends_under_test.variables import variables
from tests.integration.agents import tmpfs

ORIGIN = "example.com/rotated"


def run(kms: KmsServer, role: str, *words: str, data: bytes = b"") -> bytes:
    """What a command with one role's credentials prints; it must end with 0."""
    env = {**os.environ, **kms.environ, **variables("aws", kms.settings(role))}
    done = warm_program.run(words, data=data, env=env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_other_keys(tmp_path: Path) -> None:
    """Both keys are replaced; with both epoch keys and either checkpoint key the log verifies."""
    with tmpfs() as runtime, running_kms(tmp_path) as kms:
        new_epoch = f"awskms:///{kms.create_key(KeyUsage='ENCRYPT_DECRYPT')}"
        new_signer = f"awskms:///{kms.create_key(KeySpec='ECC_NIST_P256', KeyUsage='SIGN_VERIFY')}"
        epoch, signer, log = kms.epoch_uri, kms.checkpoint_uri, tmp_path / "log"
        config = tmp_path / "epochseal.toml"
        settings = "".join(f'{name} = "{value}"\n' for name, value in kms.settings("agent").items())
        for option, uri in (("", ""), ("--checkpoint-key", new_signer), ("--epoch-key", new_epoch)):
            config.write_text(
                f'epoch_key = "{epoch}"\ncheckpoint_key = "{signer}"\n'
                f'runtime_dir = "{runtime}"\n[aws]\n{settings}'
                f'[[log]]\nname = "app"\ndir = "{log}"\norigin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n'
            )
            if option:
                run(kms, "agent", "rotate", "--config", str(config), "--reason", "a test", option, uri)
            signer = uri if option == "--checkpoint-key" else signer
            epoch = uri if option == "--epoch-key" else epoch
            words = ["--epoch-key", epoch, "--checkpoint-key", signer, "--runtime-dir", str(runtime)]
            run(kms, "agent", "seal", str(log), "--origin", ORIGIN, *words, data=b"one\ntwo\n")
        recovering = ["--epoch-key", kms.epoch_uri, "--epoch-key", new_epoch]
        for named in (kms.checkpoint_uri, new_signer):
            words = [*recovering, "--checkpoint-key", named, "--strict"]
            found = json.loads(run(kms, "verifier", "verify", "--json", str(log), *words))
            # The first of the two that looks remembers the log from then on.
            told = [item["kind"] for item in found["warnings"] if item["kind"] != "pinned"]
            assert (found["verdict"], told, found["entries"]) == ("verified", [], 6)
            assert [item["key"] for item in found["rotations"]] == ["checkpoint", "epoch"]
