"""The record: what sealing, verifying and every other command take on this machine, and what peers do.

    make bench                 # the whole record, some ten minutes on a quiet machine
    make bench QUICK=--quick   # a minute

It is written to docs/benchmarks/record.json; chart and tables are made from that (record_pages.py). CPU is
user and system time, of children too; each figure says what was subtracted.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import record_pages
from tests.bench.bench import ENTRY, PROGRAM, Cost, cost, round_of, run, write_entries
from tests.bench.commits import commit_rate
from tests.bench.peers import peers

_ROLES = ["--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor"]
_PUBLIC = _ROLES[2:]
_AGENT = ["--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent"]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    full_mb: int
    rounds: int
    grid_blocks: int
    grid_mb: int
    steps: tuple[int, ...]
    peer_entries: int
    commits: int


QUICK = Sizes(100, 1, 2_000, 8, (1_000, 10_000), 10_000, 300)
WHOLE = Sizes(2_000, 5, 20_000, 64, (1_000, 10_000, 100_000, 1_000_000), 200_000, 4_000)


def main() -> None:
    """Measure, and write the record and what is made from it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a minute")
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"), help="a tmpfs")  # noqa: S108  # as it says
    arguments = parser.parse_args()
    record = measure(QUICK if arguments.quick else WHOLE, arguments.dir, quick=arguments.quick)
    record_pages.write(record)
    print(record_pages.summary(record))


