"""`epochseal inspect`: what stands in a log, as tables that a person can read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import Styled, line_width, print_json, print_line, print_notice
from epochseal.cli.options import LOG_PLACE
from epochseal.cli.tables import print_table
from epochseal.exit_statuses import EMPTY, VERIFIED

if TYPE_CHECKING:
    from epochseal.evidence.overview import EpochView, Overview, SegmentView

_SHOWN = 10
_SHOWN_DAMAGE = 10
_WIDE = 110
_LABEL = 11
_SHORT = 8
_LONGEST_SHORT = 64
_SCHEME = re.compile(r"^[a-z][a-z0-9]*:(?=.{8})")
_KIB = 1024


@click.command()
@click.argument("logdir", type=LOG_PLACE)
@click.option("--all", "show_all", is_flag=True, help="Show every segment and epoch, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, always with all of them.")
def inspect(logdir: Path, show_all: bool, as_json: bool) -> int:
    """Show the segments, epochs and keys of a log; needs no key, and verifies nothing.

    \b
    Example:
      epochseal inspect logs
      epochseal inspect logs --json | jq '.epochs[-1]'

    Exit status: 0 shown, 3 files expire too fast to be read, 5 there is nothing to show, 6 a file cannot be
    read.
    """
    from epochseal.evidence.overview import read_overview

    view = read_overview(logdir, shown_epochs=None if show_all or as_json else _SHOWN)
    if as_json:
        print_json(view)
    elif view.segments:
        _show(logdir, view, show_all=show_all)
    else:
        print_notice(f"nothing to show: no sealed log is in {logdir}")
    return VERIFIED if view.segments else EMPTY


def _show(logdir: Path, view: Overview, *, show_all: bool) -> None:
    width = line_width()
    wide = width is None or width >= _WIDE
    print_line(Styled(str(logdir), "bold"), "  nothing was verified: epochseal verify does that")
    _pairs(_log_rows(view))
    _show_segments(view.segments, wide=wide, show_all=show_all)
    _show_epochs(view, wide=wide)
    _heading("keys")
    _pairs(_key_rows(view) or [("none", "no epoch line and no checkpoint can be read")])
    _heading("pending and damaged")
    _pairs(_pending_rows(view) or [("none",)])


def _log_rows(view: Overview) -> list[tuple[str, ...]]:
    first = f" from number {view.first_entry:,} on" if view.first_entry else ""
    rows: list[tuple[str, ...]] = [
        ("origin", view.origin or "unknown: no epoch line can be read"),
        ("log id", view.log),
        ("entries", f"{view.entries:,}{first}, {_human(view.bytes)}"),
        ("epochs", f"{view.epoch_count:,} in {_count(len(view.segments), 'segment')}"),
        ("tree", f"{view.tree_size:,} lines, {view.signed_size:,} of them under a signed checkpoint"),
        ("last sealed", f"{view.last_sealed or 'never'} ({view.state})"),
    ]
    if view.expired_segments:
        rows.append(("expired", f"segments up to {view.expired_segments:,}"))
    return rows


def _show_segments(segments: Sequence[SegmentView], *, wide: bool, show_all: bool) -> None:
    hidden = 0 if show_all else max(len(segments) - 2 * _SHOWN, 0)
    head = ["file", "epochs", "entries", "sealed", *(["first"] if wide else []), "last"]
    _heading("segments", len(segments), hidden)
    rows: list[list[str]] = []
    for place, item in enumerate(segments):
        if hidden and place == _SHOWN:
            rows.append(["…"])
        if hidden and _SHOWN <= place < len(segments) - _SHOWN:
            continue
        name = item.log_files[0] if item.log_files else f"{item.name}.log is missing"
        if item.seal_size is None:
            name = f"{item.name}.seal is missing"
        times = [*([_time(item.first_time)] if wide else []), _time(item.last_time)]
        rows.append([name, f"{item.epochs:,}", f"{item.entries:,}", _human(item.bytes), *times])
    print_table(rows, head=head, right={1, 2, 3})


def _show_epochs(view: Overview, *, wide: bool) -> None:
    hidden = view.epoch_count - len(view.epochs)
    # The key of each epoch is shown where there is room, or where there are several: one is named below.
    keys = wide or len(view.epoch_keys) > 1
    head = ["epoch", "seg", "link", *(["first"] if wide else []), "entries", "sealed", "started"]
    head += [*(["key"] if keys else []), "ended", "checkpoint"]
    _heading("epochs", view.epoch_count, hidden)
    rows: list[list[str]] = []
    short = _short_keys([key.key for key in view.epoch_keys])
    for place, item in enumerate(view.epochs):
        if hidden and place == _SHOWN:
            rows.append(["…"])
        row = [f"{item.epoch}", f"{item.segment}", item.link, *([f"{item.first_entry:,}"] if wide else [])]
        row += [f"{item.entries:,}", _human(item.bytes), _time(item.started)]
        row += [
            *([short.get(item.key, item.key)] if keys else []),
            item.ended or "open",
            _checkpoint(view, item),
        ]
        rows.append(row)
    numbers = {"epoch", "seg", "first", "entries", "sealed", "checkpoint"}
    print_table(rows, head=head, right={place for place, name in enumerate(head) if name in numbers})


def _checkpoint(view: Overview, epoch: EpochView) -> str:
    if epoch.signed is not None:
        return f"at {epoch.signed:,}"
    return "later" if epoch.tree_size < view.signed_size else "pending"


def _key_rows(view: Overview) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key in view.epoch_keys[:_SHOWN]:
        told = f"{_count(key.epochs, 'epoch')}: {key.first_epoch:,} to {key.last_epoch:,}"
        rows.append(("epoch key", key.key, told))
    for signer in view.checkpoint_keys[:_SHOWN]:
        told = (
            f"{_count(signer.checkpoints, 'checkpoint')}: tree {signer.first_size:,} to {signer.last_size:,}"
        )
        rows.append(("signed by", signer.key, told))
    for item in view.rotations[-_SHOWN:]:
        why = f"{item.why} ({item.ticket})" if item.ticket else item.why
        told = f"{item.time}, line {item.line:,}, by {item.who}: {why}"
        stolen = ", compromised" if item.compromised else ""
        rows.append(("rotated", f"{item.key} key{stolen}, {told}", item.old, item.new))
    if (hidden := len(view.epoch_keys) + len(view.checkpoint_keys) + len(view.rotations) - len(rows)) > 0:
        rows.append(("", f"… {hidden:,} more (--json)"))
    return rows


def _pending_rows(view: Overview) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    if view.denied_starts:
        told = "the agent found other files than it remembered (epochseal verify has more)"
        rows.append(("denied", f"{_count(view.denied_starts, 'start')}: {told}"))
    if view.unsigned_lines:
        rows.append(
            ("unsigned", f"{_count(view.unsigned_lines, 'line')} at the end of the tree, no checkpoint yet")
        )
    for item in view.segments:
        where = f"segment {item.segment}"
        if item.unsealed_bytes:
            rows.append(("unsealed", f"{where}: {item.unsealed_bytes:,} bytes follow the last sealed entry"))
        if item.torn_bytes:
            rows.append(("torn line", f"{where}: {item.torn_bytes:,} bytes of an unfinished seal line"))
        if item.set_aside_bytes:
            rows.append(("set aside", f"{where}: {item.set_aside_bytes:,} bytes in {item.name}.unsealed"))
        if item.set_aside_lines:
            rows.append(
                ("set aside", f"{where}: {item.set_aside_lines:,} bytes of seal lines in {item.name}.torn")
            )
        if item.seal_size is None or len(item.log_files) != 1:
            files = ", ".join(item.log_files) or "no log file"
            rows.append(
                ("files", f"{where}: {files}{'' if item.seal_size is not None else ', no seal file'}")
            )
    rows += [
        ("damaged", _damage(item.segment, item.line, item.detail)) for item in view.damage[:_SHOWN_DAMAGE]
    ]
    if view.damaged_lines > _SHOWN_DAMAGE:
        rows.append(("", f"… {view.damaged_lines - _SHOWN_DAMAGE:,} more damaged lines (--json)"))
    return rows + [("foreign file", name) for name in view.foreign_files[:_SHOWN_DAMAGE]]


def _damage(segment: int, line: int, detail: str) -> str:
    return f"segment {segment}, seal line {line}: {detail}" if line else detail


def _heading(title: str, count: int = 0, hidden: int = 0) -> None:
    more = f"  the first and last {_SHOWN}; --all shows all {count:,}" if hidden else ""
    print_line()
    print_line(Styled(title, "bold"), more)


def _pairs(pairs: Sequence[tuple[str, ...]]) -> None:
    rows = [
        (Styled("" if place else f"{left:{_LABEL}}", "dim"), line)
        for left, *lines in pairs
        for place, line in enumerate(lines or [""])
    ]
    print_table(rows)


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """A short name of each key id: the beginning of its last part, long enough to tell the keys apart."""
    names = {key: _SCHEME.sub("", key.rstrip("/").rpartition("/")[2]) for key in keys}
    if len(set(names.values())) < len(names):  # versions of one key
        names = {key: key.partition(":")[2] for key in keys}
    for width in range(_SHORT, _LONGEST_SHORT):
        if len({name[:width] for name in names.values()}) == len(names):
            return {key: name[:width] for key, name in names.items()}
    return names


def _time(text: str) -> str:
    """`2026-11-23 10:00:00`."""
    return text[:19].replace("T", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _human(size: int) -> str:
    if size < _KIB:
        return f"{size} B"
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"
