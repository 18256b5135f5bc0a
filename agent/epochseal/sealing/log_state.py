"""What an agent remembers of a log outside of its directory: its id, a tree size and root, and the carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from epochseal.format.seal_lines import Abandoned


class LogState:
    """The memory of one log; made by `none`, it remembers nothing and every method does nothing.

    Attributes:
        size: the tree size that it says; 0 where it says none.
    """

    def __init__(self) -> None:
        self.size = 0

    @classmethod
    def none(cls) -> LogState:
        """For a log that nothing is remembered of."""
        return cls()

    @classmethod
    def open(cls, state_dir: Path | None, logdir: Path, *, keep_carry: bool) -> LogState:
        """Find and lock the memory of the log in `logdir`; with no directory it is `none`.

        Raises:
            LogBusy: another agent holds it.
            StorageError: it cannot be used.
        """
        _ = state_dir, logdir, keep_carry
        return cls.none()

    def replace(self, log: bytes, size: int, root: bytes, abandoned: Sequence[Abandoned]) -> None:
        """Remember where the log stands, durably; its lines up to `size` are durable already.

        Raises:
            StorageError: it cannot be written; the old content stands.
        """

    def write_carry(self, log: bytes, size: int, root: bytes, secret: memoryview) -> None:
        """Keep the carry of the close that ends the tree of this size, durably; nothing if it is not kept.

        Raises:
            StorageError: it cannot be written.
        """

    def destroy_carry(self) -> None:
        """Overwrite and delete the carry, durably; nothing where there is none.

        Raises:
            StorageError: it cannot be deleted.
        """

    def close(self) -> None:
        """Give the lock back."""
