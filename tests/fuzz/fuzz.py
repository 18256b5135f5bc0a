"""All targets, guided by coverage, on all processors: `make fuzz SECONDS=600`.

`python -m tests.fuzz.fuzz SECONDS TARGET…` runs some. What reaches new code is kept in `.fuzz/corpus`,
so that the next run goes on from there; findings lie in `.fuzz`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.table import CORPUS, TARGETS

KEPT = Path(".fuzz")
_MEMORY = 2048
"""MiB of one process: what reads without a bound is ended there."""
_HANG = 20
"""Seconds of one execution."""
_COUNT = re.compile(r"^stat::number_of_executed_units: ([0-9]+)$", re.MULTILINE)
_COVERED = re.compile(r" cov: ([0-9]+) ")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True)
class Run:
    """What one target's process has said."""

    target: str
    seconds: float
    status: int
    said: str

    def row(self) -> str:
        """Executions, rate and covered branches, or what was found."""
        count, covered = _COUNT.findall(self.said), _COVERED.findall(self.said)
        number = int(count[-1]) if count else 0
        reached = covered[-1] if covered else "-"
        row = f"{self.target:<18}{number:>12,}{number / self.seconds:>10,.0f}/s{reached:>8}"
        return row + ("  FOUND" if self.status else "")

    def story(self) -> str:
        """What was found, and how it is given to the target again."""
        file = _ARTIFACT.findall(self.said)
        again = f"python -m tests.fuzz.replay {self.target} {file[-1]}" if file else "no input was written"
        return f"\n{self.target}: {again}\n{self.said[-4000:]}"


def main() -> None:
    """One row a target when it is done; 1 if anything was found."""
    total, names = float(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    workers = min(os.cpu_count() or 1, len(names))
    seconds = max(total * workers / len(names), 1.0)
    found = []
    print(f"{'target':<18}{'executions':>12}{'rate':>12}{'covered':>8}")
    with ThreadPoolExecutor(workers) as pool:
        for run in pool.map(lambda name: _run(name, seconds), names):
            print(run.row(), flush=True)
            found += [run.story()] if run.status else []
    print("".join(found) or "nothing was found")
    sys.exit(bool(found))


def _run(target: str, seconds: float) -> Run:
    kept = KEPT / "corpus" / target
    kept.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds:.0f}", f"-timeout={_HANG}", f"-rss_limit_mb={_MEMORY}"]
    options += ["-print_final_stats=1", f"-artifact_prefix={KEPT}/{target}-", str(kept), str(CORPUS / target)]
    words = [sys.executable, "-m", "tests.fuzz.guided", target, *options]
    done = subprocess.run(words, capture_output=True, check=False)
    return Run(target, seconds, done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))


if __name__ == "__main__":
    main()
