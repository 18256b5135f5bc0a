"""Runs against the walk, mutation by mutation; `make mutations` tries a million.

As tests/reference/test_block_runs.py, but in one process and over one epoch at a time: some hundred a second.
Each changed epoch is checked with runs and without, and everything that is found has to be equal. It ends
with 1 at the first one that is not, and says which number it has: the same number makes the same one again.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from epochseal.keys import load_backend, parse_key_uri
from epochseal.verifier import block_runs
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import SegmentPart, take_snapshot
from tests.reference.test_block_runs import change, seal_quiet

BLOCKS = (12, 12, 12, 40)
NEVER = 1 << 60
TOLD = 1_000


class Epochs:
    """One log, changed in place, and what is found in it."""

    def __init__(self, folder: Path, blocks: int) -> None:
        self.quiet = seal_quiet(folder, blocks)
        (self._seal,), (self._log,) = (
            list((self.quiet.path / "segments").glob(f"*.{end}")) for end in ("seal", "log")
        )
        self.lines, self.entries = self._seal.read_bytes(), self._log.read_bytes()
        uri = parse_key_uri(self.quiet.key)
        self._keyring = Keyring(load_backend(uri).recoverer(uri, {}))

    def put(self, lines: bytes, entries: bytes) -> list[SegmentPart]:
        """Have the log hold these; what there is to check then."""
        self._seal.write_bytes(lines)
        self._log.write_bytes(entries)
        return take_snapshot(self.quiet.path, witnessed=False, until=0.0).parts

    def found(self, parts: list[SegmentPart], *, keyed: bool, fewest: int) -> list[EpochResult]:
        """Everything that is found in its epochs, with runs of so many lines at least."""
        results = []
        before, block_runs.FEWEST = block_runs.FEWEST, fewest
        try:
            for part in parts:
                content = SealedEntries(part.log, part.sealed, part.reading, last=part.last)
                try:
                    keyring = self._keyring if keyed else None
                    results += [check_epoch(part, epoch, content, keyring) for epoch in part.epochs]
                finally:
                    content.close()
        finally:
            block_runs.FEWEST = before
        return results


def main(first: int, count: int) -> int:
    """Try so many from this number on; 0 if none of them is found otherwise."""
    taken, take = 0, block_runs.BlockRuns.take

    def counted(self: block_runs.BlockRuns) -> int:
        nonlocal taken
        taken += (lines := take(self))
        return lines

    block_runs.BlockRuns.take = counted  # type: ignore[method-assign]  # to see that there is something to see
    good, begun = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        logs = [Epochs(Path(folder) / str(blocks), blocks) for blocks in sorted({*BLOCKS})]
        for number in range(first, first + count):
            rng = Random(number)
            log = logs[sorted({*BLOCKS}).index(rng.choice(BLOCKS))]
            lines = change(rng, log.lines) if rng.random() < 0.85 else log.lines
            entries = change(rng, log.entries) if rng.random() < 0.25 else log.entries
            keyed = rng.random() < 0.7
            parts = log.put(lines, entries)
            by_runs = log.found(parts, keyed=keyed, fewest=block_runs.FEWEST)
            if by_runs != log.found(parts, keyed=keyed, fewest=NEVER):
                write(f"number {number}: runs and walk differ")
                return 1
            good += all(not result.problems for result in by_runs)
            done = number + 1 - first
            if done % TOLD == 0 or done == count:
                rate = done / (time.monotonic() - begun)
                cpu = sum(os.times()[:2])
                write(
                    f"{done} tried, 0 differ, {good} without damage, {taken} lines in runs, "
                    f"{rate:.0f} a second, {done / cpu:.0f} a CPU second"
                )
    return 0


def write(line: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
