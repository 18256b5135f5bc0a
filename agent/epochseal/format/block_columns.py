"""Many `block` lines read at once, column by column; whatever is not regular is left to `parse_line`.

What is accepted here `parse_line` accepts too: every column is spelled again from its values and compared, as
a single line is. None says nothing about the lines but that they have to be read one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, pairwise
from operator import gt

import msgspec

from epochseal.encoding import MAX_INT, UNREADABLE, b64decode, b64encode
from epochseal.errors import FormatError
from epochseal.format.merkle import LEAF
from epochseal.format.seal_lines import TAG_SIZE, BlockBody

_FIELDS = 11
_MOST_DIGITS = 18
_TAG_TEXT = 44
_NOT_BLOCK = re.compile(rb"\n(?!block )")
_RARE = re.compile(rb'"(?:esc|nolf|recovered|gap|skipped)":')
_OFFSET = re.compile(r'"offset":(?:0|[1-9][0-9]{0,17})(?=[,}])')
_decoder = msgspec.json.Decoder(BlockBody)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class BlockColumns:
    """Lines with entries, which follow each other without a hole.

    `bounds` are the places of the log file, in bytes, between which the blocks lie: one more than blocks.
    `entries` is the sum of the entries, `times` are in milliseconds, `digests` and `tags` are base64 as they
    are written. Of these two only the length was looked at.
    """

    bounds: list[int]
    entries: int
    times: list[int]
    digests: list[str]
    leaves: list[bytes]
    tags: list[str]


def whole_block_lines(data: bytes, most: int) -> bytes:
    """The whole `block` lines that `data` begins with, each with its newline; so many at most."""
    if not data.startswith(b"block "):
        return b""
    if (other := _NOT_BLOCK.search(data)) is not None:
        data = data[: other.start() + 1]
    rest = data.split(b"\n", most)[-1]
    return data[: len(data) - len(rest)]


def read_columns(lines: bytes, index: int, first_entry: int, offset: int) -> BlockColumns | None:
    """The columns of whole lines, of which the first has this index, first entry and offset."""
    # The byte before a leaf's payload stands before each line already, and after the last one.
    payloads = (LEAF + lines.replace(b"\n", b"\n" + LEAF)).split(b"\n")[:-1]
    count = len(payloads)
    # With a space on both sides a newline is a field of its own: no line can lend a field to the next.
    fields = lines.decode("latin-1").replace("\n", " \n ").split(" ")
    if not count or len(fields) != count * _FIELDS + 1 or fields[10::_FIELDS] != ["\n"] * count:
        return None
    numbers = [fields[place::_FIELDS] for place in (3, 5, 6)]
    if not all(map(_decimals, numbers)):
        return None
    entries, sizes, times = (list(map(int, column)) for column in numbers)
    firsts, bounds = list(accumulate(entries, initial=first_entry)), list(accumulate(sizes, initial=offset))
    digests, texts, tags = fields[7::_FIELDS], fields[8::_FIELDS], fields[9::_FIELDS]
    if (
        fields[:-1:_FIELDS] != ["block"] * count
        or fields[1::_FIELDS] != list(map(str, range(index, index + count)))
        or fields[2::_FIELDS] != list(map(str, firsts[:-1]))
        or fields[4::_FIELDS] != list(map(str, bounds[:-1]))
        or any(map(gt, entries, sizes))
        or max(index + count, firsts[-1], bounds[-1]) > MAX_INT
        or {*map(len, digests), *map(len, tags)} != {_TAG_TEXT}
        or not _regular(texts)
    ):
        return None
    leaves = [sha256(payload[: -_TAG_TEXT - 1]).digest() for payload in payloads]
    return BlockColumns(bounds, firsts[-1] - first_entry, times, digests, leaves, tags)


def digests_between(data: memoryview, bounds: list[int]) -> list[bytes]:
    """The SHA-256 of each block, of the bytes from the first bound to the last."""
    begin = bounds[0]
    return [sha256(data[low - begin : high - begin]).digest() for low, high in pairwise(bounds)]


def spell(values: list[bytes], texts: list[str]) -> bool:
    """Whether the texts, of 44 characters each, are these values of 32 bytes in base64."""
    # With one more byte each is whole groups of three, so that all are encoded at once: the zero bits of the
    # last one that a value has are as in its padding, and what would be `=` is an A.
    joined = "".join(texts)
    if joined.count("=") != len(texts) or joined[_TAG_TEXT - 1 :: _TAG_TEXT] != "=" * len(texts):
        return False
    return joined.replace("=", "A") == b64encode(b"\0".join((*values, b"")))


def decode_column(texts: list[str]) -> list[bytes] | None:
    """The tags that these texts spell in the one canonical way, of 32 bytes each."""
    try:
        return [b64decode(text, "tag", TAG_SIZE) for text in texts]
    except FormatError:
        return None


def _decimals(texts: list[str]) -> bool:
    """Whether each is a canonical number from 1 to 10^18 - 1."""
    # What begins with a zero stands before "1" in the order of texts, as does what is empty.
    return min(texts) >= "1" and "".join(texts).isdecimal() and max(map(len, texts)) <= _MOST_DIGITS


def _regular(texts: list[str]) -> bool:
    """Whether each names a source, without any flag, in the one form of its JSON."""
    # Lines of one source differ in its offset alone, and no string within JSON has an unescaped quote that
    # could make it look like one: what is canonical with 0 there is with any number.
    shapes = set(_OFFSET.sub('"offset":0', "\n".join(texts)).split("\n"))
    text = "".join(f"{shape}\n" for shape in shapes).encode("latin-1")
    if "{}" in shapes or _RARE.search(text) is not None:
        return False
    # No JSON that is written here has a newline in it: equal sums of lines have equal lines.
    try:
        bodies = _decoder.decode_lines(text)
    except UNREADABLE:
        return False
    return len(bodies) == len(shapes) and _encoder.encode_lines(bodies) == text
