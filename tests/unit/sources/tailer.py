"""A tail source that a test drives, and what services do to files."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import zstandard

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.tail import TailSource

BIG = 1 << 40
GRACE = 0.03


class Clock:
    """The time of the sources here: it goes on with each round of a loop, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


CLOCK = Clock()


class Tailer:
    """A source that is driven as the loop does; `restart` is a crash, after which only the chain is known."""

    def __init__(self, *paths: Path | str, block: int = 1 << 16, **options: Any) -> None:  # noqa: ANN401  # as the source takes them
        self.paths = [str(path) for path in paths]
        self.block = block
        self.options = options
        self.sealed = b""
        self.pieces: list[SourceMark] = []
        self.positions: dict[str, SourceMark] = {}
        self.source = self._open()

    def _open(self) -> TailSource:
        return TailSource(
            self.paths, self.positions, block_bytes=self.block, **{"max_entry_bytes": BIG, **self.options}
        )

    def restart(self) -> None:
        """Forget everything but what was sealed."""
        self.source.close()
        self.source = self._open()

    def step(self) -> None:
        """One round of the loop, which takes a millisecond."""
        CLOCK.now += 0.001
        self.source.tick()
        while self.source.has_entry:
            taken: list[Piece] = []
            while len(taken) < 16 and (piece := self.source.cut_piece(BIG, BIG, BIG)) is not None:
                taken.append(piece)
            assert taken
            data = bytes(self.source.piece_bytes())
            assert len(data) == sum(piece.size for piece in taken)
            assert data.count(b"\n") == sum(piece.entries for piece in taken)
            self.source.done(0)
            self.sealed += data
            self.pieces += [piece.src for piece in taken]
            self.positions |= {src.name: SourceMark(src.name, src.offset, src.file) for src in self.pieces}

    def run(self, seconds: float = 5 * GRACE) -> bytes:
        """Go on for a while; all that is sealed."""
        deadline = CLOCK.now + seconds
        while CLOCK.now < deadline:
            self.step()
        return self.sealed

    def close(self) -> None:
        """Close all files."""
        self.source.close()

    @property
    def gaps(self) -> int:
        """How often a gap was flagged."""
        return sum(src.gap for src in self.pieces)


def append(path: Path, data: bytes) -> None:
    """Write as a service does."""
    with path.open("ab") as file:
        file.write(data)


def long_lines(*numbers: int) -> bytes:
    """A line for each number."""
    return b"".join(b"%d %b\n" % (number, b"text " * 30) for number in numbers)


def put_away(path: Path) -> None:
    """Remove it from where anybody looks; its inode is not given to another file."""
    away = path.parent / "away"
    away.mkdir(exist_ok=True)
    path.rename(away / str(len(list(away.iterdir()))))


def compress(data: bytes, ending: str) -> bytes:
    """As the compressor does whose files have this ending; as it is, with any other one."""
    match ending:
        case ".gz":
            return gzip.compress(data)
        case ".bz2":
            return bz2.compress(data)
        case ".xz":
            return lzma.compress(data)
        case ".zst":
            return zstandard.compress(data)
        case _:
            return data
