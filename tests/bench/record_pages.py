"""What is made from the record: its file, the chart, the tables of its page.

python -m tests.bench.record_pages      # make them again from docs/benchmarks/record.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
RECORD = FOLDER / "record.json"
CHART = FOLDER / "record.svg"
PAGE = FOLDER / "README.md"
_BEGIN, _END = "<!-- figures of the record -->\n", "<!-- end of the figures -->"
_BAR = 420
_SHORT, _SHORTEST = "too short to say", 0.05


def write(record: dict[str, Any]) -> None:
    """Write the record and all that is made from it."""
    FOLDER.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    CHART.write_text(chart(record), encoding="utf-8")
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), tables(record)), encoding="utf-8")


def load() -> dict[str, Any]:
    """The record as it was written."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def between(page: str) -> str:
    """What a page has of the record."""
    return page.partition(_BEGIN)[2].partition(_END)[0]


def replaced(page: str, text: str) -> str:
    """The page with other figures."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit("a page has no place for the figures of the record")
    return before + begin + text + end + after


def summary(record: dict[str, Any]) -> str:
    """The figures that matter most: full blocks against openssl, and one entry a block against peers."""
    full, machine = record["full"], record["machine"]
    yard = full["costs"]["openssl dgst -sha256"]
    yard_cpu = yard["user"] + yard["system"]
    where = f"{machine['processors']} processors ({machine['processor']})"
    lines = [
        f"{_number(full['mb'])} MB in entries of {full['entry']} bytes, on {where}:",
        "",
        "| | user s | system s | CPU against `openssl dgst -sha256` | its user time alone |",
        "|---|---|---|---|---|",
    ]
    for name, each in full["costs"].items():
        cpu = each["user"] + each["system"]
        ratios = f"{cpu / yard_cpu:.2f} | {each['user'] / yard['user']:.2f}"
        lines.append(f"| {name} | {each['user']:.2f} | {each['system']:.2f} | {ratios} |")
    lines += ["", *_peer_table(record), ""]
    return "\n".join(lines) + "\n"


def _peer_table(record: dict[str, Any]) -> list[str]:
    peers = record["peers"]
    slowest = peers["rates"]["epochseal, one entry a block"]["verify"]
    lines = [
        f"The same {_number(peers['entries'])} entries, in entries a CPU-second:",
        "",
        "| | written | verified | our one entry a block verifies |",
        "|---|---|---|---|",
    ]
    for name, each in peers["rates"].items():
        write, verify = (_rate(peers["entries"], each[what]) for what in ("write", "verify"))
        ratio = _SHORT if verify == _SHORT else f"{slowest / each['verify']:.2f} times as fast"
        lines.append(f"| {name} | {write} | {verify} | {ratio} |")
    return lines


def tables(record: dict[str, Any]) -> str:
    """All of it, for the page of the record."""
    machine = record["machine"]
    lines = ["![entries verified a CPU-second](record.svg)", ""]
    lines += ["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in machine.items())]
    if record["quick"]:
        lines += ["", "**A quick run, of small sizes.**"]
    lines += ["", "## Full blocks, and peers", "", summary(record).rstrip("\n"), "", "## Commits", ""]
    lines += ["| blocks a commit | commits a CPU-second | blocks a CPU-second |", "|---|---|---|"]
    for blocks, rate in record["commits"].items():
        lines.append(f"| {blocks} | {_number(rate)} | {_number(rate * int(blocks))} |")
    lines += ["", "## Entries and blocks: entries a CPU-second", ""]
    columns = [name for name in record["grid"][0] if name not in {"entry", "block", "entries"}]
    lines += [
        f"| bytes of an entry | entries a block | {' | '.join(columns)} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for row in record["grid"]:
        rates = " | ".join(_rate(row["entries"], row[name]) for name in columns)
        lines.append(f"| {row['entry']} | {row['block']} | {rates} |")
    lines += ["", "## Commands: CPU seconds by blocks, each of one entry", ""]
    steps = next(iter(record["commands"].values()))["blocks"]
    lines += [f"| | {' | '.join(map(_number, steps))} | growth | peak MB |", "|---" * (3 + len(steps)) + "|"]
    for name, each in record["commands"].items():
        seconds = " | ".join(f"{cpu:.2f}" for cpu in each["cpu"])
        growth = _SHORT if each["growth"] is None else f"n^{each['growth']}"
        lines.append(f"| {name} | {seconds} | {growth} | {max(each['peak_mb']) or 'not measured'} |")
    return "\n".join(lines) + "\n"


def chart(record: dict[str, Any]) -> str:
    """Entries verified a CPU-second as bars, in SVG."""
    rates = {name: each["verify"] for name, each in record["peers"]["rates"].items()}
    most, height = max(rates.values()), 40 + 28 * len(rates)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" font-size="13">',
        f'<text x="10" y="20">entries of {record["peers"]["entry"]} bytes verified a CPU-second</text>',
    ]
    for place, (name, rate) in enumerate(rates.items()):
        y = 34 + 28 * place
        color = "#2f6f9f" if name.startswith("epochseal") else "#9a9a9a"
        parts += [
            f'<text x="10" y="{y + 15}">{name}</text>',
            f'<rect x="240" y="{y}" width="{max(_BAR * rate / most, 1):.1f}" height="20" fill="{color}"/>',
            f'<text x="{250 + _BAR * rate / most:.1f}" y="{y + 15}">{_number(rate)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rate(count: int, per_second: int) -> str:
    """So many a second, if it took long enough: the start that is subtracted varies by as much as is left."""
    return _number(per_second) if count >= _SHORTEST * per_second else _SHORT


def _number(value: int) -> str:
    return f"{value:,}"


if __name__ == "__main__":
    write(load())
