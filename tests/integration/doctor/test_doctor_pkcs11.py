from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.backends_under_test.softhsm import SoftHSM, make_roles
from tests.contract.pkcs11.parties import party

PROGRAM = str(Path(sys.executable).with_name("epochseal"))


def test_doctor_on_a_token(tmp_path: Path) -> None:
    """Both keys in one token of a real HSM library: all calls are made in turn, and nothing is wrong."""
    agent = party(make_roles(SoftHSM.shared()).agent)
    settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in agent.settings.items())
    (tmp_path / "epochseal.toml").write_text(
        f"epoch_key = {json.dumps(agent.epoch_uri)}\ncheckpoint_key = {json.dumps(agent.checkpoint_uri)}\n"
        f'[pkcs11]\n{settings}[[log]]\ndir = "logs"\norigin = "example.com/hsm"\n'
        '[[log.source]]\nkind = "stdin"\n'
    )
    done = subprocess.run(
        [PROGRAM, "doctor", "--config", "epochseal.toml", "--json"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = [item for item in json.loads(done.stdout)["checks"] if item["part"] == "log logs"]
    good = {item["topic"] for item in checks if item["outcome"] == "good"}
    assert good >= {"epoch secrets are issued", "recovery is refused", "checkpoint key is there"}
    assert not [item for item in checks if item["outcome"] == "wrong"]
