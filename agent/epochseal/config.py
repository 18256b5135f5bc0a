"""The daemon's configuration: one file, overlays for environments, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import msgspec

from epochseal.config_lines import KeyPath
from epochseal.config_reader import Document
from epochseal.config_schema import (
    SETTINGS,
    SHARED,
    Compression,
    LogTable,
    Metrics,
    SourceTable,
    StdinTable,
    SyslogTable,
    TailTable,
    TopLevel,
    UnixDatagramTable,
    UnixStreamTable,
)
from epochseal.errors import ConfigError, EpochsealError
from epochseal.keys import KeyURI
from epochseal.note import check_origin

_SHIPPED_SCHEMES = ("file", "hashivault", "openbao", "awskms", "pkcs11")
_MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set: `default`, `top level`, `log`, `env.NAME`; its line, 0 for a default."""

    place: str
    line: int


@dataclass(frozen=True, slots=True)
class Value:
    """A setting as it is in force: `text` as it was written, `value` in ms, bytes or as a number."""

    text: str
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class LogConfig:
    """One log. `values` has every setting by its name in the file, `name`, `dir` and `origin` among them."""

    name: str
    dir: Path
    origin: str
    epoch_key: KeyURI
    checkpoint_key: KeyURI
    values: Mapping[str, Value]
    sources: tuple[SourceTable, ...]

    def number(self, name: str) -> int:
        """A setting that always has a value, in ms or bytes."""
        return cast("int", self.values[name].value)

    def number_or_none(self, name: str) -> int | None:
        """A setting that may be absent."""
        return cast("int | None", self.values[name].value)

    @property
    def runtime_dir(self) -> Path | None:
        """Where the ratchet outlives the process."""
        return cast("Path | None", self.values["runtime_dir"].value)

    @property
    def compress(self) -> Compression:
        """What is done with segments that have ended."""
        return cast("Compression", self.values["compress"].value)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole file for one environment; `env` is None without one."""

    path: Path
    env: str | None
    logs: tuple[LogConfig, ...]
    metrics_listen: Value


def read_config(path: Path, env: str | None = None) -> Configuration:
    """Read and check a file; backends are not loaded, and no file that it names is looked at.

    Args:
        path: the TOML file.
        env: the overlay; None: what EPOCHSEAL_ENV names, if anything.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    document = Document(path)
    return _Reader(document, env if env is not None else os.environ.get("EPOCHSEAL_ENV") or None).read()


