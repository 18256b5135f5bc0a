"""The codec of seal lines: `KIND INDEX FIELDS… TAG` (docs/format.md, "Seal lines").

Reading is parse, re-encode, compare: a line that is spelled in any other way is refused, so that the bytes
that were authenticated and the values that are acted upon can never differ.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from typing import Annotated, Literal

import msgspec

from epochseal.encoding import MAX_INT, b64decode, b64encode, decode_json, encode_json
from epochseal.errors import FormatError
from epochseal.format.merkle import HASH_SIZE, Frontier, leaf_hash
from epochseal.format.note import parse_vkey
from epochseal.keys import Context, Issued

TAG_SIZE = 32
ZERO_TAG = bytes(TAG_SIZE)
MAX_LINE = 1 << 20
"""A seal line is at most this long, in bytes, without its newline."""

MAX_ABANDONED = 64
"""An epoch line gives up at most this many different calls."""

UInt = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
Link = Literal["genesis", "carry", "cold"]
KeyKind = Literal["epoch", "checkpoint"]
EndReason = Literal["interval", "entries", "bytes", "segment", "close"]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """JSON inside a seal line: one key order, no unknown keys; absent is the only spelling of a default."""


class Asked(_Body, frozen=True):
    """The last tagged line when an epoch secret was asked for: its index and its tag (base64)."""

    line: UInt
    tag: str


class Abandoned(_Body, frozen=True):
    """Issue calls that were not adopted: what they quoted, and how many calls quoted it."""

    line: UInt
    tag: str
    calls: UInt


class Tree(_Body, frozen=True):
    """The Merkle tree before the header's own leaf: its size, and its complete subtrees' roots (base64)."""

    size: UInt
    frontier: list[str]

    def to_frontier(self) -> Frontier:
        """The tree, ready for the header's own leaf.

        Raises:
            FormatError: the hashes do not fit the size, which `parse_line` has refused already.
        """
        return Frontier(self.size, [b64decode(subtree, "frontier", HASH_SIZE) for subtree in self.frontier])


class Denies(_Body, frozen=True):
    """What the agent remembers and the disk does not bear out: the log's id, and its size and root."""

    log: str
    size: UInt
    root: str


class Header(_Body, frozen=True):
    """The body of an `epoch` line; times and durations are in milliseconds.

    `log` is 32 random bytes in epoch 0, and the log's id (`log_id`) in every later epoch.
    """

    epoch: UInt
    origin: str
    log: str
    segment: UInt
    link: Link
    key: str
    wrapped: str
    carry: str
    asked: Asked
    prev: str
    tree: Tree
    first_entry: UInt
    heartbeat: UInt
    interval: UInt
    max_overdue: UInt
    retention: UInt
    abandoned: list[Abandoned]
    time: UInt
    denies: Denies | None = None


class SourceMark(_Body, frozen=True):
    """Where a block's entries came from: the source, and up to which byte of it everything is sealed now.

    `gap`: entries may be missing here; `skipped`: so many bytes are. Without entries it is a position only.
    """

    name: str
    offset: UInt
    file: str = ""
    esc: UInt = 0
    nolf: UInt = 0
    recovered: UInt = 0
    gap: UInt = 0
    skipped: UInt = 0


class BlockBody(_Body, frozen=True):
    """The JSON of a `block` line."""

    src: SourceMark | None = None


class Prune(_Body, frozen=True):
    """The body of a `prune` line: the segments up to `segment` are expired, and what they held."""

    segment: UInt
    epoch: UInt
    tree_size: UInt
    root: str
    entries: UInt
    bytes: UInt
    policy: str


class Rotate(_Body, frozen=True):
    """The body of a `rotate` line: `new` takes the place of `old`, both as key ids or as vkeys.

    What only the old key vouches for counts up to tree size `from_size`; `compromised` is 1 where somebody
    else may have had it since then. `time` is in milliseconds.
    """

    key: KeyKind
    old: str
    new: str
    from_size: UInt
    who: str
    why: str
    time: UInt
    ticket: str = ""
    compromised: UInt = 0


class Next(_Body, frozen=True):
    """The secret of the next epoch: that epoch's number, and SHA-256 of the wrapped secret in base64."""

    epoch: UInt
    wrapped: str


class Sign(_Body, frozen=True):
    """The body of a `sign` line: the checkpoint that ends with it vouches for every line from `run` on.

    `run` is the index of the epoch line that its run began with; `next` announces the next epoch's secret.
    """

    run: UInt
    next: Next | None = None


class End(_Body, frozen=True):
    """The body of an `end` line: why the epoch ended, and what it held; `run` as in `Sign`, of a close."""

    reason: EndReason
    entries: UInt
    bytes: UInt
    run: UInt | None = None


