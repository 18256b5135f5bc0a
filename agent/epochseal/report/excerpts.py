"""The entries around a damaged range, as they stand in the files now.

Where a range begins and ends in the file is found by the blocks that do hold: of what lies between them
nothing is believed, not even where its lines end. Only a few entries of each range are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.foreign_text import visible_pieces
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.storage.opener import NotAFileError, open_file
from epochseal.storage.seal_file import read_damaged_lines
from epochseal.storage.settling import read_settled
from epochseal.verifier import Problem
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import SegmentPart, take_snapshot

AROUND = 3
"""Entries that are shown before a range, and after it."""

_FIRST, _LAST = 8, 4
_WINDOW = 16 << 10
"""Bytes of a range that are shown at most at its beginning, and as many at its end."""
_LONGEST = 400
"""Bytes of an entry that holds: it is there to find the place."""
_IN_ENTRIES = frozenset(
    {
        "entries_altered",
        "entries_inserted",
        "entries_missing",
        "foreign_bytes",
        "line_altered",
        "line_missing",
        "line_misplaced",
        "counters",
    }
)
_SET_ASIDE = frozenset({"bad_unsealed", "unsealed_bytes"})


@dataclass(frozen=True, slots=True)
class Row:
    """One entry, or what is left out; `state`: `good`, `bad`, `cut` (left out) or `none` (nothing is there).

    `pieces` are the text in turns: as it is, then what could steer a reader, escaped, and so on.
    """

    state: str
    pieces: tuple[str, ...]
    number: int | None = None


@dataclass(slots=True)
class Excerpt:
    """Some entries of one file; `start` and `stop`: the damaged bytes of it, before any compression."""

    file: str
    start: int
    stop: int
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Range:
    """A problem's place in the file: behind the last good block before it, up to the first good one after."""

    problem: Problem
    start: int = 0
    before: int = -1
    stop: int | None = None
    after: int = -1

    def pass_block(self, block: Block, start: int) -> None:
        """Take a block that stands in the file as it was sealed."""
        problem, end = self.problem, block.first_entry + block.entries
        # An insertion is named by the entry behind it, so its bytes end where that entry begins. Any other
        # problem names the damaged entries themselves.
        next_entry = problem.first_entry if problem.kind == "entries_inserted" else problem.last_entry + 1
        if end <= problem.first_entry:
            self.start, self.before = start + block.size, end
        elif self.stop is None and block.first_entry >= next_entry:
            self.stop, self.after = start, block.first_entry


def read_excerpts(logdir: Path, problems: Sequence[Problem]) -> dict[Problem, Excerpt]:
    """The excerpts of those problems that concern entries; hashes each segment that is concerned once more.

    Raises:
        UnsettledError: files of it are gone each time that they are to be read.
        StorageError: a file cannot be read.
    """
    return read_settled(lambda: _read_once(logdir, problems))


def _read_once(logdir: Path, problems: Sequence[Problem]) -> dict[Problem, Excerpt]:
    found: dict[Problem, Excerpt] = {}
    seen: set[tuple[str, int, int]] = set()
    for part in take_snapshot(logdir).parts:
        here = [item for item in problems if item.segment == part.segment.number]
        ranges = [_Range(item) for item in here if item.kind in _IN_ENTRIES]
        for problem, excerpt in _in_entries(part, ranges) if ranges else ():
            place = excerpt.file, excerpt.start, excerpt.stop
            # A file that grew is often reported twice, for the place and for its end: its bytes are shown
            # once.
            if place not in seen and (excerpt.start < excerpt.stop or problem.kind == "entries_missing"):
                seen.add(place)
                found[problem] = excerpt
        unsealed = part.segment.unsealed
        aside = [item for item in here if item.kind in _SET_ASIDE]
        if unsealed is not None and aside:
            found[aside[0]] = _set_aside(unsealed)
    return found


