"""Read a configuration file so that every complaint names its line: keys, secrets and types.

What the values mean is for merge.py and checks.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args
from urllib.parse import unquote

import msgspec

from epochseal.config.backend_settings import CHOICES, any_of
from epochseal.config.schema import (
    Compression,
    LogTable,
    Metrics,
    MonitorLogTable,
    MonitorTable,
    TopLevel,
    VerifierTable,
    WitnessTable,
)
from epochseal.config.source_tables import SOURCE_TABLES, RotatedTable, TlsTable, words_of
from epochseal.config.toml_positions import KeyLines, KeyPath
from epochseal.errors import ConfigError
from epochseal.families import FAMILIES, ways_to
from epochseal.storage.opener import read_named_file

_MAX_FILE = 4 << 20
_T = TypeVar("_T", bound=msgspec.Struct)
_LINE = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")
_AT_END = re.compile(r" \(at end of document\)$")
# tomllib's time grows with the square of the parts, and the known keys have five.
_MANY_PARTS = re.compile(r"""(?<![\w"' \t.-])(?:[\w"'-]*+[ \t]*+\.[ \t]*+){40}""")
_COMPLAINT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_TYPES = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a fraction",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date",
    "date": "a date",
    "time": "a time",
}
_UNITS = frozenset(
    {"epoch_interval", "commit_interval", "segment_age", "heartbeat", "max_overdue", "retention", "keep"}
    | {"interval", "scrub", "max_age"}
)
_SECRET_KEYS = re.compile(
    r"token|pin|jwt|passw(or)?d|passphrase|secret(_?(id|key))?|access_?key(_?id)?|secret_?access_?key|api_?key|private_?key"
    r"|credentials?|(\w+_)(token|pin|passw(or)?d|secret)"
)
# `token=` is the label of a token in a pkcs11 URI (RFC 7512), and no secret there.
_SECRET_IN_URI = re.compile(r"[?&;](token|pin-value|pin|passw(or)?d|secret|secret_id|api_?key)=")
_HIDE_HINT = (
    "a configuration file is copied and shown: give the backend its secret in a file, a systemd credential "
    "(LoadCredential=) or the environment, and change this one if others have read the file"
)
_SOURCES_HINT = f"known kinds: {', '.join(SOURCE_TABLES)}"


class Document:
    """One configuration file.

    Args:
        path: the file, as messages are to name it.

    Raises:
        ConfigError: it cannot be read, is no TOML, holds a secret, or a key that nobody knows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = self._read()
        if (deep := _MANY_PARTS.search(text)) is not None:
            self.fail_on(text.count("\n", 0, deep.start()) + 1, "a key has more than 40 parts", None)
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            self._refuse_toml(str(exc), text)
        self._lines = KeyLines(text)
        self._refuse_secrets()
        self._refuse_unknown_keys()

    def line(self, at: KeyPath) -> int:
        """The line of a key, counted from 1."""
        return self._lines.line(at)

    def fail(self, at: KeyPath, message: str, hint: str | None) -> NoReturn:
        """Raise a ConfigError that names the file and the key's line."""
        self.fail_on(self.line(at), message, hint)

    def fail_on(self, line: int, message: str, hint: str | None) -> NoReturn:
        """Raise a ConfigError that names the file and this line."""
        raise ConfigError(f"{self.path}:{line}: {message}", hint)

    def convert(self, at: KeyPath, raw: object, kind: type[_T]) -> _T:
        """The table `raw`, which stands at `at`, as a struct.

        Raises:
            ConfigError: a key is missing, or a value has another type.
        """
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as exc:
            self._refuse_type(at, str(exc))

    def near(self, wrong: str, known: Iterable[str], otherwise: str) -> str:
        """A hint: the nearest of the known names, else `otherwise`."""
        found = get_close_matches(wrong, list(known), n=1)
        return f"did you mean {found[0]}?" if found else otherwise

    def _read(self) -> str:
        try:
            return read_named_file(self.path, _MAX_FILE).decode("utf-8")
        except OSError as exc:
            raise ConfigError(f"cannot read {self.path}: {exc.strerror}", "name it with --config") from exc
        except UnicodeDecodeError as exc:
            raise ConfigError(
                f"{self.path} is not UTF-8 at byte {exc.start}", "save it as UTF-8 text"
            ) from exc

    def _refuse_toml(self, message: str, text: str) -> NoReturn:
        found = _LINE.search(message)
        line = int(found[1]) if found else text.count("\n") + 1
        what = _AT_END.sub(", and the file ends there", _LINE.sub("", message))
        raise ConfigError(
            f"{self.path}:{line}: not TOML: {what[:1].lower()}{what[1:]}",
            "text stands in quotes, a log begins with [[log]], a source of it with [[log.source]]",
        ) from None

    # --- secrets ----------------------------------------------------------------------------------------

    def _refuse_secrets(self) -> None:
        for at, value in _walk((), self.data):
            # A value of a list bears the list's name.
            name = next((step for step in reversed(at) if isinstance(step, str)), "")
            if _SECRET_KEYS.fullmatch(name.lower().replace("-", "_")) and not isinstance(value, dict | list):
                what = f"{name} is a secret, and secrets are not read from this file"
                self.fail(at, what, _hint_for_secret(str(at[-2]) if len(at) > 1 else "", name))
            if not isinstance(value, str):
                continue
            if "-----BEGIN" in value and "PRIVATE KEY" in value:
                self.fail(at, f"{name} holds a private key", _HIDE_HINT)
            # The value is not repeated: messages end up in logs.
            if name in {"epoch_key", "checkpoint_key"} and (found := _secret_in_uri(value)):
                self.fail(at, f"the URI in {name} holds a secret ({found}=…)", _HIDE_HINT)

    # --- keys -------------------------------------------------------------------------------------------

    def _refuse_unknown_keys(self) -> None:
        self._check_table((), self.data, TopLevel, ("env", "log"))
        for place, log in enumerate(_tables(self.data.get("log"))):
            self._check_log(("log", place), log)
        for name, env in _named_tables(self.data.get("env")):
            self._check_table(("env", name), env, TopLevel, ("log",))
            for log_name, log in _named_tables(env.get("log")):
                self._check_log(("env", name, "log", log_name), log)

    def _check_log(self, at: KeyPath, log: dict[str, Any]) -> None:
        self._check_keys(at, log, LogTable.__struct_fields__)
        self._check_families(at, log)
        for place, source in enumerate(_tables(log.get("source"))):
            self._check_source((*at, "source", place), source)

    def _check_source(self, at: KeyPath, source: dict[str, Any]) -> None:
        kind = source.get("kind")
        if kind is None:
            self.fail(at, "a source without kind", f'say what it is, as kind = "tail"; {_SOURCES_HINT}')
        if not isinstance(kind, str) or kind not in SOURCE_TABLES:
            hint = self.near(str(kind), SOURCE_TABLES, _SOURCES_HINT)
            self.fail((*at, "kind"), f"unknown kind of source {kind!r}", hint)
        self._check_keys(at, source, ("kind", *SOURCE_TABLES[kind].__struct_fields__))
        for key, table in (("tls", TlsTable), ("rotated", RotatedTable)):
            if isinstance(nested := source.get(key), dict):
                self._check_keys((*at, key), nested, table.__struct_fields__)

    def _check_table(
        self, at: KeyPath, table: dict[str, Any], kind: type[msgspec.Struct], more: tuple[str, ...]
    ) -> None:
        self._check_keys(at, table, (*kind.__struct_fields__, *more))
        self._check_families(at, table)
        if isinstance(metrics := table.get("metrics"), dict):
            self._check_keys((*at, "metrics"), metrics, Metrics.__struct_fields__)
        for place, witness in enumerate(_tables(table.get("witness"))):
            self._check_keys((*at, "witness", place), witness, WitnessTable.__struct_fields__)
        if isinstance(monitor := table.get("monitor"), dict):
            self._check_keys((*at, "monitor"), monitor, MonitorTable.__struct_fields__)
            for place, log in enumerate(_tables(monitor.get("log"))):
                self._check_keys((*at, "monitor", "log", place), log, MonitorLogTable.__struct_fields__)
                self._check_families((*at, "monitor", "log", place), log)

    def _check_families(self, at: KeyPath, table: dict[str, Any]) -> None:
        for name, family in FAMILIES.items():
            if isinstance(settings := table.get(name), dict):
                self._check_keys((*at, name), settings, family.settings)
        if isinstance(verifier := table.get("verifier"), dict):
            self._check_keys((*at, "verifier"), verifier, VerifierTable.__struct_fields__)
            self._check_families((*at, "verifier"), verifier)

    def _check_keys(self, at: KeyPath, table: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                hint = self.near(key, known, f"known here: {', '.join(known)}")
                self.fail((*at, key), f"unknown key {key} in {_name(at)}", hint)

    # --- types ------------------------------------------------------------------------------------------

    def _refuse_type(self, at: KeyPath, complaint: str) -> NoReturn:
        found = _COMPLAINT.fullmatch(complaint)
        what, where = (found["what"], found["where"] or "") if found else (complaint, "")
        for step in _STEP.finditer(where):
            at += (step[1],) if step[1] else (int(step[2]),)
        name = next((step for step in reversed(at) if isinstance(step, str)), "the file")
        hint = None
        if expected := _EXPECTED.match(what):
            wanted = [_TYPES.get(kind, kind) for kind in expected[1].split(" | ") if kind != "null"]
            what = f"{name} must be {' or '.join(wanted)}, not {_TYPES.get(expected[2], expected[2])}"
            hint = 'write a number and a unit in quotes, such as "5m" or "90d"' if name in _UNITS else None
        elif what.startswith("Invalid enum value"):
            words = CHOICES.get(name) or words_of(name) or get_args(Compression)
            what, hint = f"{name} cannot be {what.rpartition('value ')[2]}", f"write {any_of(words)}"
        elif missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
            what, hint = f"{missing[1]} is missing in {_name(at)}", f"add {missing[1]} = …"
        self.fail(at, what, hint or "docs/configuration.md has an example of each key")


def _hint_for_secret(table: str, name: str) -> str:
    if table not in FAMILIES or name not in FAMILIES[table].secrets:
        return _HIDE_HINT
    return f"say where it is with {any_of(ways_to(name))}, and change it if others have read this file"


def _secret_in_uri(uri: str) -> str | None:
    plain = unquote(uri).lower()
    for found in _SECRET_IN_URI.finditer(plain.replace(":", ";", 1)):
        if not (found[1] == "token" and plain.startswith("pkcs11:")):
            return found[1]
    return None


def _walk(at: KeyPath, value: object) -> Iterator[tuple[KeyPath, object]]:
    yield at, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk((*at, key), item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _walk((*at, place), item)


def _tables(value: object) -> list[dict[str, Any]]:
    # What is no list of tables is refused by its type, later.
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _named_tables(value: object) -> list[tuple[str, dict[str, Any]]]:
    return (
        [(name, item) for name, item in value.items() if isinstance(item, dict)]
        if isinstance(value, dict)
        else []
    )


def _name(at: KeyPath) -> str:
    """A table as it is written in the file."""
    names = ".".join(str(step) for step in at if isinstance(step, str))
    in_array = bool(at) and isinstance(at[-1], int)
    return (f"[[{names}]]" if in_array else f"[{names}]") if names else "the top level"
