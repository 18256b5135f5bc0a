"""What a refusal of a real OpenBao server, or of what stands before it, is taken for, and what it advises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.config import read_config
from epochseal.doctor.key_checks import ask_backends
from epochseal.errors import ConfigError, CredentialRefused, Denied, Unavailable
from epochseal.keys import parse_key_uri, recover_one
from epochseal_backends.vault import backend as vault
from tests.backends_under_test.answers import Answers
from tests.backends_under_test.openbao import OpenBao, Provisioned
from tests.contract.backend_contract import CONTEXT
from tests.secret_file import write_secret


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="module")
def keys(bao: OpenBao) -> Provisioned:
    """Keys and roles that no test changes."""
    return bao.provision("refusals", CONTEXT.origin)


@pytest.mark.parametrize("status", [403, 404])
def test_a_page_of_a_proxy_is_an_outage(tmp_path: Path, status: int) -> None:
    """No role and no key is refused by it: the log goes on, and no policy is advised."""
    write_secret(tmp_path / "token", "s.x")
    with Answers(status, {"Content-Type": "text/html"}, b"<h1>nginx</h1>") as server:
        settings = {"address": server.address, "token_file": str(tmp_path / "token")}
        issuer = vault.issuer(parse_key_uri("openbao://transit/x"), settings)
        with pytest.raises(Unavailable, match=f"answered transit/keys/x with {status}") as refused:
            issuer.issue(CONTEXT, memoryview(bytearray(32)))
        signer = vault.signer(parse_key_uri("openbao://transit/x"), settings)
        with pytest.raises(Unavailable):
            signer.sign(b"x")
    assert "proxy" in str(refused.value.hint)


@pytest.mark.parametrize("status", [200, 403, 500, 502])
@pytest.mark.parametrize("body", [b'["x"]', b'"bad gateway"', b"7", b"[" * 5000 + b"]" * 5000], ids=len)
def test_json_of_another_form_is_an_outage(tmp_path: Path, status: int, body: bytes) -> None:
    """What says no errors in an object of JSON is not the server, and ends no log, however deep it is."""
    write_secret(tmp_path / "token", "s.x")
    with Answers(status, {"Content-Type": "application/json"}, body) as server:
        settings = {"address": server.address, "token_file": str(tmp_path / "token")}
        issuer = vault.issuer(parse_key_uri("openbao://transit/x"), settings)
        with pytest.raises(Unavailable):
            issuer.issue(CONTEXT, memoryview(bytearray(32)))


def test_https_to_a_server_without_tls(tmp_path: Path) -> None:
    """The hint is about scheme and port, not about an authority."""
    write_secret(tmp_path / "token", "s.x")
    with Answers(200, {}) as server:
        address = server.address.replace("http:", "https:")
        settings = {"address": address, "token_file": str(tmp_path / "token")}
        with pytest.raises(Unavailable) as refused:
            vault.issuer(parse_key_uri("openbao://transit/x"), settings).issue(
                CONTEXT, memoryview(bytearray(32))
            )
    assert "scheme and port" in str(refused.value.hint)


def test_keys_of_a_wrong_kind_are_said_at_once(bao: OpenBao, tmp_path: Path) -> None:
    """An hmac key and a KV engine are named as what they are: nothing is tried again."""
    bao.make_mount("kinds")
    bao.request("POST", "kinds/keys/mac", {"type": "hmac", "key_size": 32}, token=bao.root_token)
    bao.request("POST", "sys/mounts/kv", {"type": "kv"}, token=bao.root_token)
    write_secret(tmp_path / "token", bao.root_token)
    settings = bao.settings(token_file=str(tmp_path / "token"))
    for uri, found in (("openbao://kinds/mac", "hmac"), ("openbao://kv/epoch", "kv")):
        key = parse_key_uri(uri)
        with pytest.raises(ConfigError, match=found):
            vault.issuer(key, settings).issue(CONTEXT, memoryview(bytearray(32)))
        with pytest.raises(ConfigError, match=found):
            vault.public_key(key, settings)


def test_an_agent_that_recovers_is_told_to_log_in_as_the_verifier(keys: Provisioned) -> None:
    """The hint never says to give the agent the right that its role must not have."""
    uri = parse_key_uri(keys.epoch_uri)
    issued = vault.issuer(uri, keys.agent).issue(CONTEXT, memoryview(bytearray(32)))
    with pytest.raises(Denied, match="may not recover") as refused:
        recover_one(vault.recoverer(uri, keys.agent), issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    assert str(refused.value.hint).startswith("log in as the verifier")
    assert "capabilities" not in str(refused.value.hint)


def test_the_doctor_gives_a_wrong_secret_id_once(bao: OpenBao, keys: Provisioned, tmp_path: Path) -> None:
    """Five wrong ones lock the role: the doctor gives one, for two keys, and its advice names a lockout."""
    wrong = tmp_path / "secret-id"
    write_secret(wrong, "00000000-0000-0000-0000-000000000000")
    settings = keys.agent | {"secret_id_file": str(wrong)}
    path = tmp_path / "epochseal.toml"
    lines = [f'epoch_key = "{keys.epoch_uri}"', f'checkpoint_key = "{keys.checkpoint_uri}"', "[vault]"]
    lines += [f'{name} = "{value}"' for name, value in settings.items()]
    lines += ["[[log]]", 'dir = "logs"', f'origin = "{CONTEXT.origin}"', "[[log.source]]", 'kind = "stdin"']
    path.write_text("\n".join(lines))
    before = _logins(bao)
    (found,) = ask_backends("log a", read_config(path).logs[0])
    assert _logins(bao) - before == 1
    assert (found.outcome, found.refused) == ("wrong", True)
    assert "locks the role" in str(found.hint)
    with pytest.raises(CredentialRefused):
        vault.public_key(parse_key_uri(keys.checkpoint_uri), settings)


def _logins(bao: OpenBao) -> int:
    lines = bao.trail.read_text().splitlines()
    return sum('"type":"request"' in line and '"path":"auth/approle/login"' in line for line in lines)
