"""The PKCS#11 backend with modules that nobody here wrote it for: NSS's softokn, p11-kit's proxy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends_under_test.other_modules import Module, nss, proxy
from tests.secret_file import write_secret

ENTRIES = "".join(f"entry {number}\n" for number in range(200))
MODULES: dict[str, Callable[[Path], Module]] = {"nss": nss, "p11-kit proxy": proxy}


@pytest.fixture(scope="module", params=list(MODULES))
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """One of them, with provisioned tokens."""
    return MODULES[request.param](tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def log(module: Module, tmp_path: Path) -> Path:
    """200 entries in several epochs, sealed with the agent's token."""
    path = tmp_path / "log"
    pace = ["--epoch-max-entries", "50", "--block-bytes", "100B"]
    origin = ["--origin", "example.com/module"]
    done = module.run("agent", "seal", str(path), *origin, *pace, *module.keys("agent"), data=ENTRIES)
    assert done.returncode == 0, done.stderr
    return path


def test_each_role_does_its_part(module: Module, log: Path) -> None:
    """The verifier recovers and finds all; the agent's token recovers nothing; the auditor's has the key."""
    done = module.run("verifier", "verify", str(log), "--json", *module.keys("verifier"))
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["verdict"], verdict["entries"]) == (0, "verified", 200)
    assert verdict["epochs"] >= 2
    refused = module.run("agent", "verify", str(log), *module.keys("agent"))
    assert refused.returncode == 77
    assert "may not recover epoch secrets" in refused.stderr
    public = module.run("auditor", "verify", str(log), "--json", *module.keys("auditor")[2:])
    assert (public.returncode, json.loads(public.stdout)["mode"]) == (0, "public")


def test_a_wrong_pin_and_then_the_right_one(module: Module, tmp_path: Path) -> None:
    """The wrong one is refused after one try, with the token's name, and locks nobody out."""
    wrong = tmp_path / "wrong"
    write_secret(wrong, "no such pin")
    words = ["seal", str(tmp_path / "log"), "--origin", "example.com/module", *module.keys("agent")]
    done = module.run("agent", *words, pin=wrong, data="a\n")
    assert done.returncode == 77
    assert f"token '{module.tokens['agent']}' refuses the PIN" in done.stderr
    assert module.run("agent", *words, data="a\n").returncode == 0


def test_doctor_sees_the_named_token(module: Module, tmp_path: Path) -> None:
    """Tokens whose serial numbers are equal are told apart: each finding is about the one of the URI."""
    _, epoch, _, checkpoint = module.keys("agent")
    path = tmp_path / "epochseal.toml"
    path.write_text(
        f'epoch_key = "{epoch}"\ncheckpoint_key = "{checkpoint}"\n'
        '[[log]]\ndir = "log"\norigin = "example.com/module"\n[[log.source]]\nkind = "stdin"\n'
        f'[pkcs11]\nmodule = "{module.path}"\npin_file = "{module.pins["agent"]}"\n'
    )
    done = module.run("agent", "doctor", "--config", str(path), "--json")
    found = {check["topic"]: check for check in json.loads(done.stdout)["checks"]}
    for topic in ("epoch secrets are issued", "recovery is refused", "agent can sign", "agent can issue"):
        assert found[topic]["outcome"] == "good", found[topic]
    assert module.tokens["agent"] in found["agent cannot recover"]["detail"]


def test_what_nss_lacks_is_named(tmp_path: Path) -> None:
    """It makes no Ed25519 keys (3.87): the script says which mechanism is missing, and what else there is."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        nss(tmp_path, signing="ed25519")
    assert "EDWARDS" in failed.value.stderr, failed.value.stderr
