"""How an agent finds its log again: by its page (no gap), after a clean close (`reopen`), or `cold`.

Bytes that no line accounts for are never sealed unless the page says that they are the commit that was under
way: everything else is set aside in `STEM.unsealed`, so that nobody gets foreign lines sealed by a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from epochseal.custody.memory import fill_random
from epochseal.errors import ConfigError, FormatError, StorageError
from epochseal.format.merkle import Frontier
from epochseal.format.note import Checkpoint, parse_checkpoint, parse_note
from epochseal.format.seal_lines import Link, NoteLine, SourceMark, parse_line
from epochseal.sealing.chain import Chain
from epochseal.sealing.page_store import PageStore
from epochseal.storage.chain_end import Tail, read_tail
from epochseal.storage.durable import AppendFile
from epochseal.storage.segments import FOLDER, Segment, SegmentWriter, list_segments, set_aside

_MOST_NOTE = 1 << 16


class PendingBlock(msgspec.Struct, frozen=True, array_like=True):
    """A block of the commit under way: `size` bytes with SHA-256 `digest`; no source makes a heartbeat."""

    size: int
    digest: bytes
    entries: int
    src: SourceMark | None


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """The public state beside the key in the page; `staged` are the lines that belong at `seal_offset`."""

    origin: str
    log: bytes
    epoch: int
    segment: int
    stem: str
    last_tag: bytes
    tree_size: int
    frontier: list[bytes]
    entries: int
    segment_bytes: int
    epoch_entries: int
    epoch_bytes: int
    epoch_time: int
    seal_offset: int
    staged: bytes
    pending: list[PendingBlock]
    ended: bool
    link: Link
    start_size: int
    start_root: bytes

    @staticmethod
    def encode(
        chain: Chain,
        stem: str,
        seal_offset: int,
        staged: bytes,
        pending: Sequence[PendingBlock],
        *,
        ended: bool,
        link: Link,
        unsigned_start: Checkpoint | None,
    ) -> bytes:
        """The record for `RatchetPage.publish`."""
        saved = Saved(
            chain.origin,
            chain.log,
            chain.epoch,
            chain.segment,
            stem,
            chain.last_tag,
            chain.tree.size,
            list(chain.tree.hashes),
            chain.entries,
            chain.segment_bytes,
            chain.epoch_entries,
            chain.epoch_bytes,
            chain.epoch_time,
            seal_offset,
            staged,
            list(pending),
            ended,
            link,
            unsigned_start.size if unsigned_start else 0,
            unsigned_start.root if unsigned_start else b"",
        )
        return msgspec.msgpack.encode(saved)

    def chain(self) -> Chain:
        """The chain as it was saved."""
        return Chain(
            self.origin,
            self.log,
            self.epoch,
            self.segment,
            self.last_tag,
            Frontier(self.tree_size, self.frontier),
            self.entries,
            self.segment_bytes,
            self.epoch_entries,
            self.epoch_bytes,
            self.epoch_time,
        )

    def unsigned_start(self) -> Checkpoint | None:
        """The checkpoint of the running epoch's start, if its note was not written yet."""
        return Checkpoint(self.origin, self.start_size, self.start_root) if self.start_root else None


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What a start found.

    `running`: the same epoch goes on. Otherwise a new one begins with `link`, in a new segment if there is no
    `writer`. `unsigned`: the checkpoint of the epoch's start or, if it does not run, of its end, if there is
    no note of it yet.
    `pending`: the commit that a kill interrupted, its bytes, and how many of them are in the log file
    already.
    `set_aside`: bytes that were moved to `.unsealed`. `page_refused`: why a page that was there was not used.
    """

    chain: Chain
    writer: SegmentWriter | None
    link: Link
    running: bool = False
    unsigned: Checkpoint | None = None
    pending: tuple[PendingBlock, ...] = ()
    pending_data: bytes = b""
    present: int = 0
    set_aside: int = 0
    page_refused: str = ""


class PageRefusedError(Exception):
    """The disk is not what the page says: the chain cannot go on from it."""


def find_restart_point(logdir: Path, origin: str, store: PageStore) -> RestartPoint:
    """Find where the log stands, and mend what a crash left half-written.

    Raises:
        ConfigError: the log in `logdir` belongs to another origin.
        StorageError: files cannot be read or mended, or hold no chain at all.
    """
    _cut_torn_notes(list_segments(logdir).segments)
    record = store.page.load() if store.survives else None
    if record is None:
        return _without_page(logdir, origin)
    saved: Saved | None = None
    try:
        saved = msgspec.msgpack.decode(record, type=Saved)
        return _resume(logdir, origin, saved, store)
    except (PageRefusedError, FormatError, msgspec.DecodeError) as exc:
        refused = str(exc)
    point = replace(_without_page(logdir, origin), page_refused=refused)
    # Not before the disk is mended: a start that fails there must find the page, and refuse it, again.
    store.page.wipe()
    if point.link == "reopen" and (saved is None or saved.last_tag != point.chain.last_tag):
        # The page knew of another end than the clean close on disk, so this is not a routine start.
        return replace(point, link="cold")
    return point


def _cut_torn_notes(segments: tuple[Segment, ...]) -> None:
    """A segment that the log has gone on from gets its last note later: a kill may leave a part of it."""
    for segment in segments[:-1]:
        if segment.seal is None:
            continue
        with segment.seal.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - _MOST_NOTE))
            _, newline, rest = file.read().rpartition(b"\n")
        if newline and rest and b"note ".startswith(rest[:5]):
            seal = AppendFile.open(segment.seal, create=False)
            try:
                seal.truncate(length - len(rest))
            finally:
                seal.close()


def _read_own_tail(segments: tuple[Segment, ...], logdir: Path, origin: str) -> Tail | None:
    tail = read_tail(segments)
    if tail is not None and tail.header.origin != origin:
        raise ConfigError(
            f"{logdir} is the log of {tail.header.origin!r}, not of {origin!r}",
            "use the log's own origin, or another directory",
        )
    return tail


def _resume(logdir: Path, origin: str, saved: Saved, store: PageStore) -> RestartPoint:
    segments = list_segments(logdir).segments
    # A mistyped origin ends here, before it could cost the page.
    tail = _read_own_tail(segments, logdir, origin)
    if saved.origin != origin:
        raise PageRefusedError(f"the page belongs to {saved.origin!r}")
    if tail is not None and tail.log != saved.log:
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
    ended = None if noted else Checkpoint(origin, chain.tree.size, chain.tree.root())
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


def _remove_unused(saved: Saved, segments: tuple[Segment, ...]) -> None:
    """Remove the pair that was made for the next epoch by a process that was killed before its epoch line."""
    later = [segment for segment in segments if segment.number > saved.segment]
    if later and not (saved.ended and all(segment.is_empty() for segment in later)):
        raise PageRefusedError("the log has a later segment than the page")
    for segment in later:
        segment.remove()


def _open_saved(logdir: Path, saved: Saved) -> SegmentWriter:
    # Made before the page spoke of them: if they are gone now, somebody removed them.
    if not all((logdir / FOLDER / (saved.stem + ending)).exists() for ending in (".log", ".seal")):
        raise PageRefusedError(f"the page's segment {saved.stem} is not on disk")
    return SegmentWriter.reopen(logdir, saved.stem)


def _check_lengths(saved: Saved, writer: SegmentWriter) -> None:
    """Refuse a disk that is behind, before a line is completed whose entries are not there."""
    for name, found, known in (
        ("log", writer.log.length, saved.segment_bytes),
        ("seal", writer.seal.length, saved.seal_offset),
    ):
        if found < known:
            raise PageRefusedError(f"the {name} file has {found} bytes, the page knows of {known}")


def _complete_lines(saved: Saved, writer: SegmentWriter) -> bool:
    """Write the staged lines to their end, and cut a torn note behind them; whether whole notes follow."""
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
        # Torn by the kill: written again byte for byte, because the key that made its tag is gone.
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
    logdir: Path, saved: Saved, writer: SegmentWriter, store: PageStore
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


def _without_page(logdir: Path, origin: str) -> RestartPoint:
    segments = list_segments(logdir).segments
    tail = _read_own_tail(segments, logdir, origin)
    if tail is None:
        _require_untouched(logdir, segments)
        log = bytearray(32)
        fill_random(memoryview(log))
        return RestartPoint(Chain(origin, bytes(log)), None, "genesis")
    moved = _mend(logdir, tail)
    numbers = [segment.number for segment in list_segments(logdir).segments]
    chain = Chain(origin, tail.log, tail.header.epoch, max(numbers), tail.last_tag, tail.tree, tail.entries)
    return RestartPoint(
        chain, None, "reopen" if tail.closed and not _is_ahead(logdir, tail) else "cold", set_aside=moved
    )


def _is_ahead(logdir: Path, tail: Tail) -> bool:
    """Whether the file `checkpoint` knows of more lines than there are, or cannot be read: lines are gone.

    It is about to be replaced, so the new epoch has to say that this was no routine start.
    """
    path = logdir / "checkpoint"
    try:
        return path.exists() and parse_checkpoint(parse_note(path.read_bytes()).text).size > tail.tree.size
    except (FormatError, OSError):
        return True


def _require_untouched(logdir: Path, segments: tuple[Segment, ...]) -> None:
    """What a start left that was killed before its first epoch line is removed: no entry, no whole line."""
    for segment in segments:
        sizes = [path.stat().st_size for path in segment.logs]
        seal = segment.seal.read_bytes() if segment.seal else b""
        if any(sizes) or b"\n" in seal or segment.unsealed:
            raise StorageError(
                f"{logdir / FOLDER} holds {segment.stem}, but no epoch line in it can be read",
                "the seal files were damaged or deleted: run verify, then move the directory away",
            )
    if (logdir / "checkpoint").exists():
        raise StorageError(
            f"{logdir} holds a checkpoint, but the lines that it was signed over are gone",
            "the log was deleted: keep the checkpoint as evidence, then move the directory away",
        )
    for segment in segments:
        segment.remove()


def _mend(logdir: Path, tail: Tail) -> int:
    """Cut a torn line (it was never acknowledged), and set aside log bytes beyond the last sealed one."""
    segment, moved = tail.segment, 0
    plain = [path for path in segment.logs if path.suffix == ".log"]
    for path in plain:
        log = AppendFile.open(path, create=False)
        try:
            moved = set_aside(logdir, segment.stem, log, tail.sealed)
        finally:
            log.close()
    if tail.complete == 0 and not moved and segment.unsealed is None:
        segment.remove()
    elif segment.seal is not None:
        seal = AppendFile.open(segment.seal, create=False)
        try:
            if seal.length > tail.complete:
                seal.truncate(tail.complete)
        finally:
            seal.close()
    return moved
