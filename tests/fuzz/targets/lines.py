"""Seal lines, columns of them, headers, and the names of segment files."""

from __future__ import annotations

import os
from contextlib import suppress

from epochseal.encoding import b64encode
from epochseal.errors import FormatError
from epochseal.format.block_columns import decode_column, read_columns, whole_block_lines
from epochseal.format.seal_lines import (
    Block,
    Header,
    NoteLine,
    TaggedLine,
    encode_block,
    encode_body,
    encode_line,
    encode_note_line,
    id_of_log,
    parse_header,
    parse_line,
)
from epochseal.storage.segments import list_segments, stem_time
from tests.fuzz.scratch import scratch

WORDS = (
    *(
        b"epoch ",
        b"block ",
        b"prune ",
        b"rotate ",
        b"sign ",
        b"end ",
        b"note ",
        b'"run":',
        b'"next":',
        b'"src":',
    ),
    *(
        b'"denies":',
        b'"abandoned":[',
        b'"link":"carry"',
        b'"link":"cold"',
        b'"reason":"close"',
        b'"compromised":1',
    ),
    *(
        b'"esc":1',
        b'"gap":1',
        b'"frontier":[]',
        b"{}",
        b"\\u0000",
        b"\\ud800",
        b"\xed\xa0\x80",
        b"A" * 43 + b"=",
    ),
)
_TAG = b64encode(bytes(32)).encode()


def seal_line(data: bytes) -> None:
    """A line in any form; one that is read is written back byte for byte."""
    with suppress(FormatError):
        _same(data)


def seal_payload(data: bytes) -> None:
    """The same with a tag that is one: nothing is refused before its fields are looked at."""
    raw = data + b" " + _TAG
    header = parse_header(raw)
    if header is not None:
        header.tree.to_frontier()
        assert len(id_of_log(data, header)) == 32
    with suppress(FormatError):
        line = _same(raw)
        assert (header is not None) == (isinstance(line, TaggedLine) and isinstance(line.body, Header))


def _same(raw: bytes) -> TaggedLine | NoteLine:
    line = parse_line(raw)
    if isinstance(line, NoteLine):
        again = encode_note_line(line.note)
    elif isinstance(line.body, Block):
        again = encode_line(encode_block(line.index, line.body), line.tag)
    else:
        again = encode_line(encode_body(line.index, line.body), line.tag)
    assert again == raw + b"\n", "a line is accepted, and written in another form"
    return line


def block_columns(data: bytes) -> None:
    """What is read by columns is what is read line by line: never more."""
    lines = whole_block_lines(data, 64)
    assert data.startswith(lines)
    first = lines.split(b" ", 6)
    try:
        index, entry, offset = (int(first[place]) for place in (1, 2, 4))
    except (IndexError, ValueError):
        return
    if min(index, entry, offset) < 0:
        return  # the verifier's own counters are never that
    columns = read_columns(lines, index, entry, offset)
    if columns is None or (tags := decode_column(columns.tags)) is None:
        return
    if (digests := decode_column(columns.digests)) is None:
        # As text they are compared with what was computed: such a block does not hold.
        return
    for place, raw in enumerate(lines.split(b"\n")[:-1]):
        line = parse_line(raw)
        assert isinstance(line, TaggedLine)
        block = line.body
        assert isinstance(block, Block)
        assert (line.index, block.offset, line.tag) == (index + place, columns.bounds[place], tags[place])
        assert (block.time, block.digest) == (columns.times[place], digests[place])


def segment_names(data: bytes) -> None:
    """A folder with files of such names, one a line: every one is a segment's, or foreign."""
    logdir = scratch("segment_names")
    folder = logdir / "segments"
    folder.mkdir(exist_ok=True)
    made = set()
    for name in {os.fsdecode(raw.replace(b"/", b"")) for raw in data.split(b"\n")[:16]} - {"", ".", ".."}:
        with suppress(OSError, ValueError):  # too long, or no name at all
            (folder / name).touch()
            made.add(name)
    try:
        listing = list_segments(logdir)
        for segment in listing.segments:
            assert segment.files()
            assert isinstance(stem_time(segment.stem), int)
        found = [path.name for segment in listing.segments for path in segment.files()]
        assert sorted([*found, *listing.foreign]) == sorted(name for name in made if not name.startswith("."))
    finally:
        for name in made:
            (folder / name).unlink()