def measure(sizes: Sizes, where: Path, *, quick: bool) -> dict[str, Any]:
    """The whole record."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(dir=where) as folder:
        os.chdir(folder)
        # What agents and verifications remember goes with the folder.
        os.environ["XDG_STATE_HOME"] = str(Path.cwd() / "state")
        run([PROGRAM, "keygen", "keys"])
        try:
            return {
                "machine": _machine(),
                "quick": quick,
                "full": _full(sizes),
                "commits": {
                    str(blocks): round(commit_rate(blocks, sizes.commits // blocks)) for blocks in (1, 16, 30)
                },
                "grid": _grid(sizes),
                "commands": _commands(sizes),
                "peers": _peers(sizes),
            }
        finally:
            os.chdir(here)


def _machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(tz=UTC).strftime("%Y-%m-%d"),
        "processor": names[0].partition(":")[2].strip() if names else platform.machine(),
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _full(sizes: Sizes) -> dict[str, Any]:
    """Full blocks, against openssl: medians of whole processes, less what a log of one entry takes."""
    big, one = Path("big").absolute(), Path("one").absolute()
    entries = sizes.full_mb * 1_000_000 // ENTRY
    write_entries(big, entries)
    write_entries(one, 1)
    rounds = [round_of(big, one) for _ in range(sizes.rounds)]
    for path in (big, one):
        path.unlink()
    shutil.rmtree("L")
    found = {name: _median([each[name] for each in rounds]) for name in rounds[0]}
    return {
        "mb": sizes.full_mb,
        "entry": ENTRY,
        "rounds": sizes.rounds,
        "costs": {name: _rounded(item) for name, item in found.items()},
    }


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def _rounded(item: Cost) -> dict[str, float]:
    return {"user": round(item.user, 3), "system": round(item.system, 3), "wall": round(item.wall, 3)}


def _grid(sizes: Sizes) -> list[dict[str, Any]]:
    """Every size of entry and block: entries a CPU-second, less what a log of one entry takes."""
    start_seal, start_verify = _start_up()
    found = []
    for entry in (60, ENTRY, 4096):
        for name, per_block in (("1", 1), ("16", 16), ("full", 0)):
            count = sizes.grid_blocks * per_block or sizes.grid_mb * 1_000_000 // entry
            write_entries(Path("grid"), count, entry)
            logdir = _seal("grid", *(["--block-bytes", f"{entry * per_block}B"] if per_block else []))
            row: dict[str, Any] = {"entry": entry, "block": name, "entries": count}
            row["seal"] = _rate(count, logdir[1].less(start_seal))
            for ending in ("none", "gzip"):
                if ending == "gzip":
                    _compress(Path(logdir[0]))
                for jobs in ("1", "2"):
                    taken = cost([PROGRAM, "verify", *_ROLES, "--jobs", jobs, logdir[0]])
                    row[f"verify {ending} --jobs {jobs}"] = _rate(count, taken.less(start_verify))
            found.append(row)
    return found


def _start_up() -> tuple[Cost, Cost]:
    write_entries(Path("one"), 1)
    logdir, sealed = _seal("one")
    return sealed, cost([PROGRAM, "verify", *_ROLES, logdir])


def _seal(source: str, *options: str) -> tuple[str, Cost]:
    for path in ("G", "state"):
        shutil.rmtree(path, ignore_errors=True)
    command = [PROGRAM, "seal", "G", "--origin", "example.com/bench", *_AGENT, *options]
    return "G", cost(command, Path(source))


def _rate(count: int, taken: Cost) -> int:
    return round(count / max(taken.cpu, 0.001))


def _compress(logdir: Path) -> None:
    for path in (logdir / "segments").glob("*.log"):
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        path.unlink()


def _commands(sizes: Sizes) -> dict[str, Any]:
    """Every command at growing numbers of blocks of one entry: CPU seconds, memory, and how they grow."""
    found: dict[str, Any] = {}
    for blocks in sizes.steps:
        write_entries(Path("entries"), blocks, 60)
        logdir, sealed = _seal("entries", "--block-bytes", "1B")
        _note(found, "seal", blocks, sealed, 0)
        for name, command in _every_command(logdir, blocks).items():
            taken, peak = _cost_and_peak([PROGRAM, *command])
            _note(found, name, blocks, taken, peak)
    for each in found.values():
        each["growth"] = _growth(each["blocks"], each["cpu"])
    return found


def _every_command(logdir: str, blocks: int) -> dict[str, list[str]]:
    return {
        "verify": ["verify", logdir, *_ROLES, "--jobs", "1"],
        "verify, public key alone": ["verify", logdir, *_PUBLIC, "--jobs", "1"],
        "verify with a report": ["verify", logdir, *_ROLES, "--jobs", "1", "--report", "report.html"],
        "inspect": ["inspect", logdir],
        "cat of all": ["cat", logdir, *_ROLES],
        "cat of one entry": ["cat", logdir, *_ROLES, "--entries", f"{blocks // 2}..{blocks // 2}"],
        "prove": ["prove", logdir, "--entry", str(blocks // 2), "-o", "proof", *_PUBLIC],
        "trust": ["trust", logdir, "-o", "trust", *_ROLES],
    }


def _note(found: dict[str, Any], name: str, blocks: int, taken: Cost, peak: int) -> None:
    each = found.setdefault(name, {"blocks": [], "cpu": [], "peak_mb": []})
    each["blocks"].append(blocks)
    each["cpu"].append(round(taken.cpu, 3))
    each["peak_mb"].append(peak)


# By a small process in between: a child's peak begins with the memory of whoever forked it.
_MEASURE = """
import os, resource, sys
told = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
status = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(told, b"%f %f %d" % (used.ru_utime, used.ru_stime, used.ru_maxrss))
sys.exit(status)
"""


def _cost_and_peak(command: list[str]) -> tuple[Cost, int]:
    """What a command takes, and the most memory that it has at a time, in MB."""
    for path in ("proof", "trust", "report.html"):
        Path(path).unlink(missing_ok=True)
    ran = subprocess.run([sys.executable, "-S", "-c", _MEASURE, *command], capture_output=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr.decode()}")
    user, system, peak = map(float, ran.stdout.split())
    return Cost(user, system, 0.0), round(peak / 1000)


def _growth(blocks: list[int], cpu: list[float]) -> float | None:
    """The exponent between the last two steps, the first step's time taken as start-up: 1 is linear."""
    *_, (less, more) = pairwise(zip(blocks, (each - cpu[0] for each in cpu), strict=True))
    if less[1] <= 0.05 or more[1] <= 0:
        return None  # too short to say
    return round(math.log(more[1] / less[1]) / math.log((more[0] - blocks[0]) / (less[0] - blocks[0])), 2)


def _peers(sizes: Sizes) -> dict[str, Any]:
    """Entries a CPU-second of peers, and of this program with one entry a block and with full blocks."""
    count, found = sizes.peer_entries, {}
    write_entries(Path("entries"), count)
    for name, options in (("one entry a block", ["--block-bytes", "1B"]), ("full blocks", [])):
        start_seal, start_verify = _start_up()
        logdir, sealed = _seal("entries", *options)
        taken = _median([cost([PROGRAM, "verify", *_ROLES, "--jobs", "1", logdir]) for _ in range(3)])
        found[f"epochseal, {name}"] = {
            "write": _rate(count, sealed.less(start_seal)),
            "verify": _rate(count, taken.less(start_verify)),
        }
    for name, write, check in peers(Path("entries").absolute(), count):
        found[name] = {"write": _rate(count, write), "verify": _rate(count, check)}
    return {"entries": count, "entry": ENTRY, "rates": found}


if __name__ == "__main__":
    main()
