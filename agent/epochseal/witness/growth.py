"""What shows a witness that the log has grown since it last looked, read from the seal files.

An agent keeps no more of its tree than the frontier. But every epoch line states the frontier of its moment,
so only the lines since the older size are read and hashed, however long the log is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from epochseal.encoding import b64decode
from epochseal.errors import FormatError, StorageError
from epochseal.format.merkle import Frontier, growth_proof, leaf_hash, verify_consistency
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import MAX_LINE, Header, TaggedLine, parse_line
from epochseal.storage.segments import list_segments


def read_growth(logdir: Path, old_size: int, checkpoint: Checkpoint) -> list[bytes]:
    """The consistency proof from the tree of `old_size` lines to a checkpoint of this log.

    Raises:
        VerificationError: the lines present do not lead to the checkpoint's root.
        FormatError: lines are missing or cannot be read.
        StorageError: a file cannot be read, or the lines at the old size have expired.
    """
    if old_size in (0, checkpoint.size):
        return []
    old, leaves = _from(logdir, old_size)
    proof = growth_proof(old, leaves, checkpoint.size)
    verify_consistency(old_size, old.root(), checkpoint.size, checkpoint.root, proof)
    return proof


def tree_at(logdir: Path, size: int) -> Frontier:
    """The tree of the log's first `size` lines.

    Raises:
        FormatError, StorageError: as `read_growth`.
    """
    return _from(logdir, size)[0] if size else Frontier()


def _from(logdir: Path, size: int) -> tuple[Frontier, Iterator[bytes]]:
    """The tree of `size` lines, and the leaves behind it."""
    seals = [item.seal for item in list_segments(logdir).segments if item.seal is not None]
    place = -1
    for number, seal in enumerate(seals):
        if (header := _header(next(_lines(seal), b""))) is None:
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
    lines = (line for seal in seals[place:] for line in _lines(seal))
    for line in lines:
        header = _header(line) if line.startswith(b"epoch ") else None
        if header is not None and header.tree.size == size:
            tree = _frontier(header)
            return tree, _then(_leaf(line), lines)
        if header is not None and header.tree.size < size:
            tree = _frontier(header)
        tree.append(_leaf(line))
        if tree.size == size:
            return tree, map(_leaf, lines)
    raise FormatError(f"there are no {size} seal lines in {logdir}")


def _then(first: bytes, lines: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from map(_leaf, lines)


def _frontier(header: Header) -> Frontier:
    return Frontier(header.tree.size, [b64decode(item, "frontier") for item in header.tree.frontier])


def _leaf(line: bytes) -> bytes:
    return leaf_hash(line.rpartition(b" ")[0])


def _header(line: bytes) -> Header | None:
    try:
        parsed = parse_line(line)
    except FormatError:
        return None
    return parsed.body if isinstance(parsed, TaggedLine) and isinstance(parsed.body, Header) else None


def _lines(seal: Path) -> Iterator[bytes]:
    """The tagged lines of a seal file without their LF; an unfinished last one is left out."""
    try:
        with seal.open("rb", buffering=1 << 18) as file:
            while raw := file.readline(MAX_LINE + 2):
                if not raw.endswith(b"\n"):
                    return
                if not raw.startswith(b"note "):
                    yield raw[:-1]
    except OSError as exc:
        raise StorageError(f"cannot read {seal}: {exc.strerror}") from exc