def _in_entries(part: SegmentPart, ranges: list[_Range]) -> Iterator[tuple[Problem, Excerpt]]:
    content = SealedEntries(part.log, part.sealed, part.reading)
    try:
        for block in _blocks(part.seal):
            if content.judge(block) == "good":
                for item in ranges:
                    item.pass_block(block, block.offset + content.shift)
    finally:
        content.close()
    size = _plain_size(part)
    for item in ranges:
        stop = size if item.stop is None else item.stop
        windows = [
            (max(item.start - _WINDOW, 0), item.start),
            (item.start, min(stop, item.start + _WINDOW)),
            (max(stop - _WINDOW, item.start + _WINDOW), stop),
            (stop, min(stop + _WINDOW, size)),
        ]
        texts = _read(part, windows)
        yield item.problem, Excerpt(part.log.name, item.start, stop, _rows(item, stop, texts))


def _rows(item: _Range, stop: int, texts: list[bytes]) -> list[Row]:
    before, first, last, after = texts
    rows: list[Row] = []
    if item.before >= 0:
        lines = _split(before)[-AROUND:]
        rows += [
            Row("good", escape(line), item.before - len(lines) + place) for place, line in enumerate(lines)
        ]
    rows += _damaged(item, first, last, stop - item.start)
    if item.after >= 0:
        rows += [
            Row("good", escape(line), item.after + place)
            for place, line in enumerate(_split(after, whole=False)[:AROUND])
        ]
    return rows


