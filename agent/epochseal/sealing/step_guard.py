"""Keeps a log from going on after a change of chain, page and files that was left half-way."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from epochseal.errors import StorageError
from epochseal.sealing.backend_calls import Clock


class StepGuard:
    """Stands around every change of chain, page and files together: the first that fails was the last.

    Attributes:
        failed: whether one did; only a new start, which reads what is really there, goes on with the log.
    """

    def __init__(self, logdir: Path, clock: Clock) -> None:
        self._logdir = logdir
        self._clock = clock
        self._began: float | None = None
        self.failed = False

    @property
    def seconds(self) -> float:
        """For how long the change under way has been going on; 0 between two."""
        began = self._began
        return 0.0 if began is None else self._clock.monotonic() - began

    def step(self) -> Self:
        """One such change, as a block.

        Raises:
            StorageError: an earlier one failed.
        """
        if self.failed:
            raise StorageError(f"an earlier write to {self._logdir} failed", "start again when it works")
        return self

    def __enter__(self) -> None:
        self._began = self._clock.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.failed = self.failed or error is not None
        self._began = None
