"""`[monitor]` and `[[monitor.log]]`: what is in force, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.config.monitor_settings import MonitorConfig, read_monitor_config
from epochseal.errors import ConfigError

_LOG = '[[monitor.log]]\ndir = "/logs/*"\ncheckpoint_key = "file:keys/auditor"\n'


def _read(folder: Path, text: str, env: str | None = None) -> MonitorConfig:
    path = folder / "monitor.toml"
    path.write_text(text)
    return read_monitor_config(path, env)


def test_a_file_of_its_own(tmp_path: Path) -> None:
    """Defaults, units, and the keys of each table: without an epoch key, public."""
    config = _read(
        tmp_path,
        '[monitor]\ninterval = "2s"\nstate_dir = "/state"\nexpected = ["example.com/a"]\n'
        f'{_LOG}max_age = "10m"\n'
        '[[monitor.log]]\ndir = "/more"\nepoch_key = ["openbao://transit/e", "file:old"]\n'
        'checkpoint_key = "a.vkey"\n[monitor.log.vault]\naddress = "https://bao"\n',
    )
    assert [config.number(name) for name in ("interval", "scrub", "scrub_share")] == [2000, 86_400_000, 25]
    assert (config.state_dir, config.expected, config.listen) == (Path("/state"), ("example.com/a",), None)
    first, second = config.logs
    assert (first.pattern, first.max_age, first.keys.epoch_keys) == ("/logs/*", 600_000, ())
    assert [str(uri) for uri in second.keys.epoch_keys] == ["openbao://transit/e", "file:old"]
    assert second.keys.backend_settings["vault"]["address"] == "https://bao"


def test_overlays(tmp_path: Path) -> None:
    """Single values over those of the file; the logs of an overlay in the place of all others."""
    text = f'[monitor]\nstate_dir = "/state"\nscrub = "1h"\n{_LOG}[env.prod.monitor]\nscrub = "2h"\n'
    text += '[[env.prod.monitor.log]]\ndir = "/prod"\ncheckpoint_key = "p.vkey"\n'
    assert _read(tmp_path, text).number("scrub") == 3_600_000
    config = _read(tmp_path, text, "prod")
    assert (config.number("scrub"), config.state_dir) == (7_200_000, Path("/state"))
    assert [log.pattern for log in config.logs] == ["/prod"]


def test_the_logs_of_an_agent(tmp_path: Path) -> None:
    """Without a table of its own it takes each `[[log]]`, with the verifier's keys; no name is a pattern."""
    config = _read(
        tmp_path,
        'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n'
        '[verifier]\nepoch_key = "file:keys/verifier"\n'
        '[[log]]\nname = "a"\ndir = "/logs/[a]"\norigin = "example.com/a"\n',
    )
    (log,) = config.logs
    assert (log.pattern, log.origin) == ("/logs/[[]a]", "example.com/a")
    assert [str(uri) for uri in log.keys.epoch_keys] == ["file:keys/verifier"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no [[monitor.log]], and no [[log]]"),
        ('[monitor]\nintervall = "5s"\n' + _LOG, ":2: unknown key intervall"),
        ("[monitor]\ninterval = 5\n" + _LOG, ":2: interval must be text in quotes, not a whole number"),
        ('[monitor]\ninterval = "5ms"\n' + _LOG, ":2: interval: must be at least 1s"),
        ('[monitor]\nscrub = "5s"\n' + _LOG, ":2: scrub: must be at least 1m"),
        ("[monitor]\nscrub_share = 101\n" + _LOG, ":2: scrub_share: must be 1 to 100"),
        ('[monitor]\nstate_dir = "state"\n' + _LOG, ":2: state_dir: must be an absolute path"),
        ('[monitor]\nlisten = "9600"\n' + _LOG, ":2: '9600' is not an address to listen on"),
        ('[monitor]\nexpected = ["a b"]\n' + _LOG, ":2: expected: "),
        ("[monitor]\non_change = []\n" + _LOG, ":2: on_change: names no program"),
        (_LOG + 'log = "AAAA"\n', ":4: log: log id has 3 bytes instead of 32"),
        ('[[monitor.log]]\ndir = "/x"\n', ":1: checkpoint_key is missing"),
        ('[[monitor.log]]\ncheckpoint_key = "a.vkey"\n', ":1: dir is missing"),
        (_LOG + '[monitor.log.vault]\nadress = "x"\n', ":5: unknown key adress"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the line that is wrong."""
    with pytest.raises(ConfigError) as refused:
        _read(tmp_path, text)
    assert message in str(refused.value)