def _damaged(item: _Range, first: bytes, last: bytes, size: int) -> list[Row]:
    if not size:
        problem = item.problem
        count = problem.last_entry - problem.first_entry + 1
        text = "1 sealed entry is not here" if count == 1 else f"{count:,} sealed entries are not here"
        return [Row("none", (text,))]
    lines = _split(first, whole=False)
    if len(first) == size and len(lines) <= _FIRST + _LAST:
        return _bad_rows(item, lines) + _count_row(item.problem, len(lines))
    # A large range is shown by its beginning and its end. What is left out is counted in bytes: how many
    # entries it was, nobody knows.
    lines, ends = lines[:_FIRST], _split(last or first)[-_LAST:]
    shown = sum(map(len, lines)) + sum(map(len, ends))
    return [
        *(Row("bad", text) for text in _damaged_texts(lines, _WINDOW // 2)),
        Row("cut", (f"{max(size - shown, 0):,} bytes are left out here",)),
        *(Row("bad", text) for text in _damaged_texts(ends, _WINDOW // 2)),
    ]


def _count_row(problem: Problem, lines: int) -> list[Row]:
    """What the lines of a block tell by their number, where it differs from that of the sealed entries."""
    count = problem.last_entry - problem.first_entry + 1
    if problem.kind not in {"entries_altered", "entries_missing"} or lines == count:
        return []
    sealed = "1 entry was" if count == 1 else f"{count:,} entries were"
    return [Row("cut", (f"{sealed} sealed here, now {lines:,} {'is' if lines == 1 else 'are'} here",))]


def _bad_rows(item: _Range, lines: list[bytes]) -> list[Row]:
    problem = item.problem
    count = problem.last_entry - problem.first_entry + 1
    # The block was altered and still has as many lines as entries were sealed, so each has its number.
    numbered = problem.kind != "entries_inserted" and len(lines) == count
    return [
        Row("bad", text, problem.first_entry + place if numbered else None)
        for place, text in enumerate(_damaged_texts(lines))
    ]


def _damaged_texts(lines: list[bytes], room: int = _WINDOW) -> list[tuple[str, ...]]:
    """The text of damaged lines, cut as little as the page can bear: to so many bytes together.

    Which byte of a line was changed nobody knows, as a block was sealed as one: what is cut off may be the
    change. So the lines share the room, those that are short leave the rest of theirs to the others, and of
    one that is longer still both ends are shown.
    """
    left, longest = room, 0
    for place, size in enumerate(sorted(map(len, lines))):
        longest = left // (len(lines) - place)
        left -= min(size, longest)
    return [escape(line, longest) for line in lines]


def _set_aside(path: Path) -> Excerpt:
    try:
        with open_file(path) as file:
            size = file.size
            text = file.read(_WINDOW)
    except NotAFileError:
        return Excerpt(path.name, 0, 0, [Row("none", ("this is no file: it is not followed",))])
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    lines = _split(text, whole=False)[:_FIRST]
    rows = [Row("bad", text) for text in _damaged_texts(lines)]
    if (left := size - sum(map(len, lines))) > 0:
        rows.append(Row("cut", (f"{left:,} bytes are left out here",)))
    return Excerpt(path.name, 0, size, rows or [Row("none", ("the file is empty",))])


def _blocks(seal: Path) -> Iterator[Block]:
    """The blocks with entries of a seal file, as far as they can be read."""
    # What is no file has been reported; it has no blocks.
    with suppress(NotAFileError):
        for raw in read_damaged_lines(seal):
            if not raw.startswith(b"block "):
                continue
            try:
                line = parse_line(raw[:-1])
            except FormatError:
                continue
            if isinstance(line, TaggedLine) and isinstance(line.body, Block) and line.body.entries:
                yield line.body


def _plain_size(part: SegmentPart) -> int:
    content = SealedEntries(part.log, part.sealed, part.reading)
    try:
        return content.size if part.log.suffix == ".log" else sum(map(len, content.pieces()))
    finally:
        content.close()


def _read(part: SegmentPart, windows: list[tuple[int, int]]) -> list[bytes]:
    """The bytes of some windows, which follow one another; a compressed file is read from its beginning."""
    if part.log.suffix == ".log":
        try:
            with BufferedReader(open_file(part.log)) as file:
                texts = []
                for start, stop in windows:
                    file.seek(start)
                    texts.append(file.read(max(stop - start, 0)))
                return texts
        except NotAFileError:
            # A link would show the page's reader whatever the auditor may read.
            return [b""] * len(windows)
        except OSError as exc:
            raise StorageError(f"cannot read {part.log}: {exc.strerror}") from exc
    parts = [bytearray() for _ in windows]
    content, at = SealedEntries(part.log, part.sealed, part.reading), 0
    try:
        for piece in content.pieces():
            for place, (start, stop) in enumerate(windows):
                parts[place] += piece[max(start - at, 0) : max(stop - at, 0)]
            at += len(piece)
    finally:
        content.close()
    return [bytes(taken) for taken in parts]


def _split(text: bytes, *, whole: bool = True) -> list[bytes]:
    """Lines with their LF; `whole`: the text may begin within a line, which is left out if there are more."""
    lines = text.splitlines(keepends=True) if b"\r" not in text else _split_at_lf(text)
    return lines[1:] if whole and len(text) == _WINDOW and len(lines) > 1 else lines


def _split_at_lf(text: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in text.split(b"\n")]
    rest = lines.pop()[:-1]
    return [*lines, rest] if rest else lines


def escape(line: bytes, longest: int = _LONGEST) -> tuple[str, ...]:
    """An entry's text, cut in its middle to a length that a page can bear, in turns plain and escaped.

    Controls, invisible characters and those that turn the direction of writing are given as escapes: what a
    reader sees is what is there.
    """
    body = line.removesuffix(b"\n")
    if len(body) <= longest:
        return tuple(visible_pieces(body))
    stop, start = longest // 2, len(body) - longest // 2
    # No character of UTF-8 is cut through.
    while stop > 0 and body[stop] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character of UTF-8
        stop -= 1
    while start < len(body) and body[start] & 0xC0 == 0x80:  # noqa: PLR2004  # as above
        start += 1
    first, last = visible_pieces(body[:stop]), visible_pieces(body[start:])
    first += [""] * (1 - len(first) % 2)
    return (*first, f" … {start - stop:,} bytes are left out here … ", *last)
