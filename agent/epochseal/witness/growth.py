"""What shows a witness that the log has grown since it last looked, read from the seal files.

An agent keeps no more of its tree than the frontier. But every epoch line states the frontier of its moment,
so only the lines since the older size are read and hashed, however long the log is.
"""

from __future__ import annotations

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
    old, leaves = _from(logdir, old_size)
    proof = growth_proof(old, leaves, checkpoint.size)
    verify_consistency(old_size, old.root(), checkpoint.size, checkpoint.root, proof)
    return proof


def tree_at(logdir: Path, size: int) -> Frontier:
    """The tree of the log's first `size` lines.

    Raises:
        FormatError, UnsettledError, StorageError: as `read_growth`.
    """
    return read_settled(lambda: _from(logdir, size)[0]) if size else Frontier()


def _from(logdir: Path, size: int) -> tuple[Frontier, Iterator[bytes]]:
    """The tree of `size` lines, and the leaves behind it."""
    seals = [item.seal for item in list_segments(logdir).segments if item.seal is not None]
    place = -1
    for number, seal in enumerate(seals):
        if (header := parse_header(next(_tagged_lines(seal), b""))) is None:
            continue
        if header.tree.size > size:
            break
        place = number
    if place < 0:
        raise StorageError(
            f"the lines at tree size {size} are not in {logdir} any more",
            "a witness that is so far behind cannot follow this log: were segments pruned early?",
        )
    tree = Frontier()
    lines = (line for seal in seals[place:] for line in _tagged_lines(seal))
    for line in lines:
        header = parse_header(line) if line.startswith(b"epoch ") else None
        if header is not None and header.tree.size == size:
            tree = header.tree.to_frontier()
            return tree, map(_leaf, chain([line], lines))
        if header is not None and header.tree.size < size:
            tree = header.tree.to_frontier()
        tree.append(_leaf(line))
        if tree.size == size:
            return tree, map(_leaf, lines)
    raise FormatError(f"there are no {size} seal lines in {logdir}")


def _leaf(line: bytes) -> bytes:
    return leaf_hash(line.rpartition(b" ")[0])


def _tagged_lines(seal: Path) -> Iterator[bytes]:
    """The lines of a seal file that are leaves of the tree: all but notes."""
    return (raw for raw in read_whole_lines(seal) if not raw.startswith(b"note "))
