"""Write the Merkle tree vectors beside this file: `python tests/vectors/merkle/generate.py`.

The tree is computed here once more, slowly and straight from the definitions of RFC 9162, section 2.1, so
that the vectors do not depend on the code that they test. The name of a file is the case or the attack; bytes
are in hex.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

Case = dict[str, Any]

# The eight leaves that Certificate Transparency implementations have tested with since RFC 6962.
DATA = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
LEAVES = [sha256(b"\x00" + bytes.fromhex(data)).digest() for data in DATA]
GARBAGE = bytes(range(32))


def reference_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of section 2.1.1, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256().digest()
    split = largest_power_below(len(leaves))
    return sha256(b"\x01" + reference_root(leaves[:split]) + reference_root(leaves[split:])).digest()


def reference_inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1, over leaf hashes."""
    if len(leaves) == 1:
        return []
    split = largest_power_below(len(leaves))
    if index < split:
        return [*reference_inclusion(index, leaves[:split]), reference_root(leaves[split:])]
    return [*reference_inclusion(index - split, leaves[split:]), reference_root(leaves[:split])]


def reference_consistency(old_size: int, leaves: Sequence[bytes], *, complete: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1, over leaf hashes, for 0 < old_size <= len(leaves)."""
    if old_size == len(leaves):
        return [] if complete else [reference_root(leaves)]
    split = largest_power_below(len(leaves))
    if old_size <= split:
        below = reference_consistency(old_size, leaves[:split], complete=complete)
        return [*below, reference_root(leaves[split:])]
    below = reference_consistency(old_size - split, leaves[split:], complete=False)
    return [*below, reference_root(leaves[:split])]


def reference_frontier(leaves: Sequence[bytes]) -> list[bytes]:
    """The roots of the complete subtrees, the largest first."""
    if len(leaves) < 2:
        return [reference_root(leaves)] if leaves else []
    if len(leaves).bit_count() == 1:
        return [reference_root(leaves)]
    split = largest_power_below(len(leaves))
    return [reference_root(leaves[:split]), *reference_frontier(leaves[split:])]


def largest_power_below(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def flip(text: str) -> str:
    """The same hash in hex with one bit changed."""
    data = bytes.fromhex(text)
    return bytes([data[0] ^ 8, *data[1:]]).hex()


def root_cases() -> dict[str, Case]:
    """Roots of every size."""
    return {
        f"root-{size}": {
            "desc": f"the root over the first {size} leaves",
            "expect": "ok",
            "op": "root",
            "data": list(DATA[:size]),
            "root": reference_root(LEAVES[:size]).hex(),
        }
        for size in range(9)
    }


def frontier_cases() -> dict[str, Case]:
    """Stored subtree hashes that can be a tree, and some that cannot."""

    def case(desc: str, expect: str, size: int, hashes: Sequence[bytes]) -> Case:
        hexed = [item.hex() for item in hashes]
        case = {"desc": desc, "expect": expect, "op": "frontier", "size": size, "hashes": hexed}
        return case | ({"root": reference_root(LEAVES[:size]).hex()} if expect == "ok" else {})

    subtrees = reference_frontier(LEAVES[:7])
    good = {
        f"frontier-{size}": case(
            f"the complete subtrees of {size} leaves, the largest first",
            "ok",
            size,
            reference_frontier(LEAVES[:size]),
        )
        for size in range(9)
    }
    return good | {
        "frontier-hash-missing": case("size 7 with two hashes", "format error", 7, subtrees[:2]),
        "frontier-hash-added": case("size 7 with four hashes", "format error", 7, [*subtrees, GARBAGE]),
        "frontier-hash-short": case("a hash of 31 bytes", "format error", 7, [*subtrees[:2], bytes(31)]),
        "frontier-size-plus-1": case("hashes of size 7, size 8", "format error", 8, subtrees),
        "frontier-size-negative": case("size -7 with three hashes", "format error", -7, subtrees),
        "frontier-empty-with-hash": case("size 0 with one hash", "format error", 0, subtrees[:1]),
    }


def inclusion_cases() -> dict[str, Case]:
    """Proofs of one leaf, and every way that comes to mind to bend one."""

    def case(desc: str, expect: str, **fields: Any) -> Case:  # noqa: ANN401  # fields of a JSON object
        return {"desc": desc, "expect": expect, "op": "inclusion", **fields}

    def good(index: int, size: int) -> Case:
        return case(
            f"leaf {index} of {size}",
            "ok",
            leaf=LEAVES[index].hex(),
            index=index,
            size=size,
            proof=[item.hex() for item in reference_inclusion(index, LEAVES[:size])],
            root=reference_root(LEAVES[:size]).hex(),
        )

    base = good(5, 7)
    leaf, root, proof = base["leaf"], base["root"], base["proof"]
    pair = sha256(b"\x01" + LEAVES[4] + LEAVES[5]).hexdigest()
    bad = "verification failure"
    attacks: dict[str, tuple[str, str, Case]] = {
        "index-plus-1": ("the proof of leaf 5 shown for leaf 6", bad, {"index": 6}),
        "index-minus-1": ("the proof of leaf 5 shown for leaf 4", bad, {"index": 4}),
        "index-negative": ("a negative index", "format error", {"index": -1}),
        "index-is-size": ("one past the last leaf", "format error", {"index": 7}),
        "size-0": ("an empty tree has no leaf", "format error", {"index": 0, "size": 0, "proof": []}),
        "size-doubled": ("a proof that ends below the root of a larger tree", bad, {"size": 14}),
        "size-halved": ("a size at which leaf 5 was not there yet", "format error", {"size": 3}),
        "size-minus-1": ("leaf 5 was last at size 6", bad, {"size": 6}),
        "proof-empty": ("no hashes at all", bad, {"proof": []}),
        "proof-too-short": ("the topmost hash is missing", bad, {"proof": proof[:-1]}),
        "proof-too-long": ("the root appended to its own proof", bad, {"proof": [*proof, root]}),
        "proof-garbage-before": ("a foreign hash before the proof", bad, {"proof": [GARBAGE.hex(), *proof]}),
        "proof-reversed": ("the topmost hash first", bad, {"proof": proof[::-1]}),
        "proof-bit-flipped": ("one bit of one hash", bad, {"proof": [proof[0], flip(proof[1]), proof[2]]}),
        "proof-hash-short": ("a hash of 31 bytes", "format error", {"proof": [*proof[:-1], proof[-1][:-2]]}),
        "proof-hash-empty": ("an empty hash after the proof", "format error", {"proof": [*proof, ""]}),
        "proof-hashes-joined": (
            "two hashes in one",
            "format error",
            {"proof": [proof[0] + proof[1], proof[2]]},
        ),
        "leaf-foreign": ("a leaf that is not in the tree", bad, {"leaf": GARBAGE.hex()}),
        "leaf-without-prefix": (
            "a leaf hashed without 0x00",
            bad,
            {"leaf": sha256(bytes.fromhex(DATA[5])).hexdigest()},
        ),
        "leaf-is-node": (
            "an inner node shown as a leaf, with the rest of the path",
            bad,
            {"leaf": pair, "proof": proof[1:]},
        ),
        "leaf-is-root": ("the root shown as its own leaf", bad, {"leaf": root, "proof": []}),
        "leaf-short": ("a leaf hash of 31 bytes", "format error", {"leaf": leaf[:-2]}),
        "root-foreign": ("another root", bad, {"root": GARBAGE.hex()}),
        "root-empty-tree": ("the root of the empty tree", bad, {"root": reference_root([]).hex()}),
        "root-is-leaf": ("a root that is the leaf itself", bad, {"root": leaf}),
        "root-short": ("a root of 31 bytes", "format error", {"root": root[:-2]}),
    }
    goods = ((0, 1), (0, 2), (1, 2), (0, 7), (2, 3), (1, 5), (4, 5), (5, 7), (6, 7), (0, 8), (5, 8), (7, 8))
    cases = {f"inclusion-{index}-of-{size}": good(index, size) for index, size in goods}
    for name, (desc, expect, changes) in attacks.items():
        cases[f"inclusion-{name}"] = base | {"desc": desc, "expect": expect} | changes
    return cases


def consistency_cases() -> dict[str, Case]:
    """Proofs of growth, and every way that comes to mind to hide a rewritten tree."""

    def good(old_size: int, new_size: int) -> Case:
        proof = reference_consistency(old_size, LEAVES[:new_size]) if old_size else []
        return {
            "desc": f"a tree of {old_size} grew to {new_size}",
            "expect": "ok",
            "op": "consistency",
            "old_size": old_size,
            "old_root": reference_root(LEAVES[:old_size]).hex(),
            "new_size": new_size,
            "new_root": reference_root(LEAVES[:new_size]).hex(),
            "proof": [item.hex() for item in proof],
        }

    base, power, same, empty = good(6, 7), good(4, 7), good(7, 7), good(0, 7)
    old, new, proof = base["old_root"], base["new_root"], base["proof"]
    edited = [*LEAVES[:2], GARBAGE, *LEAVES[3:7]]
    removed = [*LEAVES[:2], *LEAVES[3:8]]
    swapped = [LEAVES[1], LEAVES[0], *LEAVES[2:7]]
    bad = "verification failure"

    def rewritten(leaves: Sequence[bytes]) -> Case:
        hexed = [item.hex() for item in reference_consistency(6, leaves)]
        return {"new_root": reference_root(leaves).hex(), "proof": hexed}

    attacks: dict[str, tuple[str, str, Case, Case]] = {
        "leaf-edited": (
            "an old leaf was changed, the proof is of the new tree",
            bad,
            base,
            rewritten(edited),
        ),
        "leaf-removed": ("an old leaf was removed", bad, base, rewritten(removed)),
        "leaves-swapped": ("two old leaves changed places", bad, base, rewritten(swapped)),
        "old-size-plus-1": ("old size 7 against new size 8", bad, good(6, 8), {"old_size": 7}),
        "old-size-minus-1": ("old size 5 for the tree of 6", bad, base, {"old_size": 5}),
        "new-size-plus-2": ("a new tree of 7 shown as one of 9", bad, base, {"new_size": 9}),
        "new-size-doubled": ("a new tree of 7 shown as one of 14", bad, base, {"new_size": 14}),
        "new-size-is-old": ("two different roots at one size", bad, base, {"new_size": 6, "proof": []}),
        "sizes-swapped": ("the tree shrank", "format error", base, {"old_size": 7, "new_size": 6}),
        "size-negative": ("a negative old size", "format error", base, {"old_size": -1}),
        "roots-swapped": ("old root and new root exchanged", bad, base, {"old_root": new, "new_root": old}),
        "old-root-foreign": ("another old root", bad, base, {"old_root": GARBAGE.hex()}),
        "new-root-foreign": ("another new root", bad, base, {"new_root": GARBAGE.hex()}),
        "old-root-foreign-power-of-two": (
            "another old root where the proof starts from it",
            bad,
            power,
            {"old_root": GARBAGE.hex()},
        ),
        "new-root-is-old-power-of-two": (
            "the old root shown as the new one",
            bad,
            power,
            {"new_root": power["old_root"]},
        ),
        "proof-empty": ("no hashes at all", bad, base, {"proof": []}),
        "proof-empty-power-of-two": ("no hashes after the old root", bad, power, {"proof": []}),
        "proof-only-start": ("nothing after the first hash", bad, base, {"proof": proof[:1]}),
        "proof-too-short": ("the topmost hash is missing", bad, base, {"proof": proof[:-1]}),
        "proof-too-long-old-root": ("the old root appended", bad, base, {"proof": [*proof, old]}),
        "proof-too-long-new-root": ("the new root appended", bad, base, {"proof": [*proof, new]}),
        "proof-old-root-before": (
            "the old root put before a proof that leaves it out",
            bad,
            power,
            {"proof": [power["old_root"], *power["proof"]]},
        ),
        "proof-start-doubled": ("the first hash twice", bad, base, {"proof": [proof[0], *proof]}),
        "proof-reversed": ("the topmost hash first", bad, base, {"proof": proof[::-1]}),
        "proof-bit-flipped": (
            "one bit of one hash",
            bad,
            base,
            {"proof": [proof[0], flip(proof[1]), proof[2]]},
        ),
        "proof-hash-short": (
            "a hash of 31 bytes",
            "format error",
            base,
            {"proof": [*proof[:-1], proof[-1][:-2]]},
        ),
        "root-short": ("an old root of 31 bytes", "format error", base, {"old_root": old[:-2]}),
        "same-size-with-proof": ("equal trees and a proof", bad, same, {"proof": [new]}),
        "same-size-forked": ("two different roots at size 7", bad, same, {"old_root": GARBAGE.hex()}),
        "empty-with-proof": ("from the empty tree with a proof", bad, empty, {"proof": [new]}),
        "empty-with-foreign-root": (
            "an old size of 0 with a root that is not the empty one",
            bad,
            empty,
            {"old_root": GARBAGE.hex()},
        ),
        "both-empty-with-foreign-root": (
            "two empty trees with one root that is not the empty one",
            bad,
            good(0, 0),
            {"old_root": GARBAGE.hex(), "new_root": GARBAGE.hex()},
        ),
    }
    goods = ((0, 0), (0, 7), (1, 1), (1, 2), (1, 8), (2, 5), (3, 7), (4, 7), (6, 7), (6, 8), (7, 7), (7, 8))
    cases = {
        f"consistency-{old_size}-to-{new_size}": good(old_size, new_size) for old_size, new_size in goods
    }
    for name, (desc, expect, start, changes) in attacks.items():
        cases[f"consistency-{name}"] = start | {"desc": desc, "expect": expect} | changes
    return cases


def files() -> dict[str, str]:
    """File names and their contents."""
    groups: tuple[Callable[[], dict[str, Case]], ...] = (
        root_cases,
        frontier_cases,
        inclusion_cases,
        consistency_cases,
    )
    cases = {name: case for group in groups for name, case in group().items()}
    return {f"{name}.json": json.dumps(case, indent=2) + "\n" for name, case in cases.items()}


if __name__ == "__main__":
    for name, content in files().items():
        Path(__file__).with_name(name).write_text(content, encoding="utf-8")
