"""What came of a trial of the monitor, and its counts as text."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Found:
    """What came of it: seconds until each tampering was told by where it lay, what was missed or invented."""

    told: dict[str, list[float]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    kills: int = 0

    def add(self, where: str, seconds: float) -> None:
        """One was told."""
        self.told.setdefault(where, []).append(seconds)

    def attempt(self, work: Callable[[], None]) -> None:
        """In a thread, whose failure is a fault too."""
        try:
            work()
        except Exception as exc:  # noqa: BLE001  # whatever it was, nobody else would say it
            self.lost.append(f"the trial itself failed: {exc!r}")

    def lines(self) -> list[str]:
        """The counts, a line for each place."""
        return [
            f"{where}: {len(seconds)} told, median {statistics.median(seconds):.1f} s, "
            f"worst {max(seconds):.1f} s"
            for where, seconds in sorted(self.told.items())
        ]

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        return [*self.missed, *self.invented, *self.lost]


def counts_of(live: Found, scrubbed: Found, seconds: float) -> str:
    """All counts, after so many seconds, with every fault."""
    faults = [*live.faults, *scrubbed.faults]
    lines = [
        *live.lines(),
        *scrubbed.lines(),
        f"kill -9 of the monitor: {live.kills}; {seconds:.0f} s",
        f"missed, invented or lost: {len(faults)}",
        *faults,
    ]
    return "\n".join((*lines, ""))
