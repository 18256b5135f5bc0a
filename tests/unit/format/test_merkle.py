from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.errors import FormatError, VerificationError
from epochseal.format.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    growth_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "merkle"
# The recursive definitions of the RFC, written down a second time by the generator of the vectors.
REFERENCE = runpy.run_path(str(VECTORS / "generate.py"))
FILES: dict[str, str] = REFERENCE["files"]()

CT_DATA = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
CT_LEAVES = [leaf_hash(bytes.fromhex(data)) for data in CT_DATA]
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
# Index or old size, size, and the published hashes.
CT_INCLUSION = (
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (2, 3, ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",)),
    (
        1,
        5,
        (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
)
CT_CONSISTENCY = (
    (
        1,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        6,
        8,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (
        2,
        5,
        (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
    (
        6,
        7,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
)

LEAVES = [leaf_hash(str(number).encode()) for number in range(300)]
sizes = st.integers(0, len(LEAVES))


def hexed(hashes: list[bytes]) -> tuple[str, ...]:
    """Hashes as the published vectors spell them."""
    return tuple(item.hex() for item in hashes)


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    """The roots that Certificate Transparency published for its eight test leaves come out."""
    assert root(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), CT_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, path: tuple[str, ...]) -> None:
    """Published inclusion proofs come out, and verify."""
    assert hexed(inclusion_proof(CT_LEAVES[:size], index)) == path
    proof = [bytes.fromhex(item) for item in path]
    verify_inclusion(CT_LEAVES[index], index, size, proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("old_size", "new_size", "path"), CT_CONSISTENCY)
def test_published_consistency_proofs(old_size: int, new_size: int, path: tuple[str, ...]) -> None:
    """Published consistency proofs come out, and verify."""
    assert hexed(consistency_proof(CT_LEAVES[:new_size], old_size)) == path
    old_root, new_root = (bytes.fromhex(CT_ROOTS[size]) for size in (old_size, new_size))
    verify_consistency(old_size, old_root, new_size, new_root, [bytes.fromhex(item) for item in path])


def test_hashes_are_prefixed() -> None:
    """Leaf and node hashes of the same bytes differ, and a memoryview hashes as its bytes."""
    assert leaf_hash(memoryview(b"data")) == leaf_hash(b"data")
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])
    assert leaf_hash(b"") != EMPTY_ROOT == root([])


def test_all_small_trees_match_the_reference() -> None:
    """Up to 40 leaves, every root, every inclusion proof and every consistency proof is the reference's."""
    for size in range(1, 41):
        leaves = LEAVES[:size]
        top = root(leaves)
        assert top == REFERENCE["reference_root"](leaves)
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert proof == REFERENCE["reference_inclusion"](index, leaves)
            verify_inclusion(leaves[index], index, size, proof, top)
            old_root, proof = root(leaves[: index + 1]), consistency_proof(leaves, index + 1)
            assert proof == REFERENCE["reference_consistency"](index + 1, leaves)
            verify_consistency(index + 1, old_root, size, top, proof)


@given(size=sizes.filter(bool), data=st.data())
def test_larger_trees_match_the_reference(size: int, data: st.DataObject) -> None:
    """Up to a few hundred leaves, root and proofs are the reference's, and verify."""
    leaves, index = LEAVES[:size], data.draw(st.integers(0, size - 1))
    top, path, growth = root(leaves), inclusion_proof(leaves, index), consistency_proof(leaves, index + 1)
    assert top == REFERENCE["reference_root"](leaves)
    assert path == REFERENCE["reference_inclusion"](index, leaves)
    assert growth == REFERENCE["reference_consistency"](index + 1, leaves)
    verify_inclusion(leaves[index], index, size, path, top)
    verify_consistency(index + 1, root(leaves[: index + 1]), size, top, growth)


@given(size=st.integers(1, 300), data=st.data())
def test_no_proof_holds_for_another_leaf(size: int, data: st.DataObject) -> None:
    """The proof of one leaf is refused for any other leaf, and for any other index."""
    index, other = data.draw(st.tuples(st.integers(0, size - 1), st.integers(0, len(LEAVES) - 1)))
    leaves = LEAVES[:size]
    proof, top = inclusion_proof(leaves, index), root(leaves)
    if other != index:
        with pytest.raises(VerificationError):
            verify_inclusion(LEAVES[other], index, size, proof, top)
        with pytest.raises(VerificationError if other < size else FormatError):
            verify_inclusion(LEAVES[index], other, size, proof, top)


@given(old_size=st.integers(1, 299), data=st.data())
def test_no_rewritten_tree_is_consistent(old_size: int, data: st.DataObject) -> None:
    """Whichever old leaf is changed, the honest proof of the changed tree is refused against the old root."""
    new_size = data.draw(st.integers(old_size, 300))
    changed = LEAVES[:new_size]
    changed[data.draw(st.integers(0, old_size - 1))] = leaf_hash(b"changed")
    proof = consistency_proof(changed, old_size)
    with pytest.raises(VerificationError):
        verify_consistency(old_size, root(LEAVES[:old_size]), new_size, root(changed), proof)


@given(old_size=sizes, data=st.data())
def test_proofs_have_one_length(old_size: int, data: st.DataObject) -> None:
    """A proof with a hash cut off or one more at either end is refused."""
    new_size = data.draw(st.integers(max(old_size, 1), 300))
    leaves = LEAVES[:new_size]
    old_root, top, growth = root(leaves[:old_size]), root(leaves), consistency_proof(leaves, old_size)
    index = data.draw(st.integers(0, new_size - 1))
    path = inclusion_proof(leaves, index)
    for bent in ([*growth, top], [top, *growth], [*growth, old_root], *([growth[:-1]] if growth else [])):
        with pytest.raises(VerificationError):
            verify_consistency(old_size, old_root, new_size, top, bent)
    for bent in ([*path, top], [leaves[index], *path]):
        with pytest.raises(VerificationError, match="goes on after the root"):
            verify_inclusion(leaves[index], index, new_size, bent, top)
    if path:
        with pytest.raises(VerificationError, match="ends before the root"):
            verify_inclusion(leaves[index], index, new_size, path[:-1], top)


def test_proofs_refuse_senseless_sizes() -> None:
    """A leaf or an old size that is not in the tree is refused before anything is hashed."""
    for index in (-1, 3):
        with pytest.raises(FormatError, match="there is no leaf"):
            inclusion_proof(LEAVES[:3], index)
    for old_size in (-1, 4):
        with pytest.raises(FormatError, match="cannot grow"):
            consistency_proof(LEAVES[:3], old_size)


def test_data_is_not_taken_for_leaves() -> None:
    """Whoever passes data where leaf hashes belong is told so."""
    for call in (
        lambda: root([b"data"]),
        lambda: inclusion_proof([b"data"], 0),
        lambda: consistency_proof([b"data"], 1),
        lambda: Frontier().append(b"data"),
    ):
        with pytest.raises(FormatError, match="leaf hash has 4 bytes instead of 32"):
            call()


@given(parts=st.lists(st.integers(0, 70), max_size=6))
def test_frontier_grows_the_same_either_way(parts: list[int]) -> None:
    """Leaves added one by one and in any batches make the same frontier, whose root is the reference's."""
    single, batched, done = Frontier(), Frontier(), 0
    for part in parts:
        batch = (LEAVES * 2)[done : done + part]
        for leaf in batch:
            single.append(leaf)
        batched.extend(iter(batch))
        done += part
        assert single == batched
        assert single.hashes == tuple(REFERENCE["reference_frontier"]((LEAVES * 2)[:done]))
        assert single.root() == REFERENCE["reference_root"]((LEAVES * 2)[:done])
    assert batched.size == done


@given(size=sizes, more=st.integers(0, 50))
def test_frontier_resumes(size: int, more: int) -> None:
    """A frontier stored as size and hashes goes on exactly where it was."""
    whole, part = Frontier(), Frontier()
    whole.extend((LEAVES * 2)[: size + more])
    part.extend(LEAVES[:size])
    resumed = Frontier(part.size, part.hashes)
    assert resumed == part
    resumed.extend((LEAVES * 2)[size : size + more])
    assert resumed == whole


def test_frontier_copy_is_independent() -> None:
    """A copy starts out equal and goes its own way."""
    tree = Frontier()
    tree.extend(LEAVES[:5])
    twin = tree.copy()
    assert twin == tree
    twin.append(LEAVES[5])
    assert twin != tree
    assert (tree.size, tree.root()) == (5, root(LEAVES[:5]))


def test_frontier_survives_a_refused_batch() -> None:
    """A batch with one bad leaf changes nothing."""
    tree = Frontier()
    tree.extend(LEAVES[:5])
    before = tree.copy()
    with pytest.raises(FormatError, match="31 bytes"):
        tree.extend([*LEAVES[5:8], bytes(31)])
    assert tree == before


def test_frontier_equals_only_its_like() -> None:
    """Another type or tree is never equal, and a frontier, being mutable, cannot be hashed."""
    assert Frontier() != (0, ())
    assert Frontier(1, LEAVES[:1]) != Frontier(1, LEAVES[1:2])
    with pytest.raises(TypeError, match="unhashable"):
        hash(Frontier())


def run_vector(case: dict[str, Any]) -> None:
    """Do what the vector says; raises what the code raises."""
    hashes = {
        name: bytes.fromhex(case[name]) for name in ("leaf", "root", "old_root", "new_root") if name in case
    }
    proof = [bytes.fromhex(item) for item in case.get("proof", ())]
    match case["op"]:
        case "root":
            assert root([leaf_hash(bytes.fromhex(data)) for data in case["data"]]) == hashes["root"]
        case "frontier":
            tree = Frontier(case["size"], [bytes.fromhex(item) for item in case["hashes"]])
            assert tree.root() == hashes["root"]
        case "inclusion":
            verify_inclusion(hashes["leaf"], case["index"], case["size"], proof, hashes["root"])
        case "consistency":
            old_size, new_size = case["old_size"], case["new_size"]
            verify_consistency(old_size, hashes["old_root"], new_size, hashes["new_root"], proof)
        case other:
            pytest.fail(f"vector with the unknown operation {other}")


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("*.json")))
def test_vector(name: str) -> None:
    """Every vector file has the verdict that it expects."""
    case = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    if case["expect"] == "ok":
        run_vector(case)
        return
    expected = {"format error": FormatError, "verification failure": VerificationError}[case["expect"]]
    with pytest.raises(expected):
        run_vector(case)


def test_vectors_are_what_the_generator_writes() -> None:
    """The stored vectors are the generator's, byte for byte, with none missing and none left over."""
    stored = {path.name: path.read_text(encoding="utf-8") for path in VECTORS.glob("*.json")}
    assert stored == FILES


# --- growth, from a frontier ----------------------------------------


def test_growth_is_proven_from_the_frontier_alone() -> None:
    """For each pair of sizes: the same proof as from all leaves, of new leaves that are read once."""
    for old_size in range(66):
        old = Frontier()
        old.extend(LEAVES[:old_size])
        for new_size in range(old_size, 66):
            rest = iter(LEAVES[old_size:])
            assert growth_proof(old, rest, new_size) == consistency_proof(LEAVES[:new_size], old_size)
            assert old_size in {0, new_size} or next(rest) == LEAVES[new_size]
        assert old.size == old_size


def test_growth_without_its_leaves_is_refused() -> None:
    """A file that ends early gives no proof at all, and neither does a tree that shrank."""
    old = Frontier()
    old.extend(LEAVES[:5])
    with pytest.raises(FormatError, match="missing"):
        growth_proof(old, LEAVES[5:20], 21)
    with pytest.raises(FormatError):
        growth_proof(old, (), 4)


@given(st.integers(0, 70), st.integers(1, 70), st.data())
def test_a_proof_from_the_frontier_is_that_from_all_leaves(old: int, more: int, data: st.DataObject) -> None:
    """What is older needs no leaf: its subtrees give the same path."""
    leaves = [leaf_hash(b"%d" % number) for number in range(old + more)]
    before = Frontier()
    before.extend(leaves[:old])
    index = data.draw(st.integers(old, old + more - 1))
    assert inclusion_proof(leaves[old:], index, before) == inclusion_proof(leaves, index)


@pytest.mark.parametrize("index", [0, 4, 8])
def test_a_proof_from_the_frontier_is_of_a_leaf_that_follows_it(index: int) -> None:
    """A leaf of the old tree, or one behind the last, has no proof there."""
    before = Frontier()
    before.extend(CT_LEAVES[:5])
    with pytest.raises(FormatError, match="no leaf"):
        inclusion_proof(CT_LEAVES[5:8], index, before)
