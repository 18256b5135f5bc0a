"""A start with the page: the same chain goes on, after what the kill left half-written was completed.

What the page knows and what the disk holds must fit, byte for byte; otherwise the page is refused.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from epochseal.format.seal_lines import NoteLine, parse_line
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import PendingBlock, SavedState
from epochseal.sealing.start_without_page import read_own_end
from epochseal.storage.segments import FOLDER, Segment, SegmentWriter, list_segments, set_aside


class PageRefusedError(Exception):
    """The disk is not what the page says: the chain cannot go on from it."""


def resume_from_page(logdir: Path, origin: str, saved: SavedState, store: PageStore) -> RestartPoint:
    """Bring the disk to where the page is.

    Args:
        logdir: the log's directory.
        origin: that of the configuration.
        saved: what the page holds beside its key.
        store: has the bytes of an interrupted commit.

    Raises:
        PageRefusedError: page and disk do not fit.
        ConfigError: the log in `logdir` belongs to another origin; the page stays as it is.
        StorageError: files cannot be read or mended.
    """
    segments = list_segments(logdir).segments
    # First of all: a mistyped origin is an error of the caller, and must not lead to the page being wiped.
    end = read_own_end(segments, logdir, origin)
    if saved.origin != origin:
        raise PageRefusedError(f"the page belongs to {saved.origin!r}")
    if end is not None and end.log != saved.log:
        raise PageRefusedError("the page belongs to another log")
    _remove_unused(saved, segments)
    writer = _open_saved(logdir, saved)
    try:
        _check_lengths(saved, writer)
        noted = _complete_lines(saved, writer)
        moved, data, present = _settle_entries(logdir, saved, writer, store)
    except BaseException:
        writer.close()
        raise
    running, chain = not saved.ended, saved.chain()
    ended = None if noted else chain.checkpoint()
    return RestartPoint(
        chain=chain,
        writer=writer,
        link=saved.link if running else "carry",
        running=running,
        unsigned=saved.unsigned_start() if running else ended,
        pending=tuple(_recovered(block) for block in saved.pending) if data else (),
        pending_data=data,
        present=present,
        set_aside=moved,
    )


def _recovered(block: PendingBlock) -> PendingBlock:
    if block.src is None:
        return block
    return msgspec.structs.replace(block, src=msgspec.structs.replace(block.src, recovered=1))


def _remove_unused(saved: SavedState, segments: tuple[Segment, ...]) -> None:
    """Remove the pair of files of a next segment whose epoch line was not written: the kill came before."""
    later = [segment for segment in segments if segment.number > saved.segment]
    if later and not (saved.ended and all(segment.is_empty() for segment in later)):
        raise PageRefusedError("the log has a later segment than the page")
    for segment in later:
        segment.remove()


def _open_saved(logdir: Path, saved: SavedState) -> SegmentWriter:
    # The files are made before the page names them: if one is missing now, somebody removed it.
    if not all((logdir / FOLDER / (saved.stem + ending)).exists() for ending in (".log", ".seal")):
        raise PageRefusedError(f"the page's segment {saved.stem} is not on disk")
    return SegmentWriter.reopen(logdir, saved.stem)


def _check_lengths(saved: SavedState, writer: SegmentWriter) -> None:
    """Refuse files that are shorter than the page knows: no line is completed whose entries are gone."""
    for name, found, known in (
        ("log", writer.log.length, saved.segment_bytes),
        ("seal", writer.seal.length, saved.seal_offset),
    ):
        if found < known:
            raise PageRefusedError(f"the {name} file has {found} bytes, the page knows of {known}")


def _complete_lines(saved: SavedState, writer: SegmentWriter) -> bool:
    """Complete the lines that the page holds, and cut a torn note behind them; whether whole notes follow."""
    path, length = writer.seal.path, writer.seal.length
    with path.open("rb") as file:
        file.seek(saved.seal_offset)
        rest = file.read(len(saved.staged) + (1 << 20))
    if rest.startswith(saved.staged):
        notes = _whole_notes(rest[len(saved.staged) :])
        kept = saved.seal_offset + len(saved.staged) + notes
        if kept < length:
            writer.seal.truncate(kept)
        return notes > 0
    if saved.staged.startswith(rest):
        # The kill tore them. The key that made their tags is gone, so they cannot be made anew: the rest is
        # written as the page has it.
        writer.seal.append(saved.staged[len(rest) :])
        writer.seal.sync()
        return False
    raise PageRefusedError("the seal file goes on in another way than the page")


def _whole_notes(rest: bytes) -> int:
    kept = 0
    while (stop := rest.find(b"\n", kept)) >= 0:
        if not isinstance(parse_line(rest[kept:stop]), NoteLine):
            raise PageRefusedError("the seal file is ahead of the page")
        kept = stop + 1
    if not b"note ".startswith(rest[kept : kept + 5]):
        raise PageRefusedError("the seal file is ahead of the page")
    return kept


def _settle_entries(
    logdir: Path, saved: SavedState, writer: SegmentWriter, store: PageStore
) -> tuple[int, bytes, int]:
    """Keep of the unsealed bytes what is, or begins, the interrupted commit; set the rest aside.

    Returns the bytes set aside, the interrupted commit's bytes, and how many of them the log file has.
    """
    data = store.pending([(block.size, block.digest) for block in saved.pending])
    with writer.log.path.open("rb") as file:
        file.seek(saved.segment_bytes)
        tail = file.read(len(data) + 1)
    if data.startswith(tail):
        return 0, data, len(tail)
    return set_aside(logdir, writer.stem, writer.log, saved.segment_bytes), data, 0
