"""A log sealed with keys in tokens, from the command line to the verdict."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.backends_under_test.softhsm import MODULE, Roles, SoftHSM, SoftToken, make_roles
from tests.secret_file import write_secret

ENTRIES = 4000
SPY = next(Path("/usr/lib").glob("*/pkcs11/pkcs11-spy.so"))
"""A module of OpenSC that writes down each call and passes it on."""


def test_log_over_a_rotation(tmp_path: Path) -> None:
    """Sealed over a rotation of the wrapping key, it verifies with the verifier's PIN, with many jobs too."""
    hsm = SoftHSM.shared()
    roles = make_roles(hsm)
    log = tmp_path / "log"
    _seal(roles, log, 0)
    roles.verifier.generate("epoch", "p256", "derive", "02")
    roles.verifier.copy_public("epoch", roles.agent, "02")
    _seal(roles, log, ENTRIES // 2)
    for jobs in ("1", "3"):
        done = _verify(log, roles.verifier, "--jobs", jobs)
        verdict = json.loads(done.stdout)
        assert (done.returncode, verdict["verdict"], verdict["entries"]) == (0, "verified", ENTRIES), verdict
        assert verdict["epochs"] >= 10
        assert verdict["segments"] >= 4
    keys = {line.split('"key":"')[1].split('"')[0] for line in _headers(log)}
    assert len(keys) == 2
    refused = _verify(log, roles.agent)
    assert refused.returncode == 77
    assert "may not recover epoch secrets" in refused.stderr
    stranger = hsm.token("stranger")
    stranger.generate("epoch", "p256", "derive")
    roles.agent.copy_public("checkpoint", stranger)
    assert _verify(log, stranger).returncode == 4


def test_wrong_pin_reaches_the_token_once(tmp_path: Path) -> None:
    """Neither the agent nor a verifier with jobs gives a token a second wrong PIN: logins are counted."""
    hsm = SoftHSM.shared()
    roles = make_roles(hsm)
    log, wrong = tmp_path / "log", tmp_path / "wrong"
    write_secret(wrong, "141421")
    _seal(roles, log, 0)
    for command in (
        ["seal", str(tmp_path / "new"), "--origin", "example.com/hsm"],
        ["verify", str(log), "--jobs", "3"],
    ):
        party = roles.agent if command[0] == "seal" else roles.verifier
        query = f"?module-path={SPY}&pin-source=file:{wrong}"
        keys = [
            "--epoch-key",
            party.uri("epoch") + query,
            "--checkpoint-key",
            party.uri("checkpoint") + query,
        ]
        calls = tmp_path / f"calls-{command[0]}"
        environment = os.environ | {"PKCS11SPY": str(MODULE), "PKCS11SPY_OUTPUT": str(calls)}
        done = subprocess.run(
            ["epochseal", *command, *keys],
            input="an entry\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 77, done.stderr
        assert "refuses the PIN (PinIncorrect)" in done.stderr
        assert "141421" not in done.stderr
        assert calls.read_text().count("C_Login\n") == 1


def _seal(roles: Roles, log: Path, first: int) -> None:
    lines = "".join(f"entry {number} of a log in a token\n" for number in range(first, first + ENTRIES // 2))
    command = ["epochseal", "seal", str(log), "--origin", "example.com/hsm", *_keys(roles.agent)]
    sizes = ["--epoch-max-entries", "400", "--block-bytes", "1KiB", "--segment-bytes", "24KiB"]
    done = subprocess.run(
        [*command, *sizes], input=lines, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def _verify(log: Path, token: SoftToken, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["epochseal", "verify", str(log), "--json", *_keys(token), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _keys(token: SoftToken) -> list[str]:
    query = f"?module-path={MODULE}&pin-source=file:{token.hsm.pin_file}"
    return ["--epoch-key", token.uri("epoch") + query, "--checkpoint-key", token.uri("checkpoint") + query]


def _headers(log: Path) -> list[str]:
    seals = sorted((log / "segments").glob("*.seal"))
    return [line for path in seals for line in path.read_text().splitlines() if line.startswith("epoch ")]
