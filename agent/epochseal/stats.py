"""What a sealer has done since it started, for whoever wants to show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from epochseal.restart import PendingBlock


@dataclass(slots=True)
class Stats:
    """Plain counters for the metrics floor; times are wall clock in ms."""

    blocks: int = 0
    entries: int = 0
    bytes: int = 0
    epochs: int = 0
    checkpoints: int = 0
    last_checkpoint: int = 0
    recovered_entries: int = 0
    set_aside_bytes: int = 0

    def sealed(self, blocks: Sequence[PendingBlock]) -> None:
        """Count the blocks of a commit."""
        self.blocks += len(blocks)
        self.entries += sum(block.entries for block in blocks)
        self.bytes += sum(block.size for block in blocks)

    def signed(self, now: int) -> None:
        """Count a checkpoint."""
        self.checkpoints += 1
        self.last_checkpoint = now
