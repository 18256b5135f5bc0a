"""CPU of sealing and verifying, as ratios to `openssl dgst -sha256` of the same bytes in the same run.

    python -m tests.bench.bench --mb 500 --dir /dev/shm     # 2.1 GB if nothing is said, in a temporary folder

Whole processes are measured, children included, and the start-up of each program (a run on one entry) is
subtracted. `copy` writes the same bytes in the pieces in which the agent commits them, each made durable:
what the kernel asks of anybody who stores this log.

A virtual machine may hand freed memory back to its host. Then each page of a new file is fetched anew at its
first write, which counts as system time, of `copy` as of sealing, and may be most of it: the best of several
rounds shows the least of that.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ENTRY = 250
_COMMIT = 1 << 20
PROGRAM = str(Path(sys.executable).parent / "epochseal")


class Cost(NamedTuple):
    """Seconds."""

    user: float
    system: float
    wall: float

    @property
    def cpu(self) -> float:
        """User and system time together."""
        return self.user + self.system

    def times(self, factor: float) -> Cost:
        """So many times as much."""
        return Cost(*(factor * seconds for seconds in self))

    def less(self, other: Cost) -> Cost:
        """What is left when another cost is subtracted."""
        return Cost(*(max(mine - its, 0.0) for mine, its in zip(self, other, strict=True)))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=2100, help="megabytes of entries")
    parser.add_argument("--dir", type=Path, default=None, help="where to work")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many rounds is shown")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        _bench(Path(folder), arguments.mb * 1_000_000 // ENTRY, arguments.rounds)


def _bench(folder: Path, entries: int, rounds: int) -> None:
    os.chdir(folder)
    # What agents and verifications remember goes with the folder.
    os.environ["XDG_STATE_HOME"] = str(Path.cwd() / "state")
    run([PROGRAM, "keygen", "keys"])
    big, one = folder / "big.log", folder / "one.log"
    write_entries(big, entries)
    write_entries(one, 1)
    size = big.stat().st_size
    print(f"{entries:,} entries of {ENTRY} bytes, {size / 1e9:.2f} GB, {rounds} round(s), in {folder.parent}")
    best: dict[str, Cost] = {}
    for _ in range(rounds):
        for name, cost in round_of(big, one).items():
            best[name] = min(best.get(name, cost), cost, key=lambda item: item.cpu)
    yard = best["openssl dgst -sha256"]
    titles = f"{'user s':>8}{'sys s':>8}{'CPU s':>8}{'wall s':>8}{'ratio':>8}{'user':>7}"
    print(f"{'':28}{titles}{'entries / CPU s':>18}")
    for name, cost in best.items():
        print(
            f"{name:28}{cost.user:8.2f}{cost.system:8.2f}{cost.cpu:8.2f}{cost.wall:8.2f}"
            f"{cost.cpu / yard.cpu:8.2f}{cost.user / yard.user:7.2f}{entries / cost.cpu:18,.0f}"
        )


def round_of(big: Path, one: Path) -> dict[str, Cost]:
    """What each program takes for the file `big`, less what it takes for the file `one`."""
    verify = [PROGRAM, "verify", "--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor"]
    public = [PROGRAM, "verify", "--checkpoint-key", "file:keys/auditor"]
    found = {}
    found["openssl dgst -sha256"] = cost(["openssl", "dgst", "-sha256", str(big)]).less(
        cost(["openssl", "dgst", "-sha256", str(one)])
    )
    found["copy"] = copy_cost(big)
    found["seal"] = _seal(big, "L").less(_seal(one, "S"))
    for jobs in (1, 2):
        found[f"verify, --jobs {jobs}"] = cost([*verify, "L", "--jobs", str(jobs)]).less(
            cost([*verify, "S", "--jobs", str(jobs)])
        )
    found["verify, public key alone"] = cost([*public, "L", "--jobs", "1"]).less(
        cost([*public, "S", "--jobs", "1"])
    )
    return found


def write_entries(path: Path, count: int, size: int = ENTRY) -> None:
    """Entries that all differ, as those of a real service do."""
    with path.open("wb") as file:
        for start in range(0, count, 10_000):
            numbers = range(start, min(start + 10_000, count))
            lines = [
                b"%012d user=%08x action=read object=/accounts/%d result=allowed " % (n, n * 7919, n)
                for n in numbers
            ]
            file.write(b"".join(line.ljust(size - 1, b".")[: size - 1] + b"\n" for line in lines))


def _seal(source: Path, logdir: str) -> Cost:
    # With what is remembered of it: without that, a log made anew is one that was tampered with.
    for path in (logdir, "state"):
        shutil.rmtree(path, ignore_errors=True)
    keys = ["--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent"]
    return cost([PROGRAM, "seal", logdir, "--origin", "example.com/bench", *keys], source)


def copy_cost(source: Path) -> Cost:
    """Write the bytes of a file, durable in the pieces in which the agent commits them."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with source.open("rb", buffering=0) as reader, Path("copy").open("wb", buffering=0) as writer:
        while piece := reader.read(_COMMIT):
            writer.write(piece)
            os.fdatasync(writer.fileno())
    after = resource.getrusage(resource.RUSAGE_SELF)
    Path("copy").unlink()
    return Cost(
        after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, time.monotonic() - started
    )


def cost(command: Sequence[str], source: Path | None = None) -> Cost:
    """What a command takes, its children included; it has to succeed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run(command, source)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, time.monotonic() - started
    )


def run(command: Sequence[str], source: Path | None = None) -> None:
    """Run a command that has to succeed, with this file as its input."""
    with (source or Path(os.devnull)).open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()}")


if __name__ == "__main__":
    main()
