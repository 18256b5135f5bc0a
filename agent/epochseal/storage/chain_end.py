"""Where the chain on disk ends: what a start must know of a log that no page speaks for.

The agent cannot check tags (it has no old key). What it reads here it compares with what it remembers, a tree
size and root, and quotes: the next epoch names the last tag and the tree as they stand on disk, and the
verifier, who has the keys, judges whether they are the true ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from io import BufferedReader

from epochseal.encoding import b64decode, b64encode
from epochseal.errors import FormatError, StorageError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import (
    MAX_LINE,
    Block,
    End,
    Header,
    NoteLine,
    TaggedLine,
    id_of_log,
    parse_line,
)
from epochseal.storage.lines_backwards import lines_backwards
from epochseal.storage.opener import open_file
from epochseal.storage.segments import Segment

_BUFFER = 1 << 18
# With its LF, and a byte more that shows that it is too long.
_LONGEST = MAX_LINE + 2
_NOTE = b"note "
_HOLED_NOTE = re.compile(rb"\0[\0A-Za-z0-9+/=]*\n?")


@dataclass(frozen=True, slots=True)
class Close:
    """The last `end` with reason `close`: the tree that ends with it, and where its run began."""

    size: int
    root: bytes
    run: int


@dataclass(slots=True)
class ChainEnd:
    """The end of a chain as it stands on disk.

    Attributes:
        segment: the last one that was read.
        header: the last epoch line; `header_segment`, `header_offset` and `header_index` say where it stands.
        log: the log's id, 32 bytes.
        tree: the tree of all lines, as they stand there.
        last_tag: the tag of the last tagged line that parses.
        entries: the number of the next entry.
        interval: that of the last epoch that is not bare, in ms; `max_overdue` too.
        sealed: bytes of the last segment's log file, up to the last sealed entry.
        kept: bytes of its seal file that are not a tear: up to the last line that counts.
        tear: bytes behind them; `torn_note`: they are nothing but what a power cut leaves of a note.
        bare: the last epoch consists of its epoch line alone.
        ended: the last line is an `end`.
        close: the close that the log ends with, nothing behind it but notes and bare epochs; None otherwise.
        roots: the root at each size that was asked for and passed.
    """

    segment: Segment
    header: Header
    header_segment: Segment
    header_offset: int
    header_index: int
    log: bytes
    tree: Frontier
    last_tag: bytes
    entries: int
    interval: int
    max_overdue: int
    sealed: int = 0
    kept: int = 0
    tear: int = 0
    torn_note: bool = False
    bare: bool = False
    ended: bool = False
    close: Close | None = None
    roots: dict[int, bytes] = field(default_factory=dict)


def read_chain_end(
    segments: tuple[Segment, ...], bound: int | None = None, sizes: Collection[int] = ()
) -> ChainEnd | None:
    """Read the chain from an epoch line below `bound` to its end; None where no epoch line can be read.

    It begins with the last epoch line that lies below the bound, so that the lines up to the bound are read,
    or else with the first one. From the bound on, what does not follow in the last seal file is a tear; below
    it, and in other files, it is damage, which is counted as it stands (docs/format.md, 7.5).

    Args:
        segments: in their order; the last one begins with an epoch line.
        bound: a tree size that the log is known to have had; None to read no more than the last epoch.
        sizes: where the root is wanted.

    Raises:
        StorageError: a seal file cannot be read, or is no regular one.
    """
    if (start := _find_start(segments, bound)) is None:
        return None
    position, offset, line, header = start
    walk = _Walk(segments[position], offset, line, header, bound, sizes)
    for segment in segments[position:]:
        if segment.seal is not None:
            walk.read(segment, offset, last=segment is segments[-1])
            offset = 0
    return walk.end


def greatest_noted(segments: tuple[Segment, ...]) -> int:
    """The tree size of the last note in the seal files that can be read, verified or not; 0 without one.

    Raises:
        StorageError: a seal file cannot be read.
    """
    for segment in reversed(segments):
        if segment.seal is None:
            continue
        for _, raw in lines_backwards(segment.seal, _NOTE):
            try:
                line = parse_line(raw)
                if isinstance(line, NoteLine):
                    return parse_checkpoint(parse_note(line.note).text).size
            except FormatError:
                continue
    return 0


_Start = tuple[int, int, TaggedLine, Header]


def _find_start(segments: tuple[Segment, ...], bound: int | None) -> _Start | None:
    first: _Start | None = None
    for position in range(len(segments) - 1, -1, -1):
        seal, alone = segments[position].seal, True
        if seal is None:
            continue
        for offset, raw in lines_backwards(seal, b"epoch "):
            try:
                line = parse_line(raw)
            except FormatError:
                continue
            if not isinstance(line, TaggedLine) or not isinstance(line.body, Header):
                continue
            if line.index != line.body.tree.size:
                continue
            first = position, offset, line, line.body
            if bound is None:
                return first
            alone = alone and offset == 0 and line.body.link == "carry" and _is_alone(segments[position])
            # What stands before bare epochs, a close, decides how the log goes on: it is read too.
            if line.index < bound and not alone:
                return first
    return first


def _is_alone(segment: Segment) -> bool:
    """Whether a seal file holds no whole line but its first one, and notes, and what a power cut left."""
    if segment.seal is None:
        return False
    try:
        with open_file(segment.seal) as raw, BufferedReader(raw, _BUFFER) as file:
            file.readline(_LONGEST)
            while line := file.readline(_LONGEST):
                if line.endswith(b"\n") and _parse(line[:-1]) is not None:
                    return False
    except OSError as exc:
        raise StorageError(f"cannot read {segment.seal}: {exc.strerror}") from exc
    return True


class _Walk:
    def __init__(
        self,
        segment: Segment,
        offset: int,
        line: TaggedLine,
        header: Header,
        bound: int | None,
        sizes: Collection[int],
    ) -> None:
        self.end = ChainEnd(
            segment=segment,
            header=header,
            header_segment=segment,
            header_offset=offset,
            header_index=line.index,
            log=id_of_log(line.payload, header),
            tree=header.tree.to_frontier(),
            last_tag=b64decode(header.prev, "prev", 32),
            entries=header.first_entry,
            interval=header.interval,
            max_overdue=header.max_overdue,
            sealed=_sealed_before(segment, offset),
        )
        self._bound, self._sizes = bound, frozenset(sizes)
        self._begun = False

    def read(self, segment: Segment, offset: int, *, last: bool) -> None:
        end, path = self.end, segment.seal
        if path is None:
            return
        end.segment, end.kept, end.tear = segment, offset, 0
        if offset == 0:
            end.sealed = 0
        try:
            with open_file(path) as raw_file, BufferedReader(raw_file, _BUFFER) as file:
                length = file.seek(0, 2)
                file.seek(offset)
                at = offset
                while at < length and (raw := file.readline(_LONGEST)):
                    size = len(raw)
                    while not raw.endswith(b"\n") and (rest := file.readline(_LONGEST)):
                        size += len(rest)
                        if rest.endswith(b"\n"):
                            raw += b"\n"
                    torn = last and not raw.endswith(b"\n")
                    if torn or not self._take(raw.removesuffix(b"\n"), segment, at, cut=last):
                        end.tear = length - at
                        end.torn_note = size == end.tear and _is_torn_note(raw)
                        return
                    at += size
                    end.kept = at
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror}") from exc

    def _take(self, raw: bytes, segment: Segment, at: int, *, cut: bool) -> bool:
        """Count a line; False if a tear begins with it."""
        end = self.end
        if raw.startswith(_NOTE) and b"\0" not in raw:
            return True
        line = _parse(raw)
        follows = line is not None and self._follows(line, at)
        if not follows and cut and self._bound is not None and end.tree.size >= self._bound:
            return False
        if line is None:
            # A damaged line still is a leaf: without it, every line after it would have another index.
            end.tree.append(leaf_hash(raw.rpartition(b" ")[0] or raw))
            end.close, end.bare, end.ended = None, False, False
        else:
            self._add(line, segment, at)
        if end.tree.size in self._sizes:
            end.roots[end.tree.size] = end.tree.root()
        return True

    def _follows(self, line: TaggedLine, at: int) -> bool:
        end, body = self.end, line.body
        if line.index != end.tree.size:
            return False
        if isinstance(body, Header):
            # No crash leaves a whole epoch line in its place behind lines that it does not fit: those were
            # changed, and it is no part of a tear. From it on its own tree counts.
            return (body.tree.size, body.origin) == (line.index, end.header.origin) and (
                not self._begun or body.log == b64encode(end.log)
            )
        if at == 0 or end.ended:
            return False
        if isinstance(body, Block):
            return body.first_entry == end.entries and body.offset == end.sealed
        return True

    def _add(self, line: TaggedLine, segment: Segment, at: int) -> None:
        end, body = self.end, line.body
        if isinstance(body, Header):
            if body.link != "carry":
                end.close = None
            end.header, end.header_segment = body, segment
            end.header_offset, end.header_index = at, end.tree.size
            if body.tree.size == end.tree.size:
                end.tree, end.entries = body.tree.to_frontier(), body.first_entry
        else:
            end.close = None
            end.interval, end.max_overdue = end.header.interval, end.header.max_overdue
        end.tree.append(leaf_hash(line.payload))
        end.last_tag = line.tag
        end.bare, end.ended = isinstance(body, Header), isinstance(body, End)
        if isinstance(body, Block):
            end.entries, end.sealed = body.first_entry + body.entries, body.offset + body.size
        if isinstance(body, End) and body.run is not None:
            end.close = Close(end.tree.size, end.tree.root(), body.run)
        self._begun = True


def _parse(raw: bytes) -> TaggedLine | None:
    try:
        line = parse_line(raw)
    except FormatError:
        return None
    return line if isinstance(line, TaggedLine) else None


def _is_torn_note(raw: bytes) -> bool:
    """Whether one line is the beginning of a note, or one in which what was not written is zero bytes."""
    begun = raw.startswith(_NOTE) or _NOTE.startswith(raw)
    return begun or _HOLED_NOTE.fullmatch(raw) is not None


def _sealed_before(segment: Segment, offset: int) -> int:
    """Where the last block before an epoch line ended, in the log file of their segment."""
    if segment.seal is None or offset == 0:
        return 0
    for _, raw in lines_backwards(segment.seal, b"block ", offset):
        line = _parse(raw)
        return line.body.offset + line.body.size if line and isinstance(line.body, Block) else 0
    return 0
