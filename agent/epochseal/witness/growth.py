"""What shows a witness that the log has grown since it last looked, read from the seal files.

An agent keeps no more of its tree than the frontier. But every epoch line states the frontier of its moment,
so only the lines since the older size are read and hashed, however long the log is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.format.merkle import Frontier, growth_proof, leaf_hash, verify_consistency
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import parse_header
from epochseal.storage.seal_file import read_whole_lines
from epochseal.storage.segments import list_segments
from epochseal.storage.settling import read_settled


def read_growth(logdir: Path, old_size: int, checkpoint: Checkpoint) -> list[bytes]:
    """The consistency proof from the tree of `old_size` lines to a checkpoint of this log.

    Raises:
        VerificationError: the lines present do not lead to the checkpoint's root.
        FormatError: lines are missing or cannot be read.
        UnsettledError: files of it are gone each time that they are to be read.
        StorageError: a file cannot be read, or the lines at the old size have expired.
    """
    if old_size in (0, checkpoint.size):
        return []
    return read_settled(lambda: _growth(logdir, old_size, checkpoint))


def _growth(logdir: Path, old_size: int, checkpoint: Checkpoint) -> list[bytes]:
    lines = _Lines(logdir)
    old = lines.tree_at(old_size)
    proof = growth_proof(old, lines.leaves(), checkpoint.size)
    verify_consistency(old_size, old.root(), checkpoint.size, checkpoint.root, proof)
    return proof


class Trees:
    """The trees of a log at sizes that grow: for all of them no seal file is read more than twice."""

    def __init__(self, logdir: Path) -> None:
        self._logdir = logdir
        self._lines: _Lines | None = None

    def at(self, size: int) -> Frontier:
        """The tree of the log's first `size` lines.

        Raises:
            FormatError, UnsettledError, StorageError: as `read_growth`.
        """
        return read_settled(lambda: self._at(size)) if size else Frontier()

    def _at(self, size: int) -> Frontier:
        # Where a file was gone, all is looked at anew.
        lines, self._lines = self._lines or _Lines(self._logdir), None
        tree = lines.tree_at(size)
        self._lines = lines
        return tree.copy()


class _Lines:
    """The lines of a log behind the tree that they make: read on from where it was, or from a later file."""

    def __init__(self, logdir: Path) -> None:
        self._logdir = logdir
        seals = [item.seal for item in list_segments(logdir).segments if item.seal is not None]
        # The size at which each begins; one that goes back begins no earlier than those before it.
        self._seals, self._starts, greatest = seals, [], 0
        self._places: list[int] = []
        for place, seal in enumerate(seals):
            if (header := parse_header(next(_tagged_lines(seal), b""))) is not None:
                greatest = max(greatest, header.tree.size)
                self._starts.append(greatest)
                self._places.append(place)
        self._place = -1
        self._lines: Iterator[bytes] = iter(())
        self._tree = Frontier()

    def tree_at(self, size: int) -> Frontier:
        """The tree of `size` lines; it changes with the next call."""
        if (found := bisect_right(self._starts, size) - 1) < 0:
            raise StorageError(
                f"the lines at tree size {size} are not in {self._logdir} any more",
                "a witness that is so far behind cannot follow this log: were segments pruned early?",
            )
        place = self._places[found]
        if place != self._place or self._tree.size > size:
            self._place, self._tree = place, Frontier()
            self._lines = (line for seal in self._seals[place:] for line in _tagged_lines(seal))
        elif self._tree.size == size:
            return self._tree
        for line in self._lines:
            header = parse_header(line) if line.startswith(b"epoch ") else None
            if header is not None and header.tree.size == size:
                self._tree, self._lines = header.tree.to_frontier(), chain([line], self._lines)
                return self._tree
            if header is not None and header.tree.size < size:
                self._tree = header.tree.to_frontier()
            self._tree.append(_leaf(line))
            if self._tree.size == size:
                return self._tree
        raise FormatError(f"there are no {size} seal lines in {self._logdir}")

    def leaves(self) -> Iterator[bytes]:
        """Those behind the tree."""
        return map(_leaf, self._lines)


def _leaf(line: bytes) -> bytes:
    return leaf_hash(line.rpartition(b" ")[0])


def _tagged_lines(seal: Path) -> Iterator[bytes]:
    """The lines of a seal file that are leaves of the tree: all but notes."""
    return (raw for raw in read_whole_lines(seal) if not raw.startswith(b"note "))
