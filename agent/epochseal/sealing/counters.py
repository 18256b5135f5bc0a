"""What a sealer has done since it started, for whoever wants to show it.

Plain numbers: one thread counts, any other may read them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from epochseal.errors import BackendError, ConfigError, Denied, EpochsealError, StorageError, WrongKey
from epochseal.sealing.saved_state import PendingBlock

LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets in seconds, each bound inside of its bucket."""

ERROR_KINDS = ("disk_full", "storage", "denied", "wrong_key", "backend", "input", "other")
_CLASSES: tuple[tuple[type[EpochsealError], str], ...] = (
    (StorageError, "storage"),
    (Denied, "denied"),
    (WrongKey, "wrong_key"),
    (BackendError, "backend"),
    (ConfigError, "input"),
)


@dataclass(slots=True)
class Histogram:
    """How long something took: one counter a bucket, the last one for all that is above the highest bound.

    A counter counts what is in its own bucket only, not in those below.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a sealer stands at one moment; times in seconds.

    Attributes:
        live: whether it takes entries.
        failed: whether it gave up, so that only a new start goes on.
        closed: whether it closed the log cleanly.
        stalled: for how long the disk has had no room; 0 while it has.
        epoch: number of the running epoch or the last one, -1 before the first.
        epoch_age: how long it has been running, 0 if it is not.
        overdue: for how long it has been due to end.
        late: whether that is beyond what the log's epoch lines allow.
        unsigned: checkpoints that wait for a signature.
        step: for how long it has been at its present write; 0 between two.
    """

    live: bool
    failed: bool
    closed: bool
    stalled: float
    epoch: int
    epoch_age: float
    overdue: float
    late: bool
    unsigned: int
    step: float


@dataclass(slots=True)
class Counters:
    """How much was sealed, and what went wrong; `last_checkpoint` is in ms since 1970, 0 before the first.

    Attributes:
        failure: the kind of the error that ended the sealing; empty while there is none.
        torn_bytes: bytes of seal files that the start moved to `.torn`.
        abandoned_secrets: secrets that came and were given up.
        secret_waits: from the arrival of a secret until its epoch began.
        turns: from the signature over the announcement until the new epoch took entries.
        started: how the log went on; empty before the start.
        tampered: whether this start found something else than what was remembered.
    """

    blocks: int = 0
    entries: int = 0
    bytes: int = 0
    epochs: int = 0
    segment: int = 0
    checkpoints: int = 0
    last_checkpoint: int = 0
    recovered_entries: int = 0
    set_aside_bytes: int = 0
    torn_bytes: int = 0
    abandoned_secrets: int = 0
    started: str = ""
    tampered: bool = False
    commits: Histogram = field(default_factory=Histogram)
    secret_waits: Histogram = field(default_factory=Histogram)
    turns: Histogram = field(default_factory=Histogram)
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ERROR_KINDS, 0))
    failure: str = ""

    def sealed(self, blocks: Sequence[PendingBlock]) -> None:
        """Count the blocks of a commit."""
        self.blocks += len(blocks)
        for block in blocks:
            self.entries += block.entries
            self.bytes += block.size

    def committed(self, seconds: float) -> None:
        """Count a commit of entries, and how long it took until all of it was durable."""
        self.commits.observe(seconds)

    def began(self, segment: int) -> None:
        """Count an epoch, and note the segment that it stands in."""
        self.epochs += 1
        self.segment = segment

    def signed(self, now: int) -> None:
        """Count a checkpoint."""
        self.checkpoints += 1
        self.last_checkpoint = now

    def failed(self, error: BaseException) -> None:
        """Count the error that ended the sealing."""
        self.failure = next((kind for base, kind in _CLASSES if isinstance(error, base)), "other")
        self.errors[self.failure] += 1
