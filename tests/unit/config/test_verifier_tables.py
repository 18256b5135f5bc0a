"""`[verifier]`: the keys and the login of whoever verifies, in the agent's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.api.given_keys import LogKeys, keys_of_file
from epochseal.config import Configuration, read_config
from epochseal.errors import ConfigError
from epochseal.keys import parse_key_uri

AGENT = """
epoch_key = "openbao://transit/epoch"
checkpoint_key = "openbao://transit/checkpoint"

[vault]
address = "https://bao.example:8200"
ca_file = "/etc/ca.pem"
auth = "approle"
role_id = "agent-role"
secret_id_file = "/etc/epochseal/secret-id"
"""
LOG = '\n[[log]]\ndir = "sealed/one"\norigin = "example.com/one"\n'
VERIFIER = '\n[verifier.vault]\nauth = "approle"\nrole_id = "verifier-role"\nsecret_id_env = "SECRET_ID"\n'


def _read(folder: Path, text: str, env: str | None = None, *, sealing: bool = False) -> Configuration:
    path = folder / "epochseal.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, env, sealing=sealing)


def test_the_place_is_common_and_the_login_is_not(tmp_path: Path) -> None:
    """A verifier finds the server where the agent does, and never logs in as the agent."""
    (log,) = _read(tmp_path, AGENT + VERIFIER + LOG).logs
    assert log.verifier.epoch_keys == (log.epoch_key,)
    assert log.verifier.checkpoint_key == str(log.checkpoint_key)
    assert log.verifier.backend_settings["vault"] == {
        "address": "https://bao.example:8200",
        "ca_file": "/etc/ca.pem",
        "auth": "approle",
        "role_id": "verifier-role",
        "secret_id_env": "SECRET_ID",
    }
    (log,) = _read(tmp_path, AGENT + LOG).logs
    assert set(log.verifier.backend_settings["vault"]) == {"address", "ca_file"}
    assert not log.verifier.own


def test_the_agent_is_not_handed_it(tmp_path: Path) -> None:
    """What the agent's backends are handed is the same with and without the verifier's tables."""
    (without,) = _read(tmp_path, AGENT + LOG).logs
    (log,) = _read(tmp_path, AGENT + VERIFIER + LOG).logs
    assert log.backend_settings == without.backend_settings
    assert not any("verifier" in name for name in log.values)


def test_levels(tmp_path: Path) -> None:
    """The verifier's tables lie over each other as the others do: top, overlay, log, the log's overlay."""
    text = (
        AGENT
        + VERIFIER
        + '[verifier]\nepoch_key = ["file:keys/old", "file:keys/verifier"]\n'
        + LOG
        + '[log.verifier]\ncheckpoint_key = "one.vkey"\n'
        + '[env.ci.vault]\naddress = "https://ci.example"\n[env.ci.verifier.vault]\nrole_id = "ci-role"\n'
    )
    (log,) = _read(tmp_path, text).logs
    assert log.verifier.epoch_keys == tuple(map(parse_key_uri, ("file:keys/old", "file:keys/verifier")))
    assert log.verifier.checkpoint_key == "one.vkey"
    assert log.verifier.backend_settings == {}
    text = text.replace('[verifier]\nepoch_key = ["file:keys/old", "file:keys/verifier"]\n', "")
    (log,) = _read(tmp_path, text, "ci").logs
    found = log.verifier.values
    assert (found["vault.address"].value, found["vault.role_id"].value) == ("https://ci.example", "ci-role")
    assert found["vault.secret_id_env"].origin.place == "top level"
    assert found["vault.role_id"].origin.place == "env.ci.verifier.vault"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[verifier]\nepoch_keys = "file:x"\n', "did you mean epoch_key?"),
        ('[verifier.vault]\nrol_id = "x"\n', "did you mean role_id?"),
        ('[verifier.vault]\nsecret_id = "x"\n', "secrets are not read from this file"),
        ('[verifier]\nepoch_key = ["openbao://transit/a?token=x"]\n', "holds a secret (token=…)"),
        ('[verifier]\nepoch_key = "opnbao://transit/a"\n', "did you mean openbao?"),
        ("[verifier]\nepoch_key = []\n", "no key is named"),
    ],
)
def test_mistakes(tmp_path: Path, more: str, says: str) -> None:
    """A mistake in the verifier's tables is told with its line, by every command that reads the file."""
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, AGENT + more + LOG)
    assert says in f"{caught.value} {caught.value.hint}"
    assert f"epochseal.toml:{AGENT.count(chr(10)) + 1}" in str(caught.value) or "toml:1" in str(caught.value)


def test_a_source_is_needed_to_seal_alone(tmp_path: Path) -> None:
    """A verifier's file needs no source; the daemon's does."""
    assert not _read(tmp_path, AGENT + LOG).logs[0].sources
    with pytest.raises(ConfigError, match="log one has no source"):
        _read(tmp_path, AGENT + LOG, sealing=True)


def test_which_log(tmp_path: Path) -> None:
    """By the log's directory; a copy by its origin; the only log of a file needs neither."""
    one = _read(tmp_path, AGENT + VERIFIER + LOG)
    assert keys_of_file(one, Path("elsewhere"), LogKeys()).origin == "example.com/one"
    two = _read(tmp_path, AGENT + VERIFIER + LOG + LOG.replace("one", "two"))
    assert keys_of_file(two, Path("sealed/../sealed/two"), LogKeys()).origin == "example.com/two"
    assert keys_of_file(two, Path("copy"), LogKeys(origin="example.com/two")).origin == "example.com/two"
    with pytest.raises(ConfigError, match="does not say which of its logs") as caught:
        keys_of_file(two, Path("copy"), LogKeys())
    assert "example.com/one in sealed/one, example.com/two in sealed/two" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="is for origin"):
        keys_of_file(two, Path("sealed/one"), LogKeys(origin="example.com/two"))


def test_an_option_comes_first(tmp_path: Path) -> None:
    """A key of the command line takes the place of the file's, with the file's login."""
    config = _read(tmp_path, AGENT + VERIFIER + LOG)
    given = LogKeys(checkpoint_key="one.vkey", epoch_keys=(parse_key_uri("openbao://transit/old"),))
    keys = keys_of_file(config, None, given)
    assert (keys.checkpoint_key, keys.epoch_keys) == (given.checkpoint_key, given.epoch_keys)
    assert keys.settings_of(given.epoch_keys[0])["role_id"] == "verifier-role"
