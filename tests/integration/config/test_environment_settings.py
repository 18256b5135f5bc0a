from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("epochseal"))
KEYS = ("--epoch-key", "openbao://transit/epoch", "--checkpoint-key", "openbao://transit/checkpoint")
COMMANDS = {
    "seal": ("seal", "logs", "--origin", "example.com/env", *KEYS),
    "exec": ("exec", "logs", "--origin", "example.com/env", *KEYS, "--", "true"),
    "verify": ("verify", "logs", *KEYS),
    "verify a checkpoint key": ("verify", "logs", *KEYS[2:]),
    "cat": ("cat", "logs", *KEYS),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_read_the_settings(tmp_path: Path, name: str) -> None:
    """Each command without a file reads the variables before it calls a backend, and refuses a wrong one."""
    done = subprocess.run(
        [PROGRAM, *COMMANDS[name]],
        cwd=tmp_path,
        env={**os.environ, "EPOCHSEAL_VAULT_ADRESS": "https://127.0.0.1:1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "environment variable EPOCHSEAL_VAULT_ADRESS names no setting" in done.stderr
    assert "did you mean EPOCHSEAL_VAULT_ADDRESS?" in done.stderr
    assert not (tmp_path / "logs").exists()
