"""From the tables of a file to the values in force: which table set what, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from epochseal.config.backend_settings import as_setting
from epochseal.config.checks import check_address, check_retention, check_scheme, check_shared, check_source
from epochseal.config.document import Document
from epochseal.config.environment import overlay_from_environment
from epochseal.config.model import NOT_SET, Configuration, LogConfig, Origin, Value, VerifierConfig
from epochseal.config.schema import SETTINGS, LogTable, TopLevel, VerifierTable, parse_setting
from epochseal.config.source_tables import SourceTable
from epochseal.config.toml_positions import KeyPath
from epochseal.errors import ConfigError, EpochsealError
from epochseal.families import FAMILIES, SCHEMES, ways_to
from epochseal.format.cosignature import parse_witness_vkey
from epochseal.format.note import check_origin
from epochseal.format.witness_policy import Policy, Witness, threshold_policy
from epochseal.keys import KeyURI, parse_key_uri

_Layer = tuple[KeyPath, TopLevel | LogTable]
_Tables = Sequence[tuple[KeyPath, TopLevel | LogTable | VerifierTable]]


def read_config(path: Path, env: str | None = None, *, sealing: bool = True) -> Configuration:
    """Read and check a file; backends are not loaded, and no file that it names is opened.

    Args:
        path: the TOML file.
        env: the overlay; None: what EPOCHSEAL_ENV names, if anything.
        sealing: whether each log must have a source; where nothing is sealed, none is needed.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    try:
        return Merger(Document(path), env if env is not None else overlay_from_environment(), sealing).read()
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be a configuration") from None


