"""Tables of what the worst inputs cost, from the rows that worst_inputs.py has recorded."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One command on one input: its exit status, seconds of the clock and of the CPU, megabytes at most."""

    input: str
    command: str
    status: int
    bytes: int
    seconds: float
    cpu: float
    peak: float


def read(path: Path) -> list[Row]:
    """What was recorded; of a row that was measured again, the last one."""
    rows: dict[tuple[str, str, int], Row] = {}
    for line in path.read_text().splitlines():
        row = Row(**json.loads(line))
        rows[row.input, row.command, row.bytes] = row
    return list(rows.values())


def slope(points: Iterable[tuple[int, float]], start: float) -> float:
    """That of a line in a logarithmic plot, by least squares; 0 if nothing stands out from the start-up."""
    logs = [(math.log(size), math.log(cpu - start)) for size, cpu in points if cpu - start > 0.2]
    if len({size for size, _ in logs}) < 2:  # a line needs two
        return 0.0
    middle = [sum(axis) / len(logs) for axis in zip(*logs, strict=True)]
    over = sum((x - middle[0]) ** 2 for x, _ in logs)
    found: float = sum((x - middle[0]) * (y - middle[1]) for x, y in logs) / over
    return found


def text(rows: Sequence[Row]) -> str:
    """Two tables in Markdown: what each input costs by its size; each command's dearest input."""
    start = min((row.cpu for row in rows), default=0.0)
    return f"{_by_size(rows, start)}\n\n{_by_command(rows)}\n"


def _by_size(rows: Sequence[Row], start: float) -> str:
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        # Files beside a log have one command each, which is called after their kind.
        if row.command == "verify" or row.command not in {
            item.command for item in rows if item.input == "honest"
        }:
            found[row.input][row.bytes] = row
    sizes = sorted({row.bytes for row in rows})
    lines = [f"| input | {' | '.join(f'{size / 1e6:g} MB' for size in sizes)} | slope | MB | status |"]
    lines.append("|---" * (len(sizes) + 4) + "|")
    for name, by_size in sorted(found.items(), key=lambda item: -max(row.cpu for row in item[1].values())):
        cells = [f"{by_size[size].cpu:.1f}" if size in by_size else "" for size in sizes]
        steep = slope(((size, row.cpu) for size, row in by_size.items()), start)
        largest = by_size[max(by_size)]
        cells += [f"{steep:.2f}" if steep else "", f"{largest.peak:.0f}", str(largest.status)]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_command(rows: Sequence[Row]) -> str:
    largest = max((row.bytes for row in rows), default=0)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.bytes == largest:
            found[row.command].append(row)
    lines = [f"| command | inputs of {largest / 1e6:g} MB | dearest | CPU s | s | most MB | statuses |"]
    lines.append("|---" * 7 + "|")
    for command, its in found.items():
        dearest = max(its, key=lambda row: row.cpu)
        statuses = ", ".join(map(str, sorted({row.status for row in its})))
        lines.append(
            f"| {command} | {len(its)} | {dearest.input.replace('_', ' ')} | {dearest.cpu:.1f}"
            f" | {dearest.seconds:.1f} | {max(row.peak for row in its):.0f} | {statuses} |"
        )
    return "\n".join(lines)
