from __future__ import annotations

import hashlib
import hmac
from copy import deepcopy

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from epochseal.custody import ratchet
from epochseal.encoding import b64decode, b64encode
from epochseal.errors import FormatError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import (
    Abandoned,
    Block,
    End,
    Header,
    Link,
    Next,
    Prune,
    Sign,
    SourceMark,
    TaggedLine,
    log_id,
    parse_line,
)
from epochseal.keys import Issued
from epochseal.sealing.chain import Chain, EpochStart, Pace

ZERO = bytes(32)
SECRET, CARRY = b"\x01" * 32, b"\x02" * 32


class Pages:
    """The places that a caller hands to the chain, and how it moves the key on."""

    def __init__(self) -> None:
        self.both = memoryview(bytearray(64))
        self.scratch = memoryview(bytearray(32))
        self.key = memoryview(bytearray(32))
        self.next = memoryview(bytearray(32))

    def turn(self) -> bytes:
        """The next key becomes the key; what it is, for a test to compare."""
        self.key[:] = self.next
        return bytes(self.key)


def begin(
    chain: Chain, pages: Pages, link: Link = "genesis", segment: int = 1, pace: Pace | None = None
) -> TaggedLine:
    """Start an epoch with fixed secrets."""
    pages.both[:] = SECRET + (CARRY if link == "carry" else ZERO)
    start = EpochStart(
        link=link,
        issued=Issued("file:ab", b"wrapped"),
        context=chain.next_context(),
        asked=chain.asked(),
        abandoned=(Abandoned(0, b64encode(ZERO), 3),),
        segment=segment,
        pace=pace or Pace(),
        time=1000,
    )
    return parsed(chain.start(start, pages.both, pages.scratch, pages.next))


def parsed(line: bytes) -> TaggedLine:
    """The line, read again; it ends in one newline."""
    assert line.endswith(b"\n")
    found = parse_line(line[:-1])
    assert isinstance(found, TaggedLine)
    return found


def hkdf(ikm: bytes, payload: bytes) -> bytes:
    """K0 as the design has it."""
    info = hashlib.sha256(payload).digest()
    return HKDF(SHA256(), 32, b"epochseal/v1/epoch", info).derive(ikm)


def step(key: bytes, label: bytes = b"next") -> bytes:
    """One step of the ratchet."""
    return HKDFExpand(SHA256(), 32, b"epochseal/v1/" + label).derive(key)


def tag(key: bytes, previous: bytes, payload: bytes) -> bytes:
    """The tag of a line."""
    leaf = hashlib.sha256(b"\0" + payload).digest()
    return hmac.digest(key, b"epochseal/v1/tag" + previous + leaf, "sha256")


def test_an_epoch_from_start_to_end() -> None:
    """Every line has the tag, key, index and counters that the design's formulas give, computed here."""
    chain, pages = Chain("example.com/c", b"\x07" * 32), Pages()
    header = begin(chain, pages)
    key = hkdf(SECRET + ZERO, header.payload)
    assert header.index == 0
    assert header.tag == tag(key, ZERO, header.payload)
    assert pages.turn() == (key := step(key))
    digest = hashlib.sha256(b"a\nbc\n").digest()
    src = SourceMark("stdin", 5)
    block = parsed(chain.block(2, 5, digest, src, 1001, pages.key, pages.next))
    assert (block.index, block.body) == (1, Block(0, 2, 0, 5, 1001, digest, src))
    assert block.tag == tag(key, header.tag, block.payload)
    assert pages.turn() == (key := step(key))
    second = parsed(chain.block(1, 2, digest, src, 1002, pages.key, pages.next))
    assert second.body == Block(2, 1, 5, 2, 1002, digest, src)
    assert pages.turn() == (key := step(key))
    prune = Prune(1, 0, 1, b64encode(ZERO), 1, 1, "90d")
    pruned = parsed(chain.record(prune, pages.key, pages.next))
    assert pruned.body == prune
    assert pages.turn() == (key := step(key))
    end = parsed(chain.end("interval", pages.key, pages.scratch, pages.next))
    assert end.body == End("interval", 3, 7)
    assert end.index == 4
    assert end.tag == chain.last_tag == tag(key, pruned.tag, end.payload)
    assert pages.turn() == step(step(key), b"carry")
    assert pages.scratch == ZERO


def test_the_tree_has_one_leaf_a_line() -> None:
    """The tree's leaves are the lines' payloads, the header before each line quotes the tree up to it."""
    chain, pages, tree = Chain("example.com/c", ZERO), Pages(), Frontier()
    for number in range(5):
        header = begin(chain, pages, "genesis" if number == 0 else "carry", segment=1)
        body = header.body
        assert isinstance(body, Header)
        assert body.tree.size == tree.size
        assert [b64decode(item, "subtree") for item in body.tree.frontier] == list(tree.hashes)
        tree.append(leaf_hash(header.payload))
        pages.turn()
        end = parsed(chain.end("interval", pages.key, pages.scratch, pages.next))
        tree.append(leaf_hash(end.payload))
        pages.turn()
    assert chain.tree == tree
    assert chain.index == 10


def test_a_carried_epoch_seals_its_carry() -> None:
    """The header holds the carry under the new secret, the key comes of both; scratch is clean."""
    chain, pages = Chain("example.com/c", ZERO, epoch=4), Pages()
    context = chain.next_context()
    header = begin(chain, pages, "carry")
    assert isinstance(header.body, Header)
    assert header.tag == tag(hkdf(SECRET + CARRY, header.payload), ZERO, header.payload)
    opened, scratch = memoryview(bytearray(32)), memoryview(bytearray(32))
    secret = memoryview(bytearray(SECRET))
    ratchet.open_carry(secret, b64decode(header.body.carry, "carry"), context.encode(), opened, scratch)
    assert opened == CARRY
    assert pages.scratch == ZERO


