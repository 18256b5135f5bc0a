"""The Merkle tree of RFC 6962, section 2.1 and RFC 9162, section 2.1, with SHA-256; pure, no I/O.

A "leaf" below is a leaf hash (`leaf_hash`), never the data itself. Leaves and inner nodes are hashed with
different prefixes, so neither can be passed off as the other. A proof does not bind the size of its tree:
sizes and roots have to come out of a verified checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice

from epochseal.errors import FormatError, VerificationError

HASH_SIZE = 32
EMPTY_ROOT = sha256().digest()
LEAF = b"\x00"
"""Stands before what is hashed as a leaf."""
_NODE = b"\x01"
_AT_ONCE = 1 << 16


def leaf_hash(data: bytes | memoryview) -> bytes:
    """The 32-byte hash of a leaf: SHA-256(0x00 + data)."""
    return sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an inner node: SHA-256(0x01 + left + right)."""
    return sha256(_NODE + left + right).digest()


class Frontier:
    """A growing tree, kept as the roots of its complete subtrees, the largest (leftmost) first.

    There is one subtree for every bit that is set in the size, so a few dozen hashes stand for any log.

    Args:
        size: the number of leaves.
        hashes: the subtree roots, 32 bytes each.

    Raises:
        FormatError: the hashes do not fit the size, or are not 32 bytes each.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._size = size
        self._hashes = list(hashes)
        if size < 0 or len(self._hashes) != size.bit_count():
            raise FormatError(f"{len(self._hashes)} subtree hashes do not make a tree of size {size}")
        _check_hashes(self._hashes, "subtree")

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, the largest first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; one hash computation on average.

        Raises:
            FormatError: `leaf` is not 32 bytes.
        """
        if len(leaf) != HASH_SIZE:
            raise FormatError(f"leaf hash has {len(leaf)} bytes instead of {HASH_SIZE}")
        self._grow(0, leaf)

    def append_subtree(self, level: int, root: bytes) -> None:
        """Add 2**level leaves at once, as `complete_subtrees` has them.

        Raises:
            FormatError: such a subtree does not begin where this tree ends, or `root` is not 32 bytes.
        """
        if level < 0 or self._size & ((1 << level) - 1) or len(root) != HASH_SIZE:
            raise FormatError(f"no subtree of level {level} follows a tree of size {self._size}")
        self._grow(level, root)

    def _grow(self, level: int, node: bytes) -> None:
        # Every set low bit of the size is a complete subtree, as large as what the node has grown to so far.
        hashes, merges = self._hashes, self._size >> level
        while merges & 1:
            node = sha256(_NODE + hashes.pop() + node).digest()
            merges >>= 1
        hashes.append(node)
        self._size += 1 << level

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaf hashes, level by level; a failure leaves the tree as it was.

        Raises:
            FormatError: a leaf is not 32 bytes.
        """
        row = list(leaves)
        _check_hashes(row, "leaf")
        size, hashes, smallest_first, level = self._size + len(row), self._hashes.copy(), [], self._size
        while row:
            if level & 1:
                row.insert(0, hashes.pop())
            if len(row) & 1:
                smallest_first.append(row.pop())
            row = _parents(row)
            level >>= 1
        self._size, self._hashes = size, hashes + smallest_first[::-1]

    def root(self) -> bytes:
        """The 32-byte root of the whole tree; `EMPTY_ROOT` when there is no leaf."""
        if not self._hashes:
            return EMPTY_ROOT
        *larger, node = self._hashes
        for left in reversed(larger):
            node = node_hash(left, node)
        return node

    def copy(self) -> Frontier:
        """An independent tree that starts out equal."""
        twin = Frontier()
        twin._size, twin._hashes = self._size, self._hashes.copy()
        return twin

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frontier):
            return NotImplemented
        return self._size == other._size and self._hashes == other._hashes

    # It changes, so it cannot be a key of a dictionary.
    __hash__ = None  # type: ignore[assignment]  # the documented way to make a class unhashable


def root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root over leaf hashes (RFC 9162, section 2.1.1).

    Raises:
        FormatError: a leaf is not 32 bytes.
    """
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int, before: Frontier | None = None) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root, the lowest first (RFC 9162, section 2.1.3.1).

    Args:
        leaves: all leaves, or those that follow the tree `before`.
        index: number of the leaf in the whole tree; one of `leaves`.
        before: the tree that the leaves were added to: its subtrees stand for everything older.

    Raises:
        FormatError: `leaves` has no leaf `index`, or a leaf is not 32 bytes.
    """
    size, subtrees = (before.size, before.hashes) if before is not None else (0, ())
    _check_index(index, size + len(leaves))
    _check_index(index - size, len(leaves))
    _check_hashes(leaves, "leaf")
    return _path(leaves, index, size, subtrees)


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """What shows that the tree over the first `old_size` leaves is a beginning of this one (section 2.1.4.1).

    Empty when there is nothing to show: from the empty tree, and from a tree to itself.

    Raises:
        FormatError: `old_size` is negative or beyond the leaves, or a leaf is not 32 bytes.
    """
    _check_growth(old_size, len(leaves))
    _check_hashes(leaves, "leaf")
    if old_size in (0, len(leaves)):
        return []
    # Climb to the largest complete subtree that ends where the old tree ended: all below it is in both trees.
    row, node = leaves, old_size - 1
    while node & 1:
        row, node = _with_rest(row), node >> 1
    # If that subtree is the whole old tree, its hash is the old root, which the reader has: it is left out.
    return ([row[node]] if node else []) + _path(row, node)


def growth_proof(old: Frontier, leaves: Iterable[bytes], new_size: int) -> list[bytes]:
    """`consistency_proof` for who has the old tree's frontier and the leaves after it, and nothing before.

    Each leaf is taken once, in order, so they may come from a file of any size.

    Raises:
        FormatError: the new size is below the old one, the leaves end early, or one is not 32 bytes.
    """
    _check_growth(old.size, new_size)
    if old.size in (0, new_size):
        return []
    rest, lefts = iter(leaves), list(old.hashes)
    node, last, level = old.size - 1, new_size - 1, 0
    while node & 1:
        node, last, level = node >> 1, last >> 1, level + 1
    # The subtree that ends where the old tree ended is the smallest of its frontier; the others are what
    # stands to the left on the way up. What stands to the right is made of new leaves only.
    start, at = lefts.pop(), old.size
    proof = [start] if node else []
    while last:
        if node & 1:
            proof.append(lefts.pop())
        elif node < last:
            count = min(1 << level, new_size - at)
            proof.append(_root_of(rest, count))
            at += count
        node, last, level = node >> 1, last >> 1, level + 1
    return proof


def _root_of(leaves: Iterator[bytes], count: int) -> bytes:
    tree = Frontier()
    while tree.size < count:
        before = tree.size
        tree.extend(islice(leaves, min(count - before, _AT_ONCE)))
        if tree.size == before:
            raise FormatError(f"{count - before} leaves are missing at the end")
    return tree.root()


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Show that `leaf` is number `index` of the `size` leaves under `root` (RFC 9162, section 2.1.3.2).

    Raises:
        FormatError: no such leaf in a tree of that size, or a hash that is not 32 bytes.
        VerificationError: the proof is too short, too long, or leads to another root.
    """
    _check_index(index, size)
    _check_hashes((leaf, root, *proof), "proof")
    _, reached = _climb(index, size - 1, leaf, proof)
    if reached != root:
        raise VerificationError(f"proof of leaf {index} leads to another root at size {size}")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Show that the new tree begins with the whole old one (RFC 9162, section 2.1.4.2).

    The RFC proves growth from a non-empty tree. Two more cases take no proof: from size 0, where the old root
    must be the empty one, and equal sizes, where the roots must be equal.

    Raises:
        FormatError: a negative size, a new size below the old one, or a hash that is not 32 bytes.
        VerificationError: the proof is too short, too long, or leads to other roots.
    """
    _check_growth(old_size, new_size)
    _check_hashes((old_root, new_root, *proof), "proof")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise VerificationError("the old tree is empty, but its root is not the empty root")
    if old_size == new_size and old_root != new_root:
        raise VerificationError(f"two roots at size {new_size}: the tree was rewritten or forked")
    if old_size in (0, new_size):
        if proof:
            raise VerificationError(f"the proof from size {old_size} to {new_size} must be empty")
        return
    if not proof:
        raise VerificationError(f"the proof from size {old_size} to {new_size} is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # When the old tree is one complete subtree, the climb starts at its root, which the proof leaves out.
    start, *siblings = proof if node else (old_root, *proof)
    old_reached, new_reached = _climb(node, last, start, siblings)
    if old_reached != old_root:
        raise VerificationError(f"consistency proof leads to another root at size {old_size}")
    if new_reached != new_root:
        raise VerificationError(f"consistency proof leads to another root at size {new_size}")


def _climb(node: int, last: int, start: bytes, siblings: Sequence[bytes]) -> tuple[bytes, bytes]:
    """From node number `node` to the root, on a level whose nodes end with number `last`.

    Returns:
        The root of the tree as it was when it ended with that node, and the root of the whole tree.

    Raises:
        VerificationError: there are more or fewer siblings than the way takes.
    """
    old = new = start
    for sibling in siblings:
        if last == 0:
            raise VerificationError("proof goes on after the root of the tree")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            # A last node without a sibling stands for itself on the levels above, until it is a right one.
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise VerificationError("proof ends before the root of the tree")
    return old, new


def _path(row: Sequence[bytes], node: int, first: int = 0, subtrees: Sequence[bytes] = ()) -> list[bytes]:
    """The siblings of `node` up to the root; `first` is the number of the row's first node.

    What stands before the row is the tree of that size: on a level where the row begins with a right node,
    the left one is the smallest of its subtrees that is not used yet.
    """
    path, smallest_last = [], list(subtrees)
    while first or len(row) > 1:
        if first & 1:
            row, first = [smallest_last.pop(), *row], first - 1
        sibling = (node ^ 1) - first
        if sibling < len(row):
            path.append(row[sibling])
        row, node, first = _with_rest(row), node >> 1, first >> 1
    return path


def _with_rest(row: Sequence[bytes]) -> list[bytes]:
    parents = _parents(row)
    if len(row) & 1:
        parents.append(row[-1])
    return parents


def complete_subtrees(first: int, leaves: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """The largest complete subtrees that leaves from this index on make, from left to right: level and root.

    They are few, and a `Frontier` of that size takes them one after the other.

    Raises:
        FormatError: a leaf is not 32 bytes.
    """
    row = list(leaves)
    _check_hashes(row, "leaf")
    left: list[tuple[int, bytes]] = []
    right: list[tuple[int, bytes]] = []
    index, level = first, 0
    while row:
        if index & 1:
            # Its sibling is among the leaves before.
            left.append((level, row.pop(0)))
        if len(row) & 1:
            right.append((level, row.pop()))
        row = _parents(row)
        index, level = (index + 1) >> 1, level + 1
    return left + right[::-1]


def _parents(row: Sequence[bytes]) -> list[bytes]:
    pairs = zip(row[::2], row[1::2], strict=False)  # an odd last node has no sibling and waits for its caller
    return [sha256(_NODE + left + right).digest() for left, right in pairs]


def _check_hashes(hashes: Iterable[bytes], what: str) -> None:
    if others := set(map(len, hashes)) - {HASH_SIZE}:
        raise FormatError(f"{what} hash has {min(others)} bytes instead of {HASH_SIZE}")


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise FormatError(f"there is no leaf {index} in a tree of size {size}")


def _check_growth(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size:
        raise FormatError(f"a tree of size {old_size} cannot grow to size {new_size}")