class Merger:
    """The tables of one document, laid over each other for one environment.

    Raises:
        ConfigError: a table, or the overlay that is asked for, cannot be used.
    """

    def __init__(self, document: Document, env: str | None, sealing: bool) -> None:  # noqa: FBT001  # as above
        self._document = document
        self._env = env
        self._sealing = sealing
        top = {key: value for key, value in document.data.items() if key not in {"log", "env"}}
        self._top = document.convert((), top, TopLevel)
        # Every overlay is read, so that a mistake in one does not wait for its first use.
        self._overlays = {name: self._overlay(name, raw) for name, raw in self._env_tables().items()}
        if env is not None and env not in self._overlays:
            known = ", ".join(self._overlays) or "none"
            hint = document.near(env, self._overlays, f"environments in this file: {known}")
            raise ConfigError(f"{document.path}: there is no [env.{env}]", hint)

    def read(self) -> Configuration:
        """What an agent runs with, or a verifier of its logs.

        Raises:
            ConfigError: what is wrong, with file and line.
        """
        document = self._document
        tables = [
            document.convert(("log", place), raw, LogTable) for place, raw in enumerate(self._log_tables())
        ]
        names = [self._log_name(("log", place), table) for place, table in enumerate(tables)]
        self._check_overlaid(names)
        logs: list[LogConfig] = []
        for place, (name, table) in enumerate(zip(names, tables, strict=True)):
            log = self._log(("log", place), name, table)
            check_retention(document, log)
            logs.append(log)
            check_shared(document, logs)
        return Configuration(document.path, self._env, tuple(logs), self._metrics(), self._policy())

    # --- tables -------------------------------------------------------------------------------------------

    def _log_tables(self) -> list[Any]:
        raw = self._document.data.get("log", [])
        if not isinstance(raw, list):
            self._document.fail(("log",), "log must be a list of tables", "write [[log]], in two brackets")
        if not raw:
            hint = "add one, with dir, origin and a [[log.source]]"
            self._document.fail(("log",), "there is no [[log]]", hint)
        return raw

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

    def _check_overlaid(self, names: list[str]) -> None:
        for env, (_, logs) in self._overlays.items():
            for log, table in logs.items():
                at: KeyPath = ("env", env, "log", log)
                if log not in names:
                    hint = self._document.near(log, names, f"logs in this file: {', '.join(names)}")
                    self._document.fail(at, f"there is no log {log} to overlay", hint)
                if table.name is not None:
                    self._document.fail((*at, "name"), "an overlay cannot rename a log", "leave name out")

    # --- one log ------------------------------------------------------------------------------------------

    def _log_name(self, at: KeyPath, table: LogTable) -> str:
        if table.name is None and table.dir is None:
            self._document.fail(at, "dir is missing in [[log]]", "add dir = …, the log's own directory")
        name = table.name if table.name is not None else Path(table.dir or "").name
        if not name or not all(character.isalnum() or character in "-_." for character in name):
            hint = "add name = …, of letters, digits, '-', '_' and '.'"
            self._document.fail((*at, "name"), f"{name!r} cannot name a log", hint)
        return name

    def _log(self, at: KeyPath, name: str, table: LogTable) -> LogConfig:
        layers = self._layers(at, name, table)
        named = Origin("log", self._document.line((*at, "dir" if table.name is None else "name")))
        values = {"name": Value(name, name, named)}
        values["dir"] = self._required(at, "dir", layers, Path, "add dir = …, the log's own directory")
        values["origin"] = self._required(
            at, "origin", layers, check_origin, "it names the log in its checkpoints, as example.com/payments"
        )
        for key in SETTINGS:
            values[key] = self._setting(at, key, layers)
        for key in ("epoch_key", "checkpoint_key"):
            values.update(self._backend_settings(values[key].value.family, layers))
        return LogConfig(
            name=name,
            dir=values["dir"].value,
            origin=values["origin"].value,
            epoch_key=values["epoch_key"].value,
            checkpoint_key=values["checkpoint_key"].value,
            values=values,
            sources=self._sources(at, name, layers),
            verifier=self._verifier(values, layers),
        )

    def _layers(self, at: KeyPath, name: str, table: LogTable) -> list[_Layer]:
        """What sets this log's values, the last one counts: an overlay is laid over its own level."""
        if self._env is None:
            return [((), self._top), (at, table)]
        env: KeyPath = ("env", self._env)
        top, logs = self._overlays[self._env]
        layers: list[_Layer] = [((), self._top), (env, top), (at, table)]
        return [*layers, ((*env, "log", name), logs[name])] if name in logs else layers

    def _sources(self, at: KeyPath, name: str, layers: list[_Layer]) -> tuple[SourceTable, ...]:
        found = self._found("source", layers)
        if found is None or not found[1]:
            if not self._sealing:
                return ()
            self._document.fail(at, f"log {name} has no source", "add a [[log.source]] with its kind")
        where, sources = found
        for place, source in enumerate(sources):
            check_source(self._document, (*where, place), source)
        return tuple(sources)

    def _verifier(self, agent: dict[str, Value], layers: list[_Layer]) -> VerifierConfig:
        """The log's own keys, but where `[verifier]` names others, and the verifier's settings."""
        own = [((*at, "verifier"), layer.verifier) for at, layer in layers if layer.verifier is not None]
        values = {
            "epoch_key": replace(agent["epoch_key"], value=(agent["epoch_key"].value,)),
            "checkpoint_key": replace(agent["checkpoint_key"], value=agent["checkpoint_key"].text),
        }
        return self._verifier_keys(values, layers, own)

    def _verifier_keys(self, values: dict[str, Value], layers: _Tables, own: _Tables) -> VerifierConfig:
        """Those of `values`, unless a table of `own` names others, and the settings of their backends."""
        if (found := self._found("epoch_key", own)) is not None:
            values["epoch_key"] = self._value(found[0], _parse_epoch_keys, found[1])
            for uri in values["epoch_key"].value:
                check_scheme(self._document, found[0], uri)
        if (found := self._found("checkpoint_key", own)) is not None:
            values["checkpoint_key"] = self._value(found[0], _parse_checkpoint_key, found[1])
        if "checkpoint_key" not in values:
            hint = "name the public key that signs its checkpoints: a vkey, its file, or a key URI"
            self._document.fail(own[-1][0], "checkpoint_key is missing", hint)
        checkpoint = SCHEMES.get(values["checkpoint_key"].value.partition(":")[0])
        families = [uri.family for uri in values["epoch_key"].value]
        for family in dict.fromkeys([*families, checkpoint.name if checkpoint is not None else None]):
            # Where a backend is holds for both roles. Who logs in never does: with the agent's login a
            # verifier is refused, and whoever then lets that role recover has ended what roles are for.
            places = FAMILIES[family].places if family is not None else ()
            common = self._backend_settings(family, layers)
            values.update({key: value for key, value in common.items() if key.partition(".")[2] in places})
            values.update(self._backend_settings(family, own))
        return VerifierConfig(values, own=bool(own))

    # --- one value ----------------------------------------------------------------------------------------

    def _found(self, key: str, layers: _Tables) -> tuple[KeyPath, Any] | None:
        for where, layer in reversed(layers):
            if (value := getattr(layer, key, None)) is not None:
                return (*where, key), value
        return None

    def _required(
        self, at: KeyPath, key: str, layers: list[_Layer], parse: Callable[[str], Any], hint: str
    ) -> Value:
        if (found := self._found(key, layers)) is None or not found[1]:
            self._document.fail(at, f"{key} is missing in [[log]]", hint)
        return self._value(found[0], parse, found[1])

    def _setting(self, at: KeyPath, key: str, layers: list[_Layer]) -> Value:
        setting = SETTINGS[key]
        if (found := self._found(key, layers)) is not None:
            value = self._value(found[0], partial(parse_setting, key), found[1])
            if isinstance(value.value, KeyURI):
                check_scheme(self._document, found[0], value.value)
            return value
        if key in {"epoch_key", "checkpoint_key"}:
            hint = f'add {key} = "URI" to the log, the top level or [env.NAME]'
            if self._env is None and self._overlays:
                hint = f"choose an environment of this file: --env {' or --env '.join(self._overlays)}"
            self._document.fail(at, f"{key} is missing", hint)
        if setting.default is None:
            return NOT_SET
        if callable(setting.default):
            default = setting.default()
            return Value(str(default), default, NOT_SET.origin)
        return Value(_as_written(setting.default), setting.parse(setting.default), NOT_SET.origin)

    def _backend_settings(self, family: str | None, layers: _Tables) -> dict[str, Value]:
        """The settings of a family, each from the last table that sets it."""
        if family is None:
            return {}
        found: dict[str, tuple[KeyPath, Any]] = {}
        for where, layer in layers:
            table = getattr(layer, family)
            written = {} if table is None else msgspec.structs.asdict(table)
            here = {
                name: ((*where, family, name), value) for name, value in written.items() if value is not None
            }
            for secret in FAMILIES[family].secrets:
                if named := [name for name in ways_to(secret) if name in here]:
                    if len(named) > 1:
                        what = f"{' and '.join(named)} both name one secret"
                        self._document.fail(here[named[1]][0], what, "keep one of them")
                    # An outer table may name the same secret in another way: that is no second place for it,
                    # the inner table counts alone.
                    found = {name: place for name, place in found.items() if name not in ways_to(secret)}
            found.update(here)
        return {
            f"{family}.{name}": self._value(found[name][0], partial(as_setting, family, name), found[name][1])
            for name in FAMILIES[family].settings
            if name in found
        }

    def _value(self, at: KeyPath, parse: Callable[[Any], Any], written: object) -> Value:
        try:
            value = parse(written)
        except EpochsealError as exc:
            self._document.fail(at, f"{at[-1]}: {exc}", exc.hint)
        if at[0] == "env":
            place = ".".join(str(step) for step in at[:-1])
        else:
            place = "log" if at[0] == "log" else "top level"
        return Value(_as_written(written), value, Origin(place, self._document.line(at)))

    def _policy(self) -> Policy | None:
        """The witnesses, all of which must cosign unless `quorum` says otherwise; an overlay has its own."""
        at: KeyPath = ()
        found = self._top
        overlay = self._overlays[self._env][0] if self._env is not None else None
        if overlay is not None and overlay.witness is not None:
            at, found = ("env", cast("str", self._env)), overlay
        tables = found.witness or []
        if not tables:
            if found.quorum is not None:
                hint = "add a [[witness]] with name, url and vkey"
                self._document.fail((*at, "quorum"), "quorum without a witness", hint)
            return None
        witnesses = []
        for place, table in enumerate(tables):
            where = (*at, "witness", place)
            if not table.url.startswith(("https://", "http://")):
                self._document.fail((*where, "url"), f"{table.url!r} is no URL", "write https://HOST/PREFIX")
            key = self._value((*where, "vkey"), parse_witness_vkey, table.vkey).value
            witnesses.append(Witness(table.name, key, table.url))
        try:
            return threshold_policy(witnesses, found.quorum if found.quorum is not None else len(witnesses))
        except ConfigError as exc:
            key_name = "quorum" if found.quorum is not None else "witness"
            self._document.fail((*at, key_name), str(exc), exc.hint)

    def _metrics(self) -> Value:
        at: KeyPath = ("metrics", "listen")
        overlay = self._overlays[self._env][0].metrics if self._env is not None else None
        found = self._top.metrics
        if overlay is not None and overlay.listen is not None:
            at, found = ("env", cast("str", self._env), *at), overlay
        if found is None or found.listen is None:
            return NOT_SET
        check_address(self._document, at, found.listen)
        place = f"env.{self._env}" if found is overlay else "top level"
        return Value(found.listen, found.listen, Origin(place, self._document.line(at)))


def _as_written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_epoch_keys(written: str | list[str]) -> tuple[KeyURI, ...]:
    """One key, or all those that a log went through."""
    if not written:
        raise ConfigError("no key is named", "leave it out where the log's own epoch_key recovers, too")
    return tuple(map(parse_key_uri, [written] if isinstance(written, str) else written))


def _parse_checkpoint_key(written: str) -> str:
    """A key URI, a vkey, or the name of a file that holds one: which of them, is seen when it is used."""
    if not written:
        raise ConfigError("no key is named", "write a key URI, a vkey, or the name of a file that holds one")
    return written