class Block(msgspec.Struct, frozen=True, gc=False):
    """A `block` line: entries committed together. `offset` and `size` are bytes of the segment's log file."""

    first_entry: int
    entries: int
    offset: int
    size: int
    time: int
    digest: bytes
    src: SourceMark | None


class TaggedLine(msgspec.Struct, frozen=True, gc=False):
    """A parsed seal line that is a leaf of the tree; `payload` is what was hashed."""

    index: int
    body: Header | Block | Prune | Rotate | Sign | End
    payload: bytes
    tag: bytes


class NoteLine(msgspec.Struct, frozen=True, gc=False):
    """A `note` line: a signed checkpoint, no tag, not a leaf."""

    note: bytes


_LOG_LABEL = b"epochseal/v1/log"
_EMPTY_DIGEST = hashlib.sha256().digest()
_NUMBER = rb"(0|[1-9][0-9]{0,18})"
_BLOCK = re.compile(rb"block " + rb" ".join([_NUMBER] * 6) + rb" ([0-9A-Za-z+/]{43}=) (\{.*\})")
_JSON_LINE = re.compile(rb"(epoch|prune|rotate|sign|end) " + _NUMBER + rb" (\{.*\})")
_Json = Header | Prune | Rotate | Sign | End
_KIND_NAMES: dict[type[_Json], str]
_KIND_NAMES = {Header: "epoch", Prune: "prune", Rotate: "rotate", Sign: "sign", End: "end"}
JSON_KINDS = (*_KIND_NAMES, BlockBody)
_JSON_KINDS = {name.encode("ascii"): kind for kind, name in _KIND_NAMES.items()}


def log_id(leaf: bytes) -> bytes:
    """The log's id, 32 bytes, of the leaf of its first line (docs/format.md, 5.11)."""
    return hashlib.sha256(_LOG_LABEL + leaf).digest()


def id_of_log(payload: bytes, header: Header) -> bytes:
    """The id, 32 bytes, of the log that an epoch line stands in: the first line makes it, others state it."""
    return log_id(leaf_hash(payload)) if header.epoch == 0 else b64decode(header.log, "log", 32)


def encode_block(index: int, block: Block) -> bytes:
    """The payload of a `block` line."""
    return b"block %d %d %d %d %d %d %b %b" % (
        index,
        block.first_entry,
        block.entries,
        block.offset,
        block.size,
        block.time,
        b2a_base64(block.digest, newline=False),
        encode_json(BlockBody(block.src)),
    )


def encode_body(index: int, body: _Json) -> bytes:
    """The payload of an `epoch`, `prune`, `rotate`, `sign` or `end` line."""
    return f"{_KIND_NAMES[type(body)]} {index} ".encode("ascii") + encode_json(body)


def encode_line(payload: bytes, tag: bytes) -> bytes:
    """A whole tagged line with its newline."""
    return b"%b %b\n" % (payload, b2a_base64(tag, newline=False))


def encode_note_line(note: bytes) -> bytes:
    """A whole `note` line with its newline."""
    return b"note %b\n" % b64encode(note).encode("ascii")


def parse_header(raw: bytes) -> Header | None:
    """The body of an epoch line, given without its newline; None for anything else, damaged or not."""
    try:
        line = parse_line(raw)
    except FormatError:
        return None
    return line.body if isinstance(line, TaggedLine) and isinstance(line.body, Header) else None


def parse_line(raw: bytes) -> TaggedLine | NoteLine:
    """Read one seal line, given without its newline.

    Raises:
        FormatError: the line is not in the one canonical form.
    """
    if len(raw) > MAX_LINE:
        raise FormatError(f"seal line of {len(raw)} bytes is longer than {MAX_LINE}")
    if raw.startswith(b"note "):
        return NoteLine(b64decode(raw[5:], "note"))
    # The JSON of a payload may hold spaces, base64 never does: the tag is what follows the last space.
    payload, _, tag_text = raw.rpartition(b" ")
    tag = b64decode(tag_text, "tag", TAG_SIZE)
    if (match := _BLOCK.fullmatch(payload)) is not None:
        return _parse_block(match, payload, tag)
    if (match := _JSON_LINE.fullmatch(payload)) is None:
        raise FormatError(f"seal line is of no known kind or form: {raw[:60]!r}")
    kind, number, text = match.groups()
    if (index := int(number)) > MAX_INT:
        raise FormatError("seal line has an index beyond 2**63-1")
    body = decode_json(text, _JSON_KINDS[kind], f"{kind.decode()} line")
    _check_body(index, body)
    return TaggedLine(index, body, payload, tag)


def _check_body(index: int, body: _Json) -> None:
    if isinstance(body, Header):
        _check_header(body)
    elif isinstance(body, Prune):
        b64decode(body.root, "root", 32)
    elif isinstance(body, Rotate):
        _check_rotate(index, body)
    elif isinstance(body, Sign):
        _check_run(index, body.run)
        if body.next is not None:
            b64decode(body.next.wrapped, "digest of the wrapped secret", 32)
    else:
        _check_end(index, body)


