"""What values of a configuration must be beyond their type, alone and together."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from epochseal.backend_offers import offered_backends
from epochseal.config.document import Document
from epochseal.config.model import LogConfig
from epochseal.config.source_tables import (
    JournaldTable,
    RotatedTable,
    SourceTable,
    StdinTable,
    SyslogTable,
    TailTable,
    UnixDatagramTable,
    UnixStreamTable,
)
from epochseal.config.toml_positions import KeyPath
from epochseal.errors import ConfigError
from epochseal.families import SCHEMES, SHIPPED_SCHEMES
from epochseal.keys import KeyURI
from epochseal.units import parse_duration

_ROTATED_NAME = re.compile(r"[^/{}]*\{name\}[^/{}]*|[^/{}]*\{stem\}[^/{}]*\{ending\}[^/{}]*")
_MODE = re.compile(r"0?[0-7]{3}")
_ADDRESS = re.compile(r"(?:[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_JOURNAL_FIELD = re.compile(r"[A-Z_][A-Z0-9_]{0,63}=[^\n]+")
_PRIORITY = "(?:[0-7]|emerg|alert|crit|err|warning|notice|info|debug)"
_PRIORITIES = re.compile(rf"{_PRIORITY}(?:\.\.{_PRIORITY})?")
_MOST_PORT = 65_535


def check_scheme(document: Document, at: KeyPath, uri: KeyURI) -> None:
    """Refuse a scheme that no backend has; by name, because its library need not be installed here."""
    known = {*SHIPPED_SCHEMES, *offered_backends(tuple(sys.path))}
    if uri.scheme not in known:
        hint = document.near(uri.scheme, known, f"known: {', '.join(sorted(known))}")
        document.fail(at, f"{at[-1]}: unknown key scheme {uri.scheme!r}", hint)
    family = SCHEMES.get(uri.scheme)
    if family is not None and not re.fullmatch(family.form, uri.rest):
        document.fail(at, f"{at[-1]}: {uri} names no key", f"write it as {uri.scheme}:{family.example}")


def check_source(document: Document, at: KeyPath, source: SourceTable) -> None:
    """Refuse what the source could not be opened with, without opening anything."""
    if isinstance(source, TailTable):
        _check_tail(document, at, source)
    if isinstance(source, UnixStreamTable | UnixDatagramTable) and not _MODE.fullmatch(source.mode):
        document.fail((*at, "mode"), f"mode {source.mode!r} is not octal", 'write it as mode = "0660"')
    if isinstance(source, StdinTable | TailTable):
        _check_records(document, at, source)
    if isinstance(source, JournaldTable):
        _check_journal(document, at, source)
    if isinstance(source, SyslogTable):
        check_address(document, (*at, "listen"), source.listen)


def _check_tail(document: Document, at: KeyPath, source: TailTable) -> None:
    if not (source.paths and all(source.paths)):
        hint = 'name files, as paths = ["/var/log/app/*.log"]'
        document.fail((*at, "paths"), "paths is empty, or one of them is", hint)
    if not all(Path(path).is_absolute() for path in source.paths):
        # The log names a source by its path, and a daemon may be started anywhere.
        document.fail(
            (*at, "paths"), "a path is not absolute", 'write it from the root on, as "/var/log/app/*.log"'
        )
    for pattern in source.exclude:
        if not pattern.startswith(("/", "*")):
            hint = 'it is compared with the whole path: write it as "*/debug.log", or from the root on'
            document.fail((*at, "exclude"), f"exclude: {pattern!r} leaves no file out", hint)
    for key, text in (("ignore_older", source.ignore_older), ("close_inactive", source.close_inactive)):
        if text is not None:
            _check_duration(document, (*at, key), text)
    if source.olddir is not None and not source.olddir.strip("/"):
        document.fail((*at, "olddir"), "olddir names no folder", 'write it as olddir = "old"')
    if source.rotated is not None:
        _check_rotated(document, (*at, "rotated"), source.rotated)


def _check_rotated(document: Document, at: KeyPath, rotated: RotatedTable) -> None:
    if not rotated.names:
        hint = 'leave rotated out for the usual names, or write names = ["{name}.*"]'
        document.fail(at, "rotated names no files", hint)
    for name in rotated.names:
        if not _ROTATED_NAME.fullmatch(name) or name in ("{name}", "{stem}{ending}"):
            hint = 'write {name}, or {stem} and {ending}, for the name of the log, as "{stem}-*{ending}"'
            document.fail(at, f"{name!r} does not say of which log a rotated file is", hint)


def _check_duration(document: Document, at: KeyPath, text: str) -> None:
    try:
        parse_duration(text)
    except ConfigError as exc:
        document.fail(at, f"{at[-1]}: {exc}", exc.hint)


def _check_records(document: Document, at: KeyPath, source: StdinTable | TailTable) -> None:
    if source.multiline is None:
        return
    if source.container is not None:
        hint = "leave one of them out: parts of a line are joined, or lines of a record"
        document.fail((*at, "multiline"), "multiline and container are both set", hint)
    try:
        re.compile(source.multiline.encode())
    except re.error as exc:
        hint = "write what the first line of a record begins with, as multiline = '[0-9]{4}-'"
        document.fail((*at, "multiline"), f"{source.multiline!r} is no regular expression: {exc}", hint)


def _check_journal(document: Document, at: KeyPath, source: JournaldTable) -> None:
    # Whatever else journalctl takes as a word would be an option of it, or a path.
    for key, items in (("matches", source.matches), ("exclude", source.exclude)):
        for item in items:
            if not _JOURNAL_FIELD.fullmatch(item):
                hint = f'write it as {key} = ["_TRANSPORT=audit"]'
                document.fail((*at, key), f"{item!r} is not FIELD=VALUE", hint)
    if source.priorities and not _PRIORITIES.fullmatch(source.priorities):
        hint = 'write it as priorities = "warning", or "emerg..err"'
        document.fail((*at, "priorities"), f"{source.priorities!r} is no priority", hint)


def check_address(document: Document, at: KeyPath, text: str) -> None:
    """Refuse anything but HOST:PORT, with an IPv6 address in brackets."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[1]) > _MOST_PORT:
        hint = 'write HOST:PORT, as "127.0.0.1:6514" or "[::1]:6514"'
        document.fail(at, f"{text!r} is not an address to listen on", hint)


