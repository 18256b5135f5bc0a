"""A start with the page: whether the disk is what the page says, and if it is, what a kill left half-written.

The page knows how many lines there are, and the root of their tree: the running epoch is read again, and with
the tree that its first line states it has to lead there. Earlier epochs are not read: the true tree goes on,
and whoever verifies the log sees what was changed in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import msgspec

from epochseal.encoding import b64encode
from epochseal.errors import FormatError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import Checkpoint, parse_checkpoint, parse_note
from epochseal.format.seal_lines import MAX_LINE, NoteLine, parse_header, parse_line
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock, SavedState, Staged
from epochseal.storage.aside import remove_hidden, remove_segment, set_aside
from epochseal.storage.durable import AppendFile
from epochseal.storage.opener import open_file
from epochseal.storage.segments import FOLDER, Segment, SegmentWriter, open_or_create

_NOTE = b"note "
_MOST_NOTES = 1 << 20
"""More bytes of notes than this, behind the lines that the page knows of, no agent has written."""


class PageRefusedError(Exception):
    """The disk is not what the page says: the chain cannot go on from it."""


@dataclass(frozen=True, slots=True)
class SealEnd:
    """What becomes of the end of a seal file: it keeps `length` bytes, and `missing` is appended."""

    stem: str
    length: int
    missing: bytes


@dataclass(frozen=True, slots=True)
class PageFit:
    """A page that fits.

    Attributes:
        saved: what it holds beside its key.
        tree: the tree of all lines that the page knows of.
        ends: what is to be written, the last one in the file that the log goes on in.
        due: the checkpoint that is still to be signed.
        unused: later segments, in which nothing stands.
    """

    saved: SavedState
    tree: Frontier
    ends: tuple[SealEnd, ...]
    due: Checkpoint | None
    unused: tuple[Segment, ...]


def check_page(segments: tuple[Segment, ...], saved: SavedState) -> PageFit:
    """Hold the page against the disk; nothing is changed.

    Args:
        segments: what is there.
        saved: what the page holds beside its key.

    Raises:
        PageRefusedError: they do not fit.
        StorageError: a file cannot be read, or is no regular one.
    """
    later = tuple(segment for segment in segments if segment.number > saved.segment)
    if any(not segment.is_empty() or segment.unsealed or segment.torn for segment in later):
        raise PageRefusedError("the log has a later segment than the page")
    by_stem = {segment.stem: segment for segment in segments}
    *earlier, last = saved.staged or [Staged(saved.stem, -1, b"")]
    for staged in (*earlier, last):
        # A new pair may not have its names yet: the page knows its first line before that.
        if staged.offset != 0 or staged in earlier:
            _check_pair(by_stem.get(staged.stem), closed=saved.closed)
    _check_log(by_stem.get(saved.stem), saved)
    seal = _seal(by_stem, last.stem)
    if saved.epoch_stem != last.stem:
        raise PageRefusedError("the running epoch stands in another segment than the page's last lines")
    tree, offset = _read_epoch(seal, saved, last)
    ends = [_check_end(_seal(by_stem, staged.stem), staged)[0] for staged in earlier]
    end, notes = _check_end(seal, Staged(last.stem, offset, last.lines))
    due = saved.due()
    return PageFit(saved, tree, (*ends, end), None if due is not None and due in notes else due, later)


def resume_from_page(logdir: Path, fit: PageFit, store: PageStore) -> RestartPoint:
    """Bring the disk to where the page is.

    Args:
        logdir: the log's directory.
        fit: what `check_page` found.
        store: has the bytes of an interrupted commit.

    Raises:
        StorageError: files cannot be mended.
    """
    saved = fit.saved
    for segment in fit.unused:
        remove_segment(segment)
    remove_hidden(logdir)
    for end in fit.ends[:-1]:
        _complete_file(logdir, end)
    chain, calls = saved.chain(fit.tree), tuple(saved.calls)
    end = fit.ends[-1]
    if saved.closed:
        _complete_file(logdir, end)
        return RestartPoint("carry", chain, saved=saved, due=fit.due, calls=calls)
    writer = SegmentWriter.reopen(logdir, end.stem)
    try:
        _complete(writer.seal, end)
        moved, data, present = _settle_entries(logdir, saved, writer, store)
    except BaseException:
        writer.close()
        raise
    return RestartPoint(
        "running",
        chain,
        writer=writer,
        saved=saved,
        due=fit.due,
        calls=calls,
        pending=tuple(_recovered(block) for block in saved.pending) if data else (),
        pending_data=data,
        present=present,
        set_aside=moved,
    )


def _check_pair(segment: Segment | None, *, closed: bool) -> None:
    plain = segment is not None and any(path.suffix == ".log" for path in segment.logs)
    # The log file of a closed segment may have been compressed.
    if segment is None or segment.seal is None or not (plain or (closed and segment.logs)):
        raise PageRefusedError("a segment of the page is not on the disk")


def _check_log(segment: Segment | None, saved: SavedState) -> None:
    plain = [path for path in segment.logs if path.suffix == ".log"] if segment is not None else []
    if not plain and (saved.closed or not saved.segment_bytes):
        return
    found = _length(plain[0]) if plain else 0
    if found < saved.segment_bytes or (saved.closed and found > saved.segment_bytes):
        raise PageRefusedError(
            f"the log file has {found} bytes, the page knows of {saved.segment_bytes}: no line of it goes on"
        )


def _seal(by_stem: dict[str, Segment], stem: str) -> Path | None:
    segment = by_stem.get(stem)
    return segment.seal if segment is not None else None


def _length(path: Path) -> int:
    with open_file(path) as file:
        return file.seek(0, os.SEEK_END)


def _read_epoch(seal: Path | None, saved: SavedState, last: Staged) -> tuple[Frontier, int]:
    """The tree with the running epoch's lines, the staged ones included; and where the staged ones go."""
    tree: Frontier | None = None
    tag, at = b"", saved.epoch_offset
    for raw in _lines(seal, saved.epoch_offset, last):
        at += len(raw)
        if raw.startswith(_NOTE):
            continue
        payload, _, tag = raw[:-1].rpartition(b" ")
        if tree is None:
            header = parse_header(raw[:-1])
            if header is None or header.tree.size != saved.epoch_index:
                raise PageRefusedError("the running epoch does not begin where the page says")
            tree = header.tree.to_frontier()
        if payload.split(b" ", 2)[1:2] != [b"%d" % tree.size]:
            raise PageRefusedError(f"line {tree.size} is not where the page has it")
        tree.append(leaf_hash(payload))
        if last.offset < 0 and tree.size == saved.size:
            break
    if tree is None or tree.size != saved.size:
        found = saved.epoch_index if tree is None else tree.size
        raise PageRefusedError(f"the seal files have {found} lines, the page knows of {saved.size}")
    if tree.root() != saved.root or tag != b64encode(saved.last_tag).encode("ascii"):
        raise PageRefusedError("lines of the running epoch are not those that the page knows of")
    return tree, last.offset if last.offset >= 0 else at


