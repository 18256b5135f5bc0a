"""The kinds of sources: one table each, whose keys are what `[[log.source]]` may have beside its `kind`.

A new kind begins here, as a class in `SourceTable`. The type checker then asks for what opens it
(service/open_source.py) and for what doctor looks at (doctor/source_checks.py); a test asks for its line in
docs/configuration.md.
"""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import msgspec

from epochseal.sealing.limits import LongEntries


class _Written(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """Keys as they are written; one that nobody knows is an error."""


class _Source(_Written, frozen=True, tag_field="kind"):
    """One source; its class has the kind as its tag."""


class TlsTable(_Written, frozen=True):
    """`tls` of a syslog source: names of PEM files."""

    cert: str
    key: str
    client_ca: str | None = None


class RotatedTable(_Written, frozen=True):
    """`rotated` of a tail source: how rotated files are named, and in which order they were made."""

    names: list[str]
    order: Literal["time", "up", "down"] = "time"


class StdinTable(_Source, frozen=True, tag="stdin"):
    """Standard input of the daemon."""

    on_long_entry: LongEntries = "skip"
    multiline: str | None = None
    container: Literal["cri", "docker"] | None = None


class TailTable(_Source, frozen=True, tag="tail"):
    """Files that another program appends to; `paths` are globs, and `exclude` those of files to leave out."""

    paths: list[str]
    exclude: list[str] = []
    start: Literal["beginning", "end"] = "beginning"
    ignore_older: str | None = None
    close_inactive: str | None = None
    rotated: RotatedTable | None = None
    olddir: str | None = None
    on_long_entry: LongEntries = "skip"
    multiline: str | None = None
    container: Literal["cri", "docker"] | None = None


class UnixStreamTable(_Source, frozen=True, tag="unix-stream"):
    """A stream socket."""

    path: str
    mode: str = "0660"
    acks: bool = False
    framing: Literal["auto", "lf", "nul"] = "auto"


class UnixDatagramTable(_Source, frozen=True, tag="unix-datagram"):
    """A datagram socket."""

    path: str
    mode: str = "0660"


class SyslogTable(_Source, frozen=True, tag="syslog"):
    """Syslog over TCP, or over TLS."""

    listen: str
    tls: TlsTable | None = None
    framing: Literal["auto", "lf", "nul", "octet-counting"] = "auto"


class SyslogUdpTable(_Source, frozen=True, tag="syslog-udp"):
    """Syslog over UDP, which loses in silence."""

    listen: str


class JournaldTable(_Source, frozen=True, tag="journald"):
    """The journal, or what is selected of it."""

    units: list[str] = []
    matches: list[str] = []
    priorities: str = ""
    exclude: list[str] = []
    directory: str | None = None
    on_long_entry: Literal["skip", "stop"] = "skip"


SourceTable = (
    StdinTable
    | TailTable
    | UnixStreamTable
    | UnixDatagramTable
    | SyslogTable
    | SyslogUdpTable
    | JournaldTable
)


def kind_of(table: SourceTable | type[SourceTable]) -> str:
    """The `kind` that a table has in the file."""
    return str(table.__struct_config__.tag)


SOURCE_TABLES: dict[str, type[SourceTable]] = {kind_of(table): table for table in get_args(SourceTable)}
"""The tables by their kind."""


def words_of(key: str) -> list[str]:
    """The words that a key of these tables may have, of whatever kind; none if it is no choice."""
    words = dict[str, None]()
    for table in (*SOURCE_TABLES.values(), RotatedTable):
        for field in msgspec.structs.fields(table):
            if field.name == key:
                kinds = (field.type, *get_args(field.type))
                words |= dict.fromkeys(
                    word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)
                )
    return list(words)
