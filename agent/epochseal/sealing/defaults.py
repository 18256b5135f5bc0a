"""What holds where an operator says nothing; durations in milliseconds, sizes in bytes."""

from __future__ import annotations

from typing import Final

EPOCH_INTERVAL: Final = 300_000
"""Length of an epoch."""

HEARTBEAT: Final = 10_000
"""The longest time without a block while the agent runs."""

MAX_OVERDUE: Final = 3_600_000
"""How long an epoch may go on beyond its interval while the backend is away."""

RETENTION: Final = 0
"""How long entries are promised to be kept: nothing is promised."""

COMMIT_INTERVAL: Final = 50
"""What arrives within this time is committed together."""

BLOCK_BYTES: Final = 64 << 10
"""Bytes committed as one block."""

SEGMENT_BYTES: Final = 256 << 20
"""Size at which the next file pair begins."""

MAX_ENTRY_BYTES: Final = 128 << 20
"""A longer entry ends its log."""
