"""What the agent's loop asks of a source; each kind has a file of its own beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece


@dataclass(frozen=True, slots=True)
class FileLook:
    """A file of a source, as it is now.

    Attributes:
        name: in the log.
        trouble: why it cannot be read; empty while it can.
        lag: bytes of it, and of those that wait behind it, that are not sealed.
    """

    name: str
    trouble: str
    lag: int


class Source(Protocol):
    """Entries to be sealed: whole lines, in order, read in place."""

    @property
    def name(self) -> str:
        """The source's name in the log."""
        ...

    @property
    def has_entry(self) -> bool:
        """Whether at least one whole entry is waiting."""
        ...

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that came and are not sealed yet."""
        ...

    @property
    def lag(self) -> int:
        """Bytes that wait to be sealed, read or not, as far as it can know; any thread may ask."""
        ...

    @property
    def files(self) -> Sequence[FileLook]:
        """Those of its files that cannot be read or have something to be sealed; any thread may ask."""
        ...

    @property
    def perishable(self) -> int:
        """Bytes of `lag` that no later start can read again, if they are not sealed before the end."""
        ...

    @property
    def trouble(self) -> str:
        """Why nothing new reaches it at this moment, though it is open; empty while all is well."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, and all that came is sealed."""
        ...

    def descriptors(self) -> Sequence[int]:
        """What to wait for; nothing while the buffer is full, so the writer waits and nothing is lost."""
        ...

    def ready(self, descriptor: int) -> None:
        """One of the descriptors is readable."""
        ...

    def wait_seconds(self) -> float:
        """After how long `tick` wants to be called again."""
        ...

    def tick(self) -> None:
        """Do what time asks for; called in every round of the loop."""
        ...

    def finish(self) -> None:
        """A stop was asked for: take what was written before it, then end."""
        ...

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece within these limits; None if no entry fits (see `LineBuffer.cut_piece`)."""
        ...

    def piece_bytes(self) -> memoryview:
        """The bytes of all pieces since the last `done`."""
        ...

    def done(self, first_entry: int) -> None:
        """All pieces taken are sealed and durable; the first of their entries has this number in the log."""
        ...

    def positions(self) -> list[SourceMark]:
        """Up to where each of its files is sealed, stated at the start of each segment; none for streams."""
        ...

    def close(self) -> None:
        """Give up what it holds."""
        ...
