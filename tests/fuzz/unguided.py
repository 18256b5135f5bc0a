"""Executions without a look at coverage: quick to begin, the same for a seed, with nothing to install."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.mutator import mutate
from tests.fuzz.table import corpus
from tests.fuzz.target import Target


class Finding(AssertionError):
    """An input for which a target does not hold: where it lies, and how it is given to the target again."""

    def __init__(self, target: Target, path: Path) -> None:
        super().__init__(f"{target.name}: run again with: python -m tests.fuzz.replay {target.name} {path}")


@dataclass(frozen=True)
class Done:
    """How many executions there were, in how many seconds."""

    executions: int
    seconds: float


def fuzz(target: Target, seconds: float, seed: int, findings: Path) -> Done:
    """Changed inputs of the corpus, for so long.

    Raises:
        Finding: the first that the target does not hold for; it is written into `findings`.
    """
    rng = Random(seed)
    inputs = [path.read_bytes() for path in corpus(target.name)]
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        data = mutate(rng.choice(inputs), target.longest, rng, target.words, inputs)
        count += 1
        try:
            target.run(data)
        except Exception as exc:
            path = findings / f"{target.name}-{seed}-{count}"
            path.write_bytes(data)
            raise Finding(target, path) from exc
    return Done(count, time.monotonic() - begin)
