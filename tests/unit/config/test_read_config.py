from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.config import Configuration, read_config
from epochseal.config.toml_positions import KeyLines
from epochseal.errors import ConfigError

VECTORS = Path(__file__).parents[2] / "vectors" / "config"
KEYS = 'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n'
LOG = '[[log]]\ndir = "sealed/one"\norigin = "example.com/one"\n[[log.source]]\nkind = "stdin"\n'


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHSEAL_ENV", raising=False)


def _read(folder: Path, text: str, env: str | None = None) -> Configuration:
    path = folder / "epochseal.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, env)


def _refusal(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    env = first.removeprefix("# --env ") if first.startswith("# --env ") else None
    with pytest.raises(ConfigError) as caught:
        read_config(Path(path.name), env)
    return f"error: {caught.value}\nhint: {caught.value.hint}\n"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.toml")), ids=lambda path: path.stem)
def test_wrong_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake is refused with what is wrong, the file and the line, and what to do."""
    monkeypatch.chdir(VECTORS)
    assert _refusal(path) == path.with_suffix(".expect").read_text(encoding="utf-8")


def test_there_are_vectors() -> None:
    """The mistakes are really there to be tried, each with what is expected."""
    names = {path.stem for path in VECTORS.glob("*.toml")}
    assert len(names) >= 20
    assert names == {path.stem for path in VECTORS.glob("*.expect")}


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*-in-*.toml")), ids=lambda path: path.stem)
def test_secret_is_not_repeated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message about a secret does not hold it: messages end up in logs."""
    monkeypatch.chdir(VECTORS)
    refusal = _refusal(path)
    assert not any(secret in refusal for secret in ("not-a-real-token", "1234", "not-real", "not one"))


def test_levels(tmp_path: Path) -> None:
    """The nearest level counts, and each value says which it was and on which line."""
    own = LOG.replace("[[log.source]]", 'heartbeat = "3s"\nsegment_bytes = 2048\n[[log.source]]')
    text = (
        f'commit_interval = "1ms"\nheartbeat = "2s"\nsegment_bytes = "1MiB"\nblock_bytes = "8KiB"\n'
        f"{KEYS}{own}"
        '[env.ci]\nheartbeat = "4s"\ncommit_interval = "5ms"\n[env.ci.log.one]\nsegment_bytes = "3MiB"\n'
    )
    (log,) = _read(tmp_path, text, "ci").logs
    found = {key: (log.values[key].value, log.values[key].origin.place) for key in log.values}
    assert found["epoch_interval"] == (300_000, "default")
    assert found["block_bytes"] == (8192, "top level")
    assert found["commit_interval"] == (5, "env.ci")
    # The overlay of the top level is still the top level: what the log itself says is nearer.
    assert found["heartbeat"] == (3000, "log")
    assert found["segment_bytes"] == (3 << 20, "env.ci.log.one")
    assert log.values["segment_bytes"].origin.line == text.count("\n")


def test_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file serves several environments with different keys; EPOCHSEAL_ENV or --env chooses."""
    text = LOG + "".join(
        f'[env.{name}]\nepoch_key = "file:keys/{name}"\ncheckpoint_key = "file:keys/{name}"\n'
        for name in ("dev", "ci")
    )
    monkeypatch.setenv("EPOCHSEAL_ENV", "ci")
    assert str(_read(tmp_path, text).logs[0].epoch_key) == "file:keys/ci"
    assert str(_read(tmp_path, text, "dev").logs[0].epoch_key) == "file:keys/dev"
    monkeypatch.delenv("EPOCHSEAL_ENV")
    with pytest.raises(ConfigError, match="epoch_key is missing"):
        _read(tmp_path, text)


def test_sources_of_an_overlay(tmp_path: Path) -> None:
    """An overlay that names sources replaces those of the log."""
    text = KEYS + LOG + '[[env.ci.log.one.source]]\nkind = "tail"\npaths = ["/var/log/ci.log"]\n'
    kinds = [type(_read(tmp_path, text, env).logs[0].sources[0]).__name__ for env in (None, "ci")]
    assert kinds == ["StdinTable", "TailTable"]


def test_all_kinds_of_sources(tmp_path: Path) -> None:
    """Every kind is read with all of its keys."""
    sources = (
        'kind = "stdin"',
        'kind = "tail"\npaths = ["/var/log/a*.log", "/var/log/b.log"]',
        'kind = "unix-stream"\npath = "/run/a.sock"\nmode = "660"\nacks = true',
        'kind = "unix-datagram"\npath = "/run/b.sock"',
        'kind = "syslog"\nlisten = "[::1]:6514"\ntls = { cert = "c.pem", key = "k.pem", client_ca = "a" }',
        'kind = "journald"\nunits = ["a.service"]\ndirectory = "/var/log/journal"',
    )
    text = (
        KEYS + '[[log]]\ndir = "d"\norigin = "o"\n' + "".join(f"[[log.source]]\n{item}\n" for item in sources)
    )
    (log,) = _read(tmp_path, text).logs
    assert len(log.sources) == len(sources)


def test_linked_directory(tmp_path: Path) -> None:
    """Two names of one directory are one directory."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to("one")
    logs = "".join(
        f'[[log]]\ndir = "{tmp_path / name}"\norigin = "example.com/{name}"\n[[log.source]]\n'
        'kind = "tail"\npaths = ["/var/log/a.log"]\n'
        for name in ("one", "two")
    )
    with pytest.raises(ConfigError, match="is the directory of log one"):
        _read(tmp_path, KEYS + logs)


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that is missing, or no text, is named."""
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"\n')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        read_config(tmp_path / "latin.toml")


def test_token_label_is_no_secret(tmp_path: Path) -> None:
    """`token=` in a pkcs11 URI is the label of a token (RFC 7512)."""
    uri = "pkcs11:token=seal;object=epoch?pin-source=file:/run/pin"
    (log,) = _read(tmp_path, f'epoch_key = "{uri}"\n{KEYS.splitlines()[1]}\n{LOG}').logs
    assert str(log.epoch_key) == uri


LAYOUTS = '''
# a comment with [brackets] = "no"
top = 1
"quoted.key" = 2
dotted.a.b = 3
text = """
[not.a.table]
x = "\\""" still"""
raw = \'\'\'
y = 1\'\'\'
list = [ # comment ]
  "a]", [1,
  2], { k = [3,
  4] },
]
inline = { a = 1, b = { c = "}" } }
[table]
key = 2026-01-01 07:32:00
[[many]]
n = 1
[many.sub]
s = 1
[[many]]
n = 2
[[many.deep]]
d = 1
[ "spaced" . name ]
z = 1
'''


def test_lines() -> None:
    """The line of every key is found, however the file is laid out."""
    lines = KeyLines(LAYOUTS)
    expected = {
        ("top",): 3,
        ("quoted.key",): 4,
        ("dotted", "a", "b"): 5,
        ("text",): 6,
        ("raw",): 9,
        ("list",): 11,
        ("list", 0): 12,
        ("list", 1, 1): 13,
        ("list", 2, "k", 1): 14,
        ("inline", "b", "c"): 16,
        ("table",): 17,
        ("table", "key"): 18,
        ("many", 0, "n"): 20,
        ("many", 0, "sub", "s"): 22,
        ("many", 1): 23,
        ("many", 1, "n"): 24,
        ("many", 1, "deep", 0, "d"): 26,
        ("spaced", "name", "z"): 28,
        ("spaced", "name", "absent"): 27,
        ("absent",): 1,
    }
    assert {path: lines.line(path) for path in expected} == expected


@pytest.mark.parametrize(
    "uri", ["openbao://transit", "hashivault:transit/x", "awskms://host", "pkcs11:", "openbao://transit/"]
)
def test_a_uri_that_names_no_key(tmp_path: Path, uri: str) -> None:
    """It is refused by --check already, with the form that it should have."""
    text = f'epoch_key = "{uri}"\ncheckpoint_key = "file:keys"\n'
    log = '[[log]]\ndir = "a"\norigin = "example.com/a"\n[[log.source]]\nkind = "stdin"\n'
    with pytest.raises(ConfigError) as refused:
        _read(tmp_path, text + log)
    assert ":1: epoch_key: " in str(refused.value)
    assert refused.value.hint


def test_environments_are_listed_where_one_is_missing(tmp_path: Path) -> None:
    """A key that only environments set: the hint is which there are, not to add it."""
    text = (
        '[[log]]\ndir = "a"\norigin = "example.com/a"\n[[log.source]]\nkind = "stdin"\n'
        '[env.prod]\nepoch_key = "file:k"\ncheckpoint_key = "file:k"\n[env.test]\nepoch_key = "file:k"\n'
    )
    with pytest.raises(ConfigError, match="epoch_key is missing") as refused:
        _read(tmp_path, text)
    assert refused.value.hint == "choose an environment of this file: --env prod or --env test"