def _parse_block(match: re.Match[bytes], payload: bytes, tag: bytes) -> TaggedLine:
    index, first, entries, offset, size, time = map(int, match.groups()[:6])
    if max(index, first, entries, offset, size, time) > MAX_INT:
        raise FormatError("block line holds a number beyond 2**63-1")
    body = decode_json(match[8], BlockBody, "block line")
    block = Block(first, entries, offset, size, time, b64decode(match[7], "digest", 32), body.src)
    if entries > size or (entries == 0) != (size == 0):
        raise FormatError(f"block line counts {entries} entries in {size} bytes")
    if not size and block.digest != _EMPTY_DIGEST:
        raise FormatError("block line without entries has another digest than that of nothing")
    if entries and block.src is None:
        raise FormatError("block line with entries names no source")
    src = block.src
    if src is not None and max(src.esc, src.nolf, src.recovered, src.gap) > 1:
        raise FormatError("block line holds a flag that is not 1")
    if src is not None and src.skipped and not src.gap:
        raise FormatError("block line skips bytes and says of no gap")
    return TaggedLine(index, block, payload, tag)


def _check_run(index: int, run: int) -> None:
    """Refuse a line that says its run began with itself, or later."""
    if run >= index:
        raise FormatError(f"line {index} says that its run began with line {run}")


def _check_end(index: int, end: End) -> None:
    """Refuse an end line that says where its run began and closes nothing, or the other way round."""
    if (end.run is not None) != (end.reason == "close"):
        raise FormatError(f"run does not fit an end with reason {end.reason!r}")
    if end.run is not None:
        _check_run(index, end.run)


def _check_rotate(index: int, rotate: Rotate) -> None:
    """Refuse a rotate line whose values contradict each other."""
    if rotate.key == "epoch":
        ids = [Issued(key_id, ZERO_TAG).key_id for key_id in (rotate.old, rotate.new)]
    else:
        ids = [f"{key.name}+{key.key_id.hex()}" for key in map(parse_vkey, (rotate.old, rotate.new))]
    if ids[0] == ids[1]:
        raise FormatError(f"rotate line replaces {ids[0]} by itself")
    if rotate.compromised > 1:
        raise FormatError("rotate line holds a flag that is not 1")
    if rotate.from_size > index or (rotate.from_size < index and not rotate.compromised):
        raise FormatError(f"rotate line {index} says that the old key counts up to {rotate.from_size}")


def _check_denies(link: Link, denies: Denies) -> None:
    """Refuse what an agent cannot deny: a log that it has the carry of, or one without lines."""
    if link == "carry":
        raise FormatError("an epoch with a carry denies nothing")
    if denies.size == 0:
        raise FormatError("epoch line denies a log without lines")
    b64decode(denies.log, "denied log", 32)
    b64decode(denies.root, "denied root", 32)


def _check_header(header: Header) -> None:
    """Refuse an epoch line whose values contradict each other."""
    asked_tag = b64decode(header.asked.tag, "asked tag", TAG_SIZE)
    Context(header.origin, b64decode(header.log, "log", 32), header.epoch, asked_tag)
    Issued(header.key, b64decode(header.wrapped, "wrapped"))
    b64decode(header.prev, "prev", TAG_SIZE)
    if len(b64decode(header.carry, "carry")) != (48 if header.link == "carry" else 0):
        raise FormatError(f"carry does not fit link {header.link!r}")
    if len(header.abandoned) > MAX_ABANDONED:
        raise FormatError(f"epoch line gives up {len(header.abandoned)} calls, more than {MAX_ABANDONED}")
    for item in header.abandoned:
        b64decode(item.tag, "abandoned tag", TAG_SIZE)
        if item.calls == 0:
            raise FormatError("epoch line gives up no call at all")
    if header.denies is not None:
        _check_denies(header.link, header.denies)
    if header.segment == 0:
        raise FormatError("segments are numbered from 1")
    _check_place(header)


def _check_place(header: Header) -> None:
    for subtree in header.tree.frontier:
        b64decode(subtree, "frontier", 32)
    if len(header.tree.frontier) != header.tree.size.bit_count():
        raise FormatError("frontier does not fit the tree size")
    if (header.link == "genesis") != (header.epoch == 0):
        raise FormatError(f"link {header.link!r} in epoch {header.epoch}")
    if header.epoch == 0 and (
        (header.tree.size, header.first_entry, header.asked.line) != (0, 0, 0)
        or {header.prev, header.asked.tag} != {b64encode(ZERO_TAG)}
    ):
        raise FormatError("the first epoch does not begin at zero")