def check_retention(document: Document, log: LogConfig) -> None:
    """Refuse to remove what every epoch line promises to keep."""
    keep, retention = log.values["keep"], log.values["retention"]
    if keep.value is not None and retention.value > keep.value:
        document.fail_on(
            keep.origin.line,
            f"keep = {keep.text} removes what retention = {retention.text} promises to keep",
            "make keep at least as long as retention",
        )


def check_shared(document: Document, logs: list[LogConfig]) -> None:
    """Refuse the latest log if it shares what is one log's alone, or has an archive and no receipts."""
    *earlier, latest = logs
    for log in earlier:
        if log.name == latest.name:
            first = f"the first is on line {log.values['name'].origin.line}"
            document.fail_on(
                latest.values["name"].origin.line,
                f"a second log is named {log.name}; {first}",
                "add name = …",
            )
        # By the real place: a link to a directory is that directory.
        if os.path.realpath(log.dir) == os.path.realpath(latest.dir):
            first = f"log {log.name}, on line {log.values['dir'].origin.line}"
            document.fail_on(
                latest.values["dir"].origin.line,
                f"{latest.dir} is the directory of {first}, already",
                "give each log a directory of its own",
            )
        # A checkpoint is known by its origin alone: two logs with one look like forks of each other.
        if log.origin == latest.origin:
            first = f"log {log.name}, on line {log.values['origin'].origin.line}"
            document.fail_on(
                latest.values["origin"].origin.line,
                f"{latest.origin} is the origin of {first}, already",
                "give each log an origin of its own",
            )
        if log.archive is not None and log.archive == latest.archive:
            document.fail_on(
                latest.values["archive"].origin.line,
                f"{latest.archive} is the archive of log {log.name}, already",
                "give each log a prefix of its own",
            )
    if latest.archive is not None and latest.values["archive_receipts"].value is None:
        document.fail_on(
            latest.values["archive"].origin.line,
            "an archive without archive_receipts",
            'add archive_receipts = "/var/lib/epochseal-archive": the archiver writes it, the agent reads it',
        )
    if sum(isinstance(source, StdinTable) for log in logs for source in log.sources) > 1:
        at = ("log", len(earlier), "source")
        document.fail(at, "standard input is read twice", "only one source of the file can be stdin")
