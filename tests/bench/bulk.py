"""A maker of large logs: everything in them holds, as whoever has all keys can make it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.reference.keys import Keys
from tests.reference.maker import Maker

ENTRY = b"an entry\n"
SOURCE = '{"src":{"name":"","offset":0}}'


class Bulk(Maker):
    """A maker that keeps what it writes, until `done`: a file is opened once, not for each line."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        super().__init__(folder / "log", keys)
        self.kept: dict[Path, bytearray] = defaultdict(bytearray)

    def _append(self, ending: str, data: bytes) -> None:
        self.kept[self.file(ending)] += data

    def raw(self, lines: bytes) -> None:
        """Bytes of the seal file that the chain knows nothing of."""
        self._append("seal", lines)

    @property
    def room(self) -> int:
        """How many bytes are there."""
        return sum(map(len, self.kept.values()))

    @property
    def seal(self) -> Path:
        """The first seal file."""
        return next(path for path in self.kept if path.suffix == ".seal")

    def done(self) -> Path:
        """Write all files; the log."""
        for path, data in self.kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return self.path

    def note(self, *others: Keys, size: int = -1) -> Bulk:
        """As the maker's; the file `checkpoint` stays in the folder of the log."""
        self.path.mkdir(parents=True, exist_ok=True)
        super().note(*others, size=size)
        return self


def started(folder: Path, keys: Keys, *, entry: bytes = ENTRY) -> Bulk:
    """A log with one block."""
    log = Bulk(folder, keys)
    log.begin("genesis")
    log.block(entry)
    return log
