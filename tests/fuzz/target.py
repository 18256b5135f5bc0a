"""What a target is: a function of bytes, and the bounds of time and memory that every input is held to."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

FIXED_SECONDS = 0.5
"""Of the processor, for any input at all: a pause of the collector, a page read for the first time."""
FIXED_MEMORY = 64 << 20
"""Bytes that the process may grow by with one input, whatever its size."""


class BoundBroken(AssertionError):
    """An input costs more time or memory than its size allows."""


@dataclass(frozen=True)
class Target:
    """One reader of foreign bytes.

    Args:
        check: gives it the bytes; whatever it raises is a finding.
        longest: inputs are at most this long, in bytes.
        words: what mutations put in, besides bytes.
        seconds_a_byte, memory_a_byte: what a byte may cost, beyond `FIXED_SECONDS` and `FIXED_MEMORY`.
    """

    check: Callable[[bytes], None]
    longest: int = 4096
    words: tuple[bytes, ...] = ()
    seconds_a_byte: float = 5e-6
    memory_a_byte: int = 200

    @property
    def name(self) -> str:
        """That of its function, and of its folder in the corpus."""
        return self.check.__name__

    def run(self, data: bytes) -> None:
        """Check one input, and what it costs.

        Raises:
            BoundBroken: too much. Anything else: a finding too.
        """
        peak, spent = _peak(), time.process_time()
        self.check(data)
        spent, peak = time.process_time() - spent, _peak() - peak
        if spent > FIXED_SECONDS + self.seconds_a_byte * len(data):
            raise BoundBroken(f"{len(data)} bytes took {spent:.2f} s")
        if peak > FIXED_MEMORY + self.memory_a_byte * len(data):
            raise BoundBroken(f"{len(data)} bytes took {peak >> 20} MiB")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