def test_an_epoch_line_says_what_was_asked_and_when() -> None:
    """The next epoch's context is bound to the last tag; the header quotes it, and what was abandoned."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    assert chain.asked().line == 0
    assert chain.next_context().prev == ZERO
    first = begin(chain, pages)
    pages.turn()
    assert chain.next_context().epoch == 1
    assert chain.next_context().prev == first.tag
    end = parsed(chain.end("entries", pages.key, pages.scratch, pages.next))
    pages.turn()
    second = begin(chain, pages, "carry").body
    assert isinstance(second, Header)
    assert (second.epoch, second.asked.line, second.prev) == (1, 1, b64encode(end.tag))
    assert second.asked.tag == b64encode(end.tag)
    assert second.abandoned == [Abandoned(0, b64encode(ZERO), 3)]


def test_counters_of_epoch_and_segment() -> None:
    """A new epoch starts its own counters; a new segment starts its offset; entries go on over the log."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    starts: list[tuple[int, Link]] = [(1, "genesis"), (1, "carry"), (2, "carry")]
    for segment, link in starts:
        begin(chain, pages, link, segment)
        pages.turn()
        chain.block(2, 10, ZERO, SourceMark("s", 0), 1, pages.key, pages.next)
        pages.turn()
        assert (chain.epoch_entries, chain.epoch_bytes) == (2, 10)
        chain.end("bytes", pages.key, pages.scratch, pages.next)
        pages.turn()
    assert (chain.entries, chain.segment, chain.segment_bytes, chain.epoch) == (6, 2, 10, 2)


def test_a_failure_leaves_the_chain_where_it_was() -> None:
    """When the next key cannot be derived, no counter, tag or leaf has changed."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    begin(chain, pages)
    pages.turn()
    before = deepcopy(chain)
    with pytest.raises(ValueError, match="32"):
        chain.block(1, 2, ZERO, SourceMark("s", 2), 1, pages.key, memoryview(bytearray(31)))
    assert chain == before


def test_an_origin_that_no_context_takes() -> None:
    """An origin that a context could not hold is refused before anything is sealed."""
    with pytest.raises(FormatError):
        Chain("a b", ZERO).next_context()


def test_the_id_commits_to_the_first_line() -> None:
    """Epoch 0 has its random bytes; what comes after it, and the next secret's context, have the id."""
    chain, pages = Chain("example.com/c", b"\x07" * 32), Pages()
    assert chain.next_context().log == b"\x07" * 32
    first = begin(chain, pages)
    assert isinstance(first.body, Header)
    assert first.body.log == b64encode(b"\x07" * 32)
    expected = log_id(leaf_hash(first.payload))
    assert chain.log == chain.next_context().log == expected
    pages.turn()
    chain.end("interval", pages.key, pages.scratch, pages.next)
    pages.turn()
    second = begin(chain, pages, "carry")
    assert isinstance(second.body, Header)
    assert second.body.log == b64encode(expected)
    assert chain.log == expected


def test_a_run_goes_on_by_carry_alone() -> None:
    """`sign` and the end that closes name the line that the run began with; other ends name none."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    begin(chain, pages)
    pages.turn()
    runs = []
    links: list[Link] = ["carry", "cold", "carry"]
    for link in links:
        chain.block(1, 2, ZERO, SourceMark("s", 2), 1, pages.key, pages.next)
        pages.turn()
        assert parsed(chain.end("interval", pages.key, pages.scratch, pages.next)).body == End(
            "interval", 1, 2
        )
        pages.turn()
        assert begin(chain, pages, link).index == chain.epoch_index
        bare = [chain.bare]
        pages.turn()
        body = parsed(chain.sign(None, pages.key, pages.next)).body
        assert isinstance(body, Sign)
        assert body.next is None
        assert [*bare, chain.bare] == [True, False]
        runs.append(body.run)
        pages.turn()
    assert runs == [0, 7, 7]
    assert parsed(chain.end("close", pages.key, pages.scratch, pages.next)).body == End("close", 0, 0, 7)


def test_a_sign_line_announces_the_next_secret() -> None:
    """It names the next epoch and the digest of what will wrap its secret, and takes one step."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    header = begin(chain, pages)
    key = pages.turn()
    line = parsed(chain.sign(b"what wraps it", pages.key, pages.next))
    digest = hashlib.sha256(b"what wraps it").digest()
    assert line.body == Sign(0, Next(1, b64encode(digest)))
    assert line.tag == tag(key, header.tag, line.payload)
    assert pages.turn() == step(key)


@pytest.mark.parametrize(
    ("pace", "raised"),
    [
        (Pace(), False),
        (Pace(interval=Pace().interval + 1), True),
        (Pace(max_overdue=Pace().max_overdue + 1), True),
        (Pace(interval=Pace().interval - 1, max_overdue=Pace().max_overdue - 1), False),
    ],
)
def test_a_longer_epoch_is_noticed(pace: Pace, raised: bool) -> None:  # noqa: FBT001  # what is expected
    """An epoch that may run for longer than the one before owes a `sign` line, and has it once."""
    chain, pages = Chain("example.com/c", ZERO), Pages()
    begin(chain, pages)
    assert not chain.raised
    pages.turn()
    chain.end("interval", pages.key, pages.scratch, pages.next)
    pages.turn()
    begin(chain, pages, "carry", pace=pace)
    assert chain.raised == raised
    assert chain.latest_time == 1000 + pace.interval + pace.max_overdue
    pages.turn()
    chain.sign(None, pages.key, pages.next)
    assert not chain.raised
