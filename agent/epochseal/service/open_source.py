"""Open the sources that a configuration names; each kind is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from epochseal.config import LogConfig
from epochseal.config.source_tables import (
    JournaldTable,
    SourceTable,
    StdinTable,
    SyslogTable,
    SyslogUdpTable,
    TailTable,
    UnixDatagramTable,
    UnixStreamTable,
)
from epochseal.format.seal_lines import SourceMark
from epochseal.service.launch import stdin_stream
from epochseal.service.signals import Signals
from epochseal.sources.records import Rule
from epochseal.sources.source import Source
from epochseal.sources.stream import StreamSource
from epochseal.units import parse_duration

if TYPE_CHECKING:
    from epochseal.sources.tail_options import TailOptions

# ruff: noqa: PLC0415  # imports inside of functions are what this module is for


_LONGEST_FRAME = 1 << 20
"""Frames and datagrams are escaped, which is work for each byte: no sender may ask for much at once."""


def open_source(table: SourceTable, log: LogConfig, signals: Signals) -> Source:
    """The source, listening or open; its log is started already, so that positions can be read.

    Raises:
        ConfigError: it cannot be opened as it is configured.
        EpochsealError: the positions in the log cannot be read.
    """
    block, longest = log.number("block_bytes"), log.number("max_entry_bytes")
    match table:
        case StdinTable():
            return StreamSource(
                stdin_stream(signals),
                "stdin",
                block_bytes=block,
                max_entry_bytes=longest,
                on_long=table.on_long_entry,
                rule=_rule(table),
            )
        case TailTable():
            from epochseal.sources.tail import TailSource

            return TailSource(
                table.paths,
                _positions(log),
                block_bytes=block,
                max_entry_bytes=longest,
                on_long=table.on_long_entry,
                rule=_rule(table),
                options=_tail_options(table),
            )
        case JournaldTable():
            from epochseal.sources.journal_selection import Selection
            from epochseal.sources.journald import JournaldSource

            directory = Path(table.directory) if table.directory is not None else None
            return JournaldSource(
                Selection(table.units, table.matches, table.priorities, table.exclude),
                directory,
                _positions(log),
                block_bytes=block,
                max_entry_bytes=longest,
                on_long=table.on_long_entry,
            )
        case _:
            return _open_socket(table, block, longest)


def _open_socket(
    table: UnixStreamTable | UnixDatagramTable | SyslogTable | SyslogUdpTable, block: int, longest: int
) -> Source:
    match table:
        case UnixStreamTable():
            from epochseal.sources.unix import open_stream

            return open_stream(
                Path(table.path),
                mode=int(table.mode, 8),
                acks=table.acks,
                framing=table.framing,
                block_bytes=block,
                max_entry_bytes=longest,
            )
        case UnixDatagramTable():
            from epochseal.sources.unix import open_datagrams

            mode = int(table.mode, 8)
            return open_datagrams(
                Path(table.path), mode=mode, block_bytes=block, max_entry_bytes=min(longest, _LONGEST_FRAME)
            )
        case SyslogTable():
            from epochseal.sources.syslog import TlsFiles, open_syslog

            tls = None
            if table.tls is not None:
                client_ca = Path(table.tls.client_ca) if table.tls.client_ca is not None else None
                tls = TlsFiles(Path(table.tls.cert), Path(table.tls.key), client_ca)
            return open_syslog(
                table.listen,
                tls=tls,
                framing=table.framing,
                block_bytes=block,
                max_entry_bytes=min(longest, _LONGEST_FRAME),
            )
        case SyslogUdpTable():
            from epochseal.sources.syslog import open_syslog_udp

            return open_syslog_udp(
                table.listen, block_bytes=block, max_entry_bytes=min(longest, _LONGEST_FRAME)
            )


def _tail_options(table: TailTable) -> TailOptions:
    from epochseal.sources.rotated_names import RotatedNames
    from epochseal.sources.tail_options import TailOptions

    by_hand = table.rotated
    order = by_hand.order if by_hand is not None else "time"
    return TailOptions(
        exclude=table.exclude,
        from_end=table.start == "end",
        ignore_older=_seconds(table.ignore_older),
        close_inactive=_seconds(table.close_inactive),
        names=RotatedNames(by_hand.names if by_hand is not None else (), order, table.olddir),
    )


def _seconds(duration: str | None) -> float | None:
    return parse_duration(duration) / 1000 if duration is not None else None


def _rule(table: StdinTable | TailTable) -> Rule | None:
    from epochseal.sources.records import ContainerLines, StartOfRecord

    if table.container is not None:
        return ContainerLines(table.container)
    return StartOfRecord.of(table.multiline) if table.multiline is not None else None


def _positions(log: LogConfig) -> Mapping[str, SourceMark]:
    from epochseal.sealing.source_positions import read_positions

    return read_positions(log.dir)