def _lines(seal: Path | None, start: int, last: Staged) -> Iterator[bytes]:
    stop = last.offset
    if seal is not None and (stop < 0 or start < stop):
        with open_file(seal) as file, BufferedReader(file, 1 << 18) as reader:
            reader.seek(start)
            while stop < 0 or start < stop:
                raw = reader.readline(MAX_LINE + 2)
                if not raw.endswith(b"\n"):
                    break
                start += len(raw)
                yield raw
    if stop >= 0 and start < stop:
        raise PageRefusedError("the seal file is shorter than the page knows")
    yield from last.lines[max(0, start - stop) :].splitlines(keepends=True) if stop >= 0 else ()


def _check_end(seal: Path | None, staged: Staged) -> tuple[SealEnd, list[Checkpoint]]:
    """What is to become of a seal file's end, and the checkpoints of the whole notes behind its lines."""
    rest = b""
    if seal is not None:
        with open_file(seal) as file:
            if file.seek(0, os.SEEK_END) < staged.offset:
                raise PageRefusedError("the seal file is shorter than the page knows")
            file.seek(staged.offset)
            limit = len(staged.lines) + _MOST_NOTES
            while len(rest) <= limit and (piece := file.read(limit + 1 - len(rest))):
                rest += piece
    lines = staged.lines
    if not rest.startswith(lines):
        if not lines.startswith(rest):
            raise PageRefusedError("the seal file goes on in another way than the page")
        # The kill tore them. The key that made their tags is gone, so they cannot be made anew: the rest is
        # written as the page has it.
        return SealEnd(staged.stem, staged.offset + len(rest), lines[len(rest) :]), []
    kept, notes = len(lines), []
    while (stop := rest.find(b"\n", kept)) >= 0:
        notes.append(_note(rest[kept:stop]))
        kept = stop + 1
    torn = rest[kept:]
    if not (_NOTE.startswith(torn) or torn.startswith(_NOTE)) or len(rest) > len(lines) + _MOST_NOTES:
        raise PageRefusedError("the seal file is ahead of the page")
    return SealEnd(staged.stem, staged.offset + kept, b""), notes


def _note(raw: bytes) -> Checkpoint:
    try:
        line = parse_line(raw)
        if isinstance(line, NoteLine):
            return parse_checkpoint(parse_note(line.note).text)
    except FormatError:
        pass
    raise PageRefusedError("the seal file is ahead of the page")


def _complete_file(logdir: Path, end: SealEnd) -> None:
    seal = open_or_create(logdir / FOLDER / f"{end.stem}.seal")
    try:
        _complete(seal, end)
    finally:
        seal.close()


def _complete(seal: AppendFile, end: SealEnd) -> None:
    if seal.length > end.length:
        seal.truncate(end.length)
    if end.missing:
        seal.append(end.missing)
    # What is there already may not be on the disk yet: a kill before its sync looks the same.
    seal.sync()


def _recovered(block: PendingBlock) -> PendingBlock:
    if block.src is None:
        return block
    return msgspec.structs.replace(block, src=msgspec.structs.replace(block.src, recovered=1))


def _settle_entries(
    logdir: Path, saved: SavedState, writer: SegmentWriter, store: PageStore
) -> tuple[int, bytes, int]:
    """Keep of the unsealed bytes what is, or begins, the interrupted commit; set the rest aside.

    Returns the bytes set aside, the interrupted commit's bytes, and how many of them the log file has.
    """
    data = store.pending([(block.size, block.digest) for block in saved.pending])
    with open_file(writer.log.path) as file:
        file.seek(saved.segment_bytes)
        tail = b""
        while len(tail) <= len(data) and (piece := file.read(len(data) + 1 - len(tail))):
            tail += piece
    if data.startswith(tail):
        return 0, data, len(tail)
    return set_aside(logdir, writer.stem, writer.log, saved.segment_bytes), data, 0
