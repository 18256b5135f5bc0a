"""What may stand in a configuration file: tables, their keys, and how each value is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from epochseal.config.source_tables import SourceTable
from epochseal.config.state_dir import default_state_dir, parse_state_dir
from epochseal.families import FamilyTables
from epochseal.keys import parse_key_uri
from epochseal.sealing import defaults
from epochseal.sealing.setting_bounds import check_bounds
from epochseal.storage.archive_path import parse_archive
from epochseal.units import format_duration, format_size, parse_duration, parse_size

Compression = Literal["none", "gzip", "zstd"]


class _Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """Keys that are not written are absent, so that an overlay changes only what it names."""


class VerifierTable(FamilyTables, frozen=True):
    """`[verifier]`: the keys of a log as a verifier has them, and how it logs in; no agent looks at it."""

    epoch_key: str | list[str] | None = None
    checkpoint_key: str | None = None


class Level(FamilyTables, frozen=True):
    """What the top level sets for all logs, and each log may set for itself; as written, None if not."""

    epoch_key: str | None = None
    checkpoint_key: str | None = None
    runtime_dir: str | None = None
    state_dir: str | None = None
    keep_carry: bool | None = None
    epoch_interval: str | None = None
    epoch_max_entries: int | None = None
    epoch_max_bytes: str | int | None = None
    commit_interval: str | None = None
    block_bytes: str | int | None = None
    segment_bytes: str | int | None = None
    segment_age: str | None = None
    max_entry_bytes: str | int | None = None
    heartbeat: str | None = None
    max_overdue: str | None = None
    retention: str | None = None
    keep: str | None = None
    compress: Compression | None = None
    archive: str | None = None
    archive_receipts: str | None = None
    verifier: VerifierTable | None = None


class Metrics(_Table, frozen=True):
    """`[metrics]`: where metrics and the health page are served."""

    listen: str | None = None


class WitnessTable(_Table, frozen=True):
    """`[[witness]]`: who has to cosign checkpoints; `url` is where they are submitted."""

    name: str
    url: str
    vkey: str


class MonitorLogTable(VerifierTable, kw_only=True, frozen=True):
    """One `[[monitor.log]]`: the logs that a directory or a pattern names, with a verifier's keys."""

    dir: str
    origin: str | None = None
    log: str | None = None
    max_age: str | None = None


class MonitorTable(_Table, frozen=True):
    """`[monitor]`: what is verified all the time, and whom it is told."""

    listen: str | None = None
    interval: str | None = None
    scrub: str | None = None
    scrub_share: int | None = None
    state_dir: str | None = None
    expected: list[str] | None = None
    on_change: list[str] | None = None
    log: list[MonitorLogTable] | None = None


class LogTable(Level, frozen=True):
    """One `[[log]]`; in an overlay every key may be absent."""

    name: str | None = None
    dir: str | None = None
    origin: str | None = None
    source: list[SourceTable] | None = None


class TopLevel(Level, frozen=True):
    """A whole file without its `[env.*]` tables, which are read by the same classes."""

    metrics: Metrics | None = None
    monitor: MonitorTable | None = None
    witness: list[WitnessTable] | None = None
    quorum: int | None = None


class Setting(msgspec.Struct, frozen=True):
    """How one setting is read: `parse` raises ConfigError.

    `default` is as a person would write it, or is called for the value where this machine has a say in it.
    """

    parse: Callable[[Any], Any]
    default: str | bool | Callable[[], Any] | None = None


def _size(written: str | int) -> int:
    return parse_size(str(written))


SETTINGS: dict[str, Setting] = {
    "epoch_key": Setting(parse_key_uri),
    "checkpoint_key": Setting(parse_key_uri),
    "runtime_dir": Setting(Path),
    "state_dir": Setting(parse_state_dir, default_state_dir),
    "keep_carry": Setting(bool, default=True),
    "epoch_interval": Setting(parse_duration, format_duration(defaults.EPOCH_INTERVAL)),
    "epoch_max_entries": Setting(int),
    "epoch_max_bytes": Setting(_size),
    "commit_interval": Setting(parse_duration, format_duration(defaults.COMMIT_INTERVAL)),
    "block_bytes": Setting(_size, format_size(defaults.BLOCK_BYTES)),
    "segment_bytes": Setting(_size, format_size(defaults.SEGMENT_BYTES)),
    "segment_age": Setting(parse_duration),
    "max_entry_bytes": Setting(_size, format_size(defaults.MAX_ENTRY_BYTES)),
    "heartbeat": Setting(parse_duration, format_duration(defaults.HEARTBEAT)),
    "max_overdue": Setting(parse_duration, format_duration(defaults.MAX_OVERDUE)),
    "retention": Setting(parse_duration, format_duration(defaults.RETENTION)),
    "keep": Setting(parse_duration),
    "compress": Setting(str, "none"),
    "archive": Setting(parse_archive),
    "archive_receipts": Setting(Path),
}
"""The settings that the top level and each log may set: the fields of `Level` that are no table."""


def parse_setting(name: str, written: object) -> Any:  # noqa: ANN401  # as many types as there are settings
    """What is written for a setting, parsed, and within the bounds that it has.

    Raises:
        ConfigError: it cannot be meant.
    """
    value = SETTINGS[name].parse(written)
    return check_bounds(name, value) if type(value) is int else value
