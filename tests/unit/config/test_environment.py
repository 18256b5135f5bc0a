from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from epochseal.config import LogConfig, read_config
from epochseal.config.environment import settings_from_environment
from epochseal.errors import ConfigError
from epochseal.families import FAMILIES, ways_to
from epochseal.keys import parse_key_uri, settings_of

SOURCE = '[[log.source]]\nkind = "stdin"\n'
LOG = '[[log]]\ndir = "sealed/one"\norigin = "example.com/one"\n'
VAULT = 'epoch_key = "openbao://transit/epoch"\ncheckpoint_key = "hashivault://transit/checkpoint"\n'
MIXED = 'epoch_key = "awskms:///alias/epoch"\ncheckpoint_key = "pkcs11:token=seal;object=checkpoint"\n'
FILE = 'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n'


def _read(folder: Path, text: str, env: str | None = None) -> LogConfig:
    path = folder / "epochseal.toml"
    path.write_text(text, encoding="utf-8")
    (log,) = read_config(path, env).logs
    return log


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHSEAL_ENV", raising=False)


def test_every_setting_of_every_family(tmp_path: Path) -> None:
    """All names are taken, as text; a flag becomes `true` or `false`."""
    for family, row in FAMILIES.items():
        secrets = {name for secret in row.secrets for name in ways_to(secret)[1:]}
        wanted = {name: f"X_{name}" for name in row.settings if name not in secrets}
        special = {
            "address": "https://b:8200",
            "endpoint": "http://[::1]:4566/x",
            "auth": "cert",
            "fips": "true",
        }
        wanted |= {name: value for name, value in special.items() if name in wanted}
        lines = "".join(
            f"{name} = {value}\n" if name == "fips" else f'{name} = "{value}"\n'
            for name, value in wanted.items()
        )
        keys = VAULT if family == "vault" else MIXED
        log = _read(tmp_path, f"{keys}[{family}]\n{lines}{LOG}{SOURCE}")
        assert log.backend_settings.get(family) == wanted
        for name in secrets:
            log = _read(tmp_path, f'{keys}[{family}]\n{name} = "X"\n{LOG}{SOURCE}')
            assert log.backend_settings == {family: {name: "X"}}


def test_nearest_table_counts(tmp_path: Path) -> None:
    """Each setting comes from the last table that sets it, and says which that was and on which line."""
    text = (
        f'{VAULT}[vault]\naddress = "https://top:1"\nnamespace = "top"\nca_file = "/top.pem"\nrole = "top"\n'
        f'{LOG}[log.vault]\nca_file = "/log.pem"\nrole = "log"\n{SOURCE}'
        '[env.prod.vault]\nnamespace = "env"\nrole = "env"\n[env.prod.log.one.vault]\nrole = "env-log"\n'
    )
    values = _read(tmp_path, text, "prod").values
    found = {key: (values[key].text, values[key].origin.place) for key in values if "." in key}
    assert found == {
        "vault.address": ("https://top:1", "top level"),
        "vault.namespace": ("env", "env.prod.vault"),
        "vault.ca_file": ("/log.pem", "log"),
        "vault.role": ("env-log", "env.prod.log.one.vault"),
    }
    assert values["vault.role"].origin.line == text.count("\n")


def test_a_nearer_place_of_a_secret_is_the_only_one(tmp_path: Path) -> None:
    """An overlay that names a secret in another way replaces the outer way, and does not add a second."""
    text = (
        f'{VAULT}[vault]\nsecret_id_file = "/a"\ntoken_env = "T"\n{LOG}{SOURCE}'
        '[env.prod.vault]\nsecret_id_credential = "b"\n'
    )
    assert _read(tmp_path, text).backend_settings["vault"] == {"secret_id_file": "/a", "token_env": "T"}
    assert _read(tmp_path, text, "prod").backend_settings["vault"] == {
        "secret_id_credential": "b",
        "token_env": "T",
    }


