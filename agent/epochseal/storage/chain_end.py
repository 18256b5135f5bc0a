"""Where the chain on disk ends: what an agent must know before it goes on with a log that no page speaks for.

The agent cannot check tags (it has no old key), so what it reads here is only quoted: the next epoch names
the last tag and the tree as they stand on disk, and the verifier, who has the keys, judges whether they are
the true ones.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from epochseal.encoding import b64decode
from epochseal.errors import FormatError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import Block, End, Header, NoteLine, TaggedLine, parse_line
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import Segment


@dataclass(slots=True)
class ChainEnd:
    """The end of a chain as it stands on disk.

    `entries` is the number of the next entry. `sealed` and `complete` are lengths in bytes of the last
    segment's log and seal file: up to the last sealed entry, and up to the last whole line. `closed`: the
    last tagged line is an `end` with reason `close`.
    """

    segment: Segment
    header: Header
    tree: Frontier
    last_tag: bytes
    entries: int
    sealed: int = 0
    complete: int = 0
    closed: bool = False

    @property
    def log(self) -> bytes:
        """The log's id, 32 bytes."""
        return b64decode(self.header.log, "log", 32)


def read_chain_end(segments: tuple[Segment, ...]) -> ChainEnd | None:
    """Read the chain from the last readable epoch line on; None where no segment has one.

    Raises:
        StorageError: a seal file cannot be read.
    """
    for position in range(len(segments) - 1, -1, -1):
        with mapped(segments[position].seal) as content:
            if (found := _last_header(content)) is None:
                continue
            start, header = found
            tree = header.tree.to_frontier()
            end = ChainEnd(
                segments[position], header, tree, b64decode(header.prev, "prev"), header.first_entry
            )
            end.sealed = _sealed_before(content, start)
            _walk(end, content, start)
        for later in segments[position + 1 :]:
            end.segment, end.sealed = later, 0
            with mapped(later.seal) as content:
                _walk(end, content, 0)
        return end
    return None


def _last_header(content: mmap.mmap | bytes) -> tuple[int, Header] | None:
    end = len(content)
    while end > 0:
        # JSON holds no raw newline, so a newline and the kind are the start of a line and nothing else.
        start = content.rfind(b"\nepoch ", 0, end) + 1
        stop = content.find(b"\n", start)
        if stop > 0 and (header := _header(content[start:stop])) is not None:
            return start, header
        end = start - 1
    return None


def _header(raw: bytes) -> Header | None:
    try:
        line = parse_line(raw)
    except FormatError:
        return None
    return line.body if isinstance(line, TaggedLine) and isinstance(line.body, Header) else None


def _sealed_before(content: mmap.mmap | bytes, header: int) -> int:
    start = content.rfind(b"\nblock ", 0, header) + 1
    try:
        line = parse_line(content[start : content.find(b"\n", start)])
    except FormatError:
        return 0
    if isinstance(line, TaggedLine) and isinstance(line.body, Block):
        return line.body.offset + line.body.size
    return 0


def _walk(end: ChainEnd, content: mmap.mmap | bytes, start: int) -> None:
    while (stop := content.find(b"\n", start)) >= 0:
        _add_line(end, content[start:stop])
        start = stop + 1
    end.complete = start


def _add_line(end: ChainEnd, raw: bytes) -> None:
    try:
        line = parse_line(raw)
    except FormatError:
        # A damaged line still is a leaf: without it, every line after it would have another index.
        end.tree.append(leaf_hash(raw.rpartition(b" ")[0]))
        end.closed = False
        return
    if isinstance(line, NoteLine):
        return
    while end.tree.size < line.index < end.tree.size + 1_000_000:
        end.tree.append(leaf_hash(b""))
    end.tree.append(leaf_hash(line.payload))
    end.last_tag = line.tag
    end.closed = isinstance(line.body, End) and line.body.reason == "close"
    if isinstance(line.body, Block):
        end.entries = line.body.first_entry + line.body.entries
        end.sealed = line.body.offset + line.body.size
