"""Many `block` lines read at once, column by column; whatever is not regular is left to `parse_line`.

What is accepted here `parse_line` accepts too: every column is spelled again from its values and compared, as
a single line is. None says nothing about the lines but that they have to be read one by one.
"""

from __future__ import annotations

import re
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from itertools import accumulate, pairwise
from operator import gt, itemgetter, sub

import msgspec

from epochseal.encoding import MAX_INT, UNREADABLE
from epochseal.format.merkle import LEAF
from epochseal.format.seal_lines import BlockBody

_FIELDS = 11
_TAG_TEXT = 44
_SHORTEST, _LONG = 2 * _TAG_TEXT, 1024
_LARGE = 4096
_NOT_BLOCK = re.compile(rb"\n(?!block )")
_RARE = re.compile(rb'"(?:esc|nolf|recovered|gap|skipped)":')
_OFFSET = re.compile(rb'(?<="offset":)(?:0|[1-9][0-9]{0,17})(?=[,}])')
# 32 bytes and the zero that is put behind them.
_VALUE = struct.Struct("32sx")
_payload = itemgetter(slice(None, -_TAG_TEXT - 1))
_numbers = msgspec.json.Decoder(list[int])
_bodies = msgspec.json.Decoder(BlockBody)
_encoder = msgspec.json.Encoder()


class BlockColumns(msgspec.Struct, frozen=True):
    """Lines with entries, which follow each other without a hole.

    `bounds` are the places of the log file, in bytes, between which the blocks lie: one more than blocks.
    `entries` is the sum of the entries, `times` are in milliseconds. `digests` and `tags` are their columns
    as they stand there, without a space or newline in them: nothing else of these two was looked at.
    """

    bounds: list[int]
    entries: int
    times: list[int]
    digests: list[bytes]
    leaves: list[bytes]
    tags: list[bytes]


def whole_block_lines(data: bytes, most: int) -> bytes:
    """The whole `block` lines that `data` begins with, each with its newline; so many at most."""
    if not data.startswith(b"block "):
        return b""
    if len(data) > most * _SHORTEST:
        # There may be more of them. What is far longer than a line is not worth a look.
        data = data[: most * _LONG]
        data = data[: len(data) - len(data.split(b"\n", most)[-1])]
    if (other := _NOT_BLOCK.search(data)) is not None:
        data = data[: other.start() + 1]
    return data[: data.rfind(b"\n") + 1]


def read_columns(lines: bytes, index: int, first_entry: int, offset: int) -> BlockColumns | None:
    """The columns of whole lines, of which the first has this index, first entry and offset."""
    # With a space on both sides a newline is a field of its own: no line can lend a field to the next.
    fields = lines.replace(b"\n", b" \n ").split(b" ")
    count = len(fields) // _FIELDS
    if not count or len(fields) != count * _FIELDS + 1 or fields[10::_FIELDS] != [b"\n"] * count:
        return None
    numbers = _read_numbers(fields[3::_FIELDS] + fields[5::_FIELDS] + fields[6::_FIELDS])
    if numbers is None or min(numbers) < 1:
        return None
    entries, sizes, times = numbers[:count], numbers[count : 2 * count], numbers[2 * count :]
    firsts, bounds = list(accumulate(entries, initial=first_entry)), list(accumulate(sizes, initial=offset))
    ours = [*range(index, index + count), *firsts[:-1], *bounds[:-1]]
    if (
        fields[:-1:_FIELDS] != [b"block"] * count
        or max(index + count, firsts[-1], bounds[-1]) > MAX_INT
        or any(map(gt, entries, sizes))
        or _encoder.encode(ours) != _array(fields[1::_FIELDS] + fields[2::_FIELDS] + fields[4::_FIELDS])
        or not _regular(fields[8::_FIELDS])
    ):
        return None
    # The byte before a leaf's payload stands before each line already, and after the last one.
    payloads = (LEAF + lines.replace(b"\n", b"\n" + LEAF)).split(b"\n")[:-1]
    leaves = [sha256(payload).digest() for payload in map(_payload, payloads)]
    return BlockColumns(
        bounds, firsts[-1] - first_entry, times, fields[7::_FIELDS], leaves, fields[9::_FIELDS]
    )