def test_a_backend_sees_its_own_family_alone(tmp_path: Path) -> None:
    """With keys in two families each is handed its own table; a table that no key needs is handed to none."""
    tables = '[vault]\naddress = "https://v"\n[aws]\nregion = "eu-central-1"\n[pkcs11]\npin_file = "/pin"\n'
    log = _read(tmp_path, f"{MIXED}{tables}{LOG}{SOURCE}")
    assert settings_of(log.epoch_key, log.backend_settings) == {"region": "eu-central-1"}
    assert settings_of(log.checkpoint_key, log.backend_settings) == {"pin_file": "/pin"}
    assert not any(key.startswith("vault.") for key in log.values)
    log = _read(tmp_path, f"{FILE}{tables}{LOG}{SOURCE}")
    assert log.backend_settings == {}
    assert settings_of(log.epoch_key, {"vault": {"address": "x"}}) == {}


# --- the environment --------------------------------------------------------------------------------------


def _environment(variables: Mapping[str, str], *uris: str) -> dict[str, dict[str, str]]:
    keys = [parse_key_uri(uri) for uri in uris or ("openbao://transit/epoch", "file:keys/agent")]
    found = settings_from_environment(*keys, environ=variables)
    return {family: dict(settings) for family, settings in found.items()}


def test_settings_of_the_environment() -> None:
    """The variables of the families that the keys need are read; all others are left alone."""
    variables = {
        "EPOCHSEAL_VAULT_ADDRESS": "https://bao.example:8200",
        "EPOCHSEAL_VAULT_SECRET_ID_FILE": "/run/secret",
        "EPOCHSEAL_VAULT_NAMESPACE": "",
        "EPOCHSEAL_AWS_NONSENSE": "1",
        "EPOCHSEAL_ENV": "prod",
        "VAULT_ADDR": "https://other",
    }
    wanted = {"address": "https://bao.example:8200", "secret_id_file": "/run/secret"}
    assert _environment(variables) == {"vault": wanted}
    assert _environment(variables, "file:keys/agent") == {}


def test_two_families_of_the_environment() -> None:
    """Keys of two families bring the variables of both."""
    variables = {"EPOCHSEAL_AWS_FIPS": "true", "EPOCHSEAL_PKCS11_MODULE": "/m.so"}
    found = _environment(variables, "awskms:///alias/a", "pkcs11:token=a;object=b")
    assert found == {"aws": {"fips": "true"}, "pkcs11": {"module": "/m.so"}}


@pytest.mark.parametrize(
    ("variable", "text", "message", "hint"),
    [
        ("VAULT_ADRESS", "https://a", "EPOCHSEAL_VAULT_ADRESS names no setting", "EPOCHSEAL_VAULT_ADDRESS?"),
        ("VAULT_TOKEN", "hvs.secret", "EPOCHSEAL_VAULT_TOKEN is a secret", "EPOCHSEAL_VAULT_TOKEN_FILE"),
        ("VAULT_AUTH", "ldap", "EPOCHSEAL_VAULT_AUTH is none of the words", "write token, approle"),
        ("VAULT_ADDRESS", "bao:8200", "EPOCHSEAL_VAULT_ADDRESS is not the URL", "https://HOST:PORT"),
        ("VAULT_ADDRESS", "https://u:secret@b", "EPOCHSEAL_VAULT_ADDRESS holds a user name", "no secret"),
        ("VAULT_JWT_ENV", "hvs.secret", "EPOCHSEAL_VAULT_JWT_ENV is not the name", "MY_VARIABLE"),
        ("VAULT_ROLE", "a\nb", "EPOCHSEAL_VAULT_ROLE is empty, or holds a control", "leave it out"),
    ],
)
def test_wrong_variable(variable: str, text: str, message: str, hint: str) -> None:
    """A variable that cannot be meant is refused by name, with what to do, and its value is not repeated."""
    with pytest.raises(ConfigError, match=message) as caught:
        _environment({f"EPOCHSEAL_{variable}": text})
    assert hint in str(caught.value.hint)
    assert "secret" not in str(caught.value).replace("is a secret", "")
    assert text not in str(caught.value)