class _Reader:
    def __init__(self, document: Document, env: str | None) -> None:
        self._document = document
        self._env = env
        top = {key: value for key, value in document.data.items() if key not in {"log", "env"}}
        self._top = document.convert((), top, TopLevel)
        # Every overlay is checked, so that a mistake in another one does not wait for its first use.
        self._overlays = {name: self._overlay(name, raw) for name, raw in self._env_tables().items()}
        if env is not None and env not in self._overlays:
            known = ", ".join(self._overlays) or "none"
            hint = document.near(env, self._overlays, f"this file has: {known}")
            raise ConfigError(f"{document.path}: there is no [env.{env}]", hint)

    def read(self) -> Configuration:
        document = self._document
        raw_logs = document.data.get("log")
        if not raw_logs:
            document.fail(("log",), "there is no [[log]]", "add one, with dir, origin and a [[log.source]]")
        if not isinstance(raw_logs, list):
            document.fail(("log",), "log must be a list of tables", "write [[log]], in two brackets")
        tables = [document.convert(("log", place), raw, LogTable) for place, raw in enumerate(raw_logs)]
        names = [self._log_name(("log", place), table) for place, table in enumerate(tables)]
        self._refuse_unknown_logs(names)
        logs = []
        for place, (name, table) in enumerate(zip(names, tables, strict=True)):
            logs.append(self._log(("log", place), name, table))
            self._refuse_shared(logs)
        return Configuration(document.path, self._env, tuple(logs), self._metrics())

    # --- overlays ---------------------------------------------------------------------------------------------

    def _env_tables(self) -> dict[str, Any]:
        tables = self._document.data.get("env", {})
        for name, raw in tables.items() if isinstance(tables, dict) else [("", None)]:
            if not isinstance(raw, dict):
                self._document.fail(("env", name), "env must hold tables", "write [env.NAME]")
        return cast("dict[str, Any]", tables)

    def _overlay(self, name: str, raw: dict[str, Any]) -> tuple[TopLevel, dict[str, LogTable]]:
        at: KeyPath = ("env", name)
        top = {key: value for key, value in raw.items() if key != "log"}
        logs = raw.get("log", {})
        if not isinstance(logs, dict):
            self._document.fail((*at, "log"), "an overlay names its log", f"write [env.{name}.log.LOGNAME]")
        return self._document.convert(at, top, TopLevel), {
            log: self._document.convert((*at, "log", log), table, LogTable) for log, table in logs.items()
        }

    def _refuse_unknown_logs(self, names: list[str]) -> None:
        for env, (_, logs) in self._overlays.items():
            for log, table in logs.items():
                at: KeyPath = ("env", env, "log", log)
                if log not in names:
                    hint = self._document.near(log, names, f"this file has: {', '.join(names)}")
                    self._document.fail(at, f"there is no log {log} to overlay", hint)
                if table.name is not None:
                    self._document.fail((*at, "name"), "an overlay cannot rename a log", "leave name out")

    # --- one log ----------------------------------------------------------------------------------------------

    def _log_name(self, at: KeyPath, table: LogTable) -> str:
        if table.name is None and table.dir is None:
            self._document.fail(at, "dir is missing in [[log]]", 'add dir = "/var/log/sealed/NAME"')
        name = table.name if table.name is not None else Path(table.dir or "").name
        if not name or not all(c.isalnum() or c in "-_." for c in name):
            self._document.fail(
                (*at, "name"),
                f"{name!r} cannot name a log",
                "add name = …, of letters, digits, '-', '_' and '.'",
            )
        return name

    def _log(self, at: KeyPath, name: str, table: LogTable) -> LogConfig:
        layers = self._layers(at, name, table)
        named = Origin("log", self._document.line((*at, "name" if table.name else "dir")))
        values = {"name": Value(name, name, named)}
        for key in ("dir", "origin"):
            values[key] = self._text(at, key, layers)
        for key in SHARED:
            values[key] = self._setting(at, key, layers)
        self._check_together(at, values)
        source_at, sources = next(
            (
                (where, layer.source)
                for where, layer in reversed(layers)
                if isinstance(layer, LogTable) and layer.source
            ),
            (at, None),
        )
        if not sources:
            self._document.fail(at, f"log {name} has no source", "add a [[log.source]] with its kind")
        for place, source in enumerate(sources):
            self._check_source((*source_at, "source", place), source)
        return LogConfig(
            name=name,
            dir=Path(values["dir"].text),
            origin=values["origin"].text,
            epoch_key=values["epoch_key"].value,
            checkpoint_key=values["checkpoint_key"].value,
            values=values,
            sources=tuple(sources),
        )

    def _layers(self, at: KeyPath, name: str, table: LogTable) -> list[tuple[KeyPath, TopLevel | LogTable]]:
        """What sets this log's values, the last one counts: an overlay is laid over its own level."""
        layers: list[tuple[KeyPath, TopLevel | LogTable]] = [((), self._top)]
        if self._env is None:
            return [*layers, (at, table)]
        env: KeyPath = ("env", self._env)
        overlay, logs = self._overlays[self._env]
        layers += [(env, overlay), (at, table)]
        if name in logs:
            layers.append(((*env, "log", name), logs[name]))
        return layers

    def _found(
        self, key: str, layers: list[tuple[KeyPath, TopLevel | LogTable]]
    ) -> tuple[KeyPath, Any] | None:
        for where, layer in reversed(layers):
            if (value := getattr(layer, key, None)) is not None:
                return (*where, key), value
        return None

    def _text(self, at: KeyPath, key: str, layers: list[tuple[KeyPath, TopLevel | LogTable]]) -> Value:
        if (found := self._found(key, layers)) is None or not found[1]:
            hint = (
                "origin names the log in its checkpoints, as example.com/payments"
                if key == "origin"
                else None
            )
            self._document.fail(at, f"{key} is missing in [[log]]", hint or f"add {key} = …")
        where, text = found
        if key == "origin":
            self._parsed(where, check_origin, text)
        return Value(text, text, self._origin(where))

    def _setting(self, at: KeyPath, key: str, layers: list[tuple[KeyPath, TopLevel | LogTable]]) -> Value:
        setting = SETTINGS[key]
        if (found := self._found(key, layers)) is None:
            if key in {"epoch_key", "checkpoint_key"}:
                self._document.fail(
                    at, f"{key} is missing", f'add {key} = "URI" to the log, the top level or [env.NAME]'
                )
            default = setting.default
            return Value(default or "none", setting.parse(default) if default else None, Origin("default", 0))
        where, written = found
        value = self._parsed(where, setting.parse, written)
        if isinstance(value, KeyURI):
            self._check_scheme(where, value)
        return Value(str(written), value, self._origin(where))

    def _parsed(self, at: KeyPath, parse: Any, text: object) -> Any:  # noqa: ANN401  # as the setting's parser
        try:
            return parse(text)
        except EpochsealError as exc:
            self._document.fail(at, f"{at[-1]}: {exc}", exc.hint)

    def _origin(self, at: KeyPath) -> Origin:
        if at[0] == "env":
            place = ".".join(str(step) for step in at[:-1])
        else:
            place = "log" if at[0] == "log" else "top level"
        return Origin(place, self._document.line(at))

    # --- what values mean together ----------------------------------------------------------------------------

    def _check_scheme(self, at: KeyPath, uri: KeyURI) -> None:
        # Names only: a backend's library need not be installed where a file is checked.
        known = {*_SHIPPED_SCHEMES, *entry_points(group="epochseal.backends").names}
        if uri.scheme not in known:
            hint = self._document.near(uri.scheme, known, f"known: {', '.join(sorted(known))}")
            self._document.fail(at, f"{at[-1]}: unknown key scheme {uri.scheme!r}", hint)

    def _check_together(self, at: KeyPath, values: Mapping[str, Value]) -> None:
        keep, retention = values["keep"], values["retention"]
        if keep.value is not None and retention.value > keep.value:
            self._document.fail(
                (*at, "keep"),
                f"keep = {keep.text} removes what retention = {retention.text} promises to keep",
                "make keep at least as long as retention",
            )

    def _check_source(self, at: KeyPath, source: SourceTable) -> None:
        if isinstance(source, TailTable) and not all(source.paths):
            self._document.fail((*at, "paths"), "an empty path", "leave it out")
        if isinstance(source, TailTable) and not source.paths:
            self._document.fail(
                (*at, "paths"), "paths is empty", 'name files, as paths = ["/var/log/app/*.log"]'
            )
        if isinstance(source, UnixStreamTable | UnixDatagramTable):
            mode = source.mode
            if not (len(mode) in {3, 4} and all(c in "01234567" for c in mode) and int(mode, 8) <= 0o777):  # noqa: PLR2004  # 660 or 0660
                self._document.fail((*at, "mode"), f"mode {mode!r} is not octal", 'write it as mode = "0660"')
        if isinstance(source, SyslogTable):
            self._check_address((*at, "listen"), source.listen)

    def _check_address(self, at: KeyPath, text: str) -> None:
        host, colon, port = text.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= _MOST_PORT):
            self._document.fail(
                at, f"{text!r} is not an address to listen on", 'write it as "127.0.0.1:6514"'
            )

    def _refuse_shared(self, logs: list[LogConfig]) -> None:
        *earlier, latest = logs
        at: KeyPath = ("log", len(earlier))
        for log in earlier:
            first = log.values["name"].origin.line
            if log.name == latest.name:
                key = (
                    "name"
                    if latest.values["name"].origin.line == self._document.line((*at, "name"))
                    else "dir"
                )
                self._document.fail(
                    (*at, key),
                    f"a second log is named {log.name}; the first is on line {first}",
                    "add name = …",
                )
            # By the real place: a link to a directory is that directory.
            if os.path.realpath(log.dir) == os.path.realpath(latest.dir):
                raise ConfigError(
                    f"{self._document.path}:{latest.values['dir'].origin.line}: {latest.dir} is the directory of "
                    f"log {log.name} already, on line {log.values['dir'].origin.line}",
                    "give each log a directory of its own",
                )
        readers = [log.name for log in logs for source in log.sources if isinstance(source, StdinTable)]
        if len(readers) > 1:
            self._document.fail(
                (*at, "source"), "standard input is read twice", "only one source can have it"
            )

    def _metrics(self) -> Value:
        at: KeyPath = ("metrics", "listen")
        found: Metrics | None = None
        if (
            self._env is not None
            and (found := self._overlays[self._env][0].metrics) is not None
            and found.listen
        ):
            at = ("env", self._env, *at)
        else:
            found = self._top.metrics
        if found is None or found.listen is None:
            return Value("none", None, Origin("default", 0))
        self._check_address(at, found.listen)
        place = f"env.{self._env}" if at[0] == "env" else "top level"
        return Value(found.listen, found.listen, Origin(place, self._document.line(at)))


def source_fields(source: SourceTable) -> dict[str, Any]:
    """A source as plain values, for a person or JSON."""
    return cast("dict[str, Any]", msgspec.to_builtins(source))
