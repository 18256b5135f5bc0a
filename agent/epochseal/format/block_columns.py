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
from epochseal.format.merkle import leaf_hash
from epochseal.format.seal_lines import TAG_SIZE, BlockBody

_FIELDS = 11
_TAG_TEXT = 44
_NOT_BLOCK = re.compile(rb"\n(?!block )")
_RARE = re.compile(rb'"(?:esc|nolf|recovered|gap|skipped)":')
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
    raw = lines.split(b"\n")[:-1]
    count = len(raw)
    # With a space on both sides a newline is a field of its own: no line can lend a field to the next.
    fields = lines.decode("latin-1").replace("\n", " \n ").split(" ")
    if not count or len(fields) != count * _FIELDS + 1 or fields[10::_FIELDS] != ["\n"] * count:
        return None
    try:
        entries, sizes, times = (list(map(int, fields[place::_FIELDS])) for place in (3, 5, 6))
    except ValueError:
        return None
    firsts, bounds = list(accumulate(entries, initial=first_entry)), list(accumulate(sizes, initial=offset))
    values = (range(index, index + count), firsts[:-1], entries, bounds[:-1], sizes, times)
    digests, texts, tags = fields[7::_FIELDS], fields[8::_FIELDS], fields[9::_FIELDS]
    if (
        fields[:-1:_FIELDS] != ["block"] * count
        or any(fields[place::_FIELDS] != list(map(str, column)) for place, column in enumerate(values, 1))
        or min(*entries, *times) < 0
        or not all(entries)
        or any(map(gt, entries, sizes))
        or max(index + count, firsts[-1], bounds[-1], *times) > MAX_INT
        or {*map(len, digests), *map(len, tags)} != {_TAG_TEXT}
        or not _regular(texts)
    ):
        return None
    leaves = [leaf_hash(line[: -_TAG_TEXT - 1]) for line in raw]
    return BlockColumns(bounds, firsts[-1] - first_entry, times, digests, leaves, tags)


def digests_between(data: memoryview, bounds: list[int]) -> list[str]:
    """The SHA-256 of each block, in base64, of the bytes from the first bound to the last."""
    begin = bounds[0]
    return [b64encode(sha256(data[low - begin : high - begin]).digest()) for low, high in pairwise(bounds)]


def decode_column(texts: list[str]) -> list[bytes] | None:
    """The tags that these texts spell in the one canonical way, of 32 bytes each."""
    try:
        return [b64decode(text, "tag", TAG_SIZE) for text in texts]
    except FormatError:
        return None


def _regular(texts: list[str]) -> bool:
    """Whether each names a source, without any flag, in the one form of its JSON.

    No JSON that is written here has a newline in it: equal sums of lines have equal lines.
    """
    text = "".join(f"{item}\n" for item in texts).encode("latin-1")
    if "{}" in texts or _RARE.search(text) is not None:
        return False
    try:
        bodies = _decoder.decode_lines(text)
    except UNREADABLE:
        return False
    return len(bodies) == len(texts) and _encoder.encode_lines(bodies) == text
