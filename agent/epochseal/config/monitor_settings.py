"""What `epochseal monitor` runs with: `[monitor]`, and the logs that it holds with a verifier's keys."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochseal.config.checks import check_address
from epochseal.config.document import Document
from epochseal.config.environment import overlay_from_environment
from epochseal.config.merge import Merger
from epochseal.config.model import NOT_SET, Origin, Value, VerifierConfig
from epochseal.config.schema import MonitorLogTable, MonitorTable
from epochseal.config.state_dir import default_state_dir
from epochseal.config.toml_positions import KeyPath
from epochseal.encoding import b64decode
from epochseal.errors import ConfigError
from epochseal.format.note import check_origin
from epochseal.units import parse_duration

_ID_SIZE = 32
_LEAST_INTERVAL = 1_000
_LEAST_SCRUB = 60_000
_DEFAULTS: dict[str, str | int] = {"interval": "5s", "scrub": "24h", "scrub_share": 25}


@dataclass(frozen=True, slots=True)
class MonitoredLogs:
    """One `[[monitor.log]]`: the logs of one pattern, and what each of them is to be verified with.

    `pattern` is a directory, or a pattern for several (glob); `log` the id, 32 bytes; `max_age` in ms.
    """

    pattern: str
    origin: str | None
    log: bytes | None
    max_age: int | None
    keys: VerifierConfig


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """A whole file as the monitor reads it; durations in ms.

    `values` has the settings of `[monitor]` that are shown: `listen`, `interval`, `scrub`, `scrub_share` and
    `state_dir`. `expected` are origins that must be there.
    """

    path: Path
    env: str | None
    values: dict[str, Value]
    expected: tuple[str, ...]
    on_change: tuple[str, ...]
    logs: tuple[MonitoredLogs, ...]

    @property
    def listen(self) -> str | None:
        """Where metrics, health and the page are served."""
        found: str | None = self.values["listen"].value
        return found

    @property
    def state_dir(self) -> Path:
        """Where it remembers."""
        found: Path = self.values["state_dir"].value
        return found

    def number(self, name: str) -> int:
        """`interval` or `scrub` in ms, `scrub_share` in percent of one core."""
        found: int = self.values[name].value
        return found


def read_monitor_config(path: Path, env: str | None = None) -> MonitorConfig:
    """Read and check a file; backends are not loaded, and no log is looked for.

    A file without a `[[monitor.log]]` is one of an agent: then its own logs are monitored.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    try:
        return _Reader(Document(path), env if env is not None else overlay_from_environment()).monitor()
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be a configuration") from None


class _Reader(Merger):
    def __init__(self, document: Document, env: str | None) -> None:
        super().__init__(document, env, sealing=False)

    def monitor(self) -> MonitorConfig:
        tables: list[tuple[KeyPath, MonitorTable]] = []
        for at, layer in self._levels():
            if layer.monitor is not None:
                tables.append(((*at, "monitor"), layer.monitor))
        values = {
            "listen": self._of_monitor("listen", tables, str),
            "interval": self._of_monitor("interval", tables, _at_least(_LEAST_INTERVAL, "1s")),
            "scrub": self._of_monitor("scrub", tables, _at_least(_LEAST_SCRUB, "1m")),
            "scrub_share": self._of_monitor("scrub_share", tables, _percent),
            "state_dir": self._of_monitor("state_dir", tables, _directory),
        }
        if values["state_dir"].value is None:
            default = _default_state_dir()
            values["state_dir"] = Value(str(default), default, NOT_SET.origin)
        if values["listen"].value is not None:
            check_address(self._document, ("monitor", "listen"), values["listen"].value)
        expected = self._of_monitor("expected", tables, lambda names: tuple(map(check_origin, names)))
        command = self._of_monitor("on_change", tables, _command)
        return MonitorConfig(
            self._document.path,
            self._env,
            values,
            expected.value or (),
            command.value or (),
            tuple(self._monitored(tables)),
        )

    def _levels(self) -> list[tuple[KeyPath, Any]]:
        top: list[tuple[KeyPath, Any]] = [((), self._top)]
        return top if self._env is None else [*top, (("env", self._env), self._overlays[self._env][0])]

    def _of_monitor(
        self, key: str, tables: list[tuple[KeyPath, MonitorTable]], parse: Callable[[Any], Any]
    ) -> Value:
        for at, table in reversed(tables):
            if (written := getattr(table, key)) is not None:
                return self._value((*at, key), parse, written)
        if key not in _DEFAULTS:
            return NOT_SET
        return Value(str(_DEFAULTS[key]), parse(_DEFAULTS[key]), Origin("default", 0))

    def _monitored(self, tables: list[tuple[KeyPath, MonitorTable]]) -> list[MonitoredLogs]:
        for at, table in reversed(tables):
            if table.log:
                return [
                    self._monitored_log((*at, "log", place), item) for place, item in enumerate(table.log)
                ]
        if not self._document.data.get("log"):
            hint = 'add one with dir = "/var/log/sealed/*" and its keys'
            self._document.fail(("monitor",), "there is no [[monitor.log]], and no [[log]]", hint)
        return [
            MonitoredLogs(glob.escape(str(log.dir)), log.origin, None, None, log.verifier)
            for log in self.read().logs
        ]

    def _monitored_log(self, at: KeyPath, table: MonitorLogTable) -> MonitoredLogs:
        levels = self._levels()
        own = [
            ((*where, "verifier"), level.verifier) for where, level in levels if level.verifier is not None
        ]
        values = {"epoch_key": Value("none", (), NOT_SET.origin)}
        return MonitoredLogs(
            self._value((*at, "dir"), _pattern, table.dir).value,
            self._optional((*at, "origin"), check_origin, table.origin),
            self._optional((*at, "log"), lambda text: b64decode(text, "log id", _ID_SIZE), table.log),
            self._optional((*at, "max_age"), parse_duration, table.max_age),
            self._verifier_keys(values, levels, [*own, (at, table)]),
        )

    def _optional(self, at: KeyPath, parse: Callable[[Any], Any], written: object) -> Any:  # noqa: ANN401  # as many types as there are keys
        return None if written is None else self._value(at, parse, written).value


def _at_least(least: int, shown: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        found = parse_duration(text)
        if found < least:
            raise ConfigError(f"must be at least {shown}", "leave it out for the default")
        return found

    return parse


def _percent(number: int) -> int:
    if not 1 <= number <= 100:  # noqa: PLR2004  # percent
        raise ConfigError("must be 1 to 100", "it is percent of one core")
    return number


def _directory(text: str) -> Path:
    if not Path(text).is_absolute():
        raise ConfigError("must be an absolute path", "a monitor may be started anywhere")
    return Path(text)


def _pattern(text: str) -> str:
    if not text:
        raise ConfigError("names nothing", 'write a directory, or a pattern such as "/var/log/sealed/*"')
    return text


def _command(words: list[str]) -> tuple[str, ...]:
    if not words or not all(words):
        raise ConfigError("names no program", 'write it as on_change = ["/usr/local/bin/tell-us"]')
    return tuple(words)


def _default_state_dir() -> Path:
    state = default_state_dir()
    if state.path is None:
        raise ConfigError("this user has no home directory", "name [monitor] state_dir")
    return state.path / "monitor"