def digests_between(data: memoryview, bounds: list[int]) -> list[bytes]:
    """The SHA-256 of each block, of the bytes from the first bound to the last."""
    begin, count = bounds[0], len(bounds) - 1
    if len(data) > count * _LARGE:
        return [sha256(data[low - begin : high - begin]).digest() for low, high in pairwise(bounds)]
    # Small ones are sooner copied than shown where they are.
    blocks = map(BytesIO(data).read, map(sub, bounds[1:], bounds))
    return [sha256(block).digest() for block in blocks]


def spell(values: list[bytes], texts: list[bytes]) -> bool:
    """Whether the texts are these values of 32 bytes in base64."""
    # With a zero behind each they are whole groups of three, so that all are encoded at once: what is A at
    # the end of each for that reason is the padding.
    text = bytearray(b2a_base64(b"\0".join((*values, b"")), newline=False))
    text[_TAG_TEXT - 1 :: _TAG_TEXT] = b"=" * len(values)
    return text == b"".join(texts) and {*map(len, texts)} == {_TAG_TEXT}


def decode_column(texts: list[bytes]) -> list[bytes] | None:
    """The values of 32 bytes that these texts spell in the one canonical way."""
    joined, padding = bytearray(b"".join(texts)), b"=" * len(texts)
    if {*map(len, texts)} != {_TAG_TEXT} or joined[_TAG_TEXT - 1 :: _TAG_TEXT] != padding:
        return None
    joined[_TAG_TEXT - 1 :: _TAG_TEXT] = b"A" * len(texts)
    try:
        data = a2b_base64(joined, strict_mode=True)
    except ValueError:
        return None
    # What is not zero behind a value are bits of its last character that belong to no byte.
    if any(data[_VALUE.size - 1 :: _VALUE.size]):
        return None
    return [value for (value,) in _VALUE.iter_unpack(data)]


def _array(texts: list[bytes]) -> bytes:
    """As JSON, if all are numbers: what has a comma in it makes more of them than there are texts."""
    return b"[" + b",".join(texts) + b"]"


def _read_numbers(texts: list[bytes]) -> list[int] | None:
    """Canonical numbers from 0 to 2**63-1."""
    array = _array(texts)
    try:
        numbers = _numbers.decode(array)
    except UNREADABLE:
        return None
    if len(numbers) != len(texts) or b"-" in array or max(numbers) > MAX_INT:
        return None
    return numbers if _encoder.encode(numbers) == array else None


def _regular(texts: list[bytes]) -> bool:
    """Whether each names a source, without any flag, in the one form of its JSON."""
    # Lines of one source differ in its offset alone, and no string within JSON has an unescaped quote that
    # could make it look like one: what is canonical with 0 there is with any number.
    shapes = _shape_of_all(texts) or {*_OFFSET.sub(b"0", b"\n".join(texts)).split(b"\n")}
    text = b"".join(b"%b\n" % shape for shape in shapes)
    if b"{}" in shapes or _RARE.search(text) is not None:
        return False
    # No JSON that is written here has a newline in it: equal sums of lines have equal lines.
    try:
        bodies = _bodies.decode_lines(text)
    except UNREADABLE:
        return False
    return len(bodies) == len(shapes) and _encoder.encode_lines(bodies) == text


def _shape_of_all(texts: list[bytes]) -> Sequence[bytes]:
    """The first one with 0 for its offset, if the others differ from it in that alone."""
    if (offset := _OFFSET.search(texts[0])) is None:
        return ()
    before, behind, joined = texts[0][: offset.start()], texts[0][offset.end() :], b"\n".join(texts)
    # Each newline stands in one of these, so that each text begins and ends as the first one.
    offsets = joined[len(before) : len(joined) - len(behind)].split(behind + b"\n" + before)
    if len(offsets) != len(texts) or not joined.endswith(behind) or _read_numbers(offsets) is None:
        return ()
    return (before + b"0" + behind,)
