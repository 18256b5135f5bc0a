"""A start without a page: a new log (`genesis`), after a clean close (`reopen`), after a crash (`cold`)."""

from __future__ import annotations

from pathlib import Path

from epochseal.custody.memory import fill_random
from epochseal.errors import ConfigError, FormatError, StorageError
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.sealing.chain import Chain
from epochseal.sealing.restart_point import RestartPoint
from epochseal.storage.chain_end import ChainEnd, read_chain_end
from epochseal.storage.durable import AppendFile
from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER, Segment, list_segments, set_aside


def read_own_end(segments: tuple[Segment, ...], logdir: Path, origin: str) -> ChainEnd | None:
    """The end of the chain on disk; None where there is none.

    Raises:
        ConfigError: it is that of another origin's log.
        StorageError: a seal file cannot be read.
    """
    end = read_chain_end(segments)
    if end is not None and end.header.origin != origin:
        raise ConfigError(
            f"{logdir} is the log of {end.header.origin!r}, not of {origin!r}",
            "use the log's own origin, or another directory",
        )
    return end


def start_without_page(logdir: Path, origin: str) -> RestartPoint:
    """Find where the chain on disk ends, and mend what a crash left half-written.

    Raises:
        ConfigError: the log in `logdir` belongs to another origin.
        StorageError: files cannot be read or mended, or hold no chain at all.
    """
    segments = list_segments(logdir).segments
    end = read_own_end(segments, logdir, origin)
    if end is None:
        _require_untouched(logdir, segments)
        log = bytearray(32)
        fill_random(memoryview(log))
        return RestartPoint(Chain(origin, bytes(log)), None, "genesis")
    moved = _mend(logdir, end)
    numbers = [segment.number for segment in list_segments(logdir).segments]
    chain = Chain(origin, end.log, end.header.epoch, max(numbers), end.last_tag, end.tree, end.entries)
    return RestartPoint(
        chain, None, "reopen" if end.closed and not _is_ahead(logdir, end) else "cold", set_aside=moved
    )


def _is_ahead(logdir: Path, end: ChainEnd) -> bool:
    """Whether the file `checkpoint` knows of more lines than there are, or cannot be read: lines are gone.

    The next checkpoint replaces that file, and with it the proof that lines are gone. So the new epoch must
    be `cold`, which says that this was no routine start.
    """
    path = logdir / CHECKPOINT_FILE
    try:
        return path.exists() and parse_checkpoint(parse_note(path.read_bytes()).text).size > end.tree.size
    except (FormatError, OSError):
        return True


def _require_untouched(logdir: Path, segments: tuple[Segment, ...]) -> None:
    """Refuse a directory that had a log; remove what a start left that was killed before its first line."""
    for segment in segments:
        sizes = [path.stat().st_size for path in segment.logs]
        seal = segment.seal.read_bytes() if segment.seal else b""
        if any(sizes) or b"\n" in seal or segment.unsealed:
            raise StorageError(
                f"{logdir / FOLDER} holds {segment.stem}, but no epoch line in it can be read",
                "the seal files were damaged or deleted: run verify, then move the directory away",
            )
    if (logdir / CHECKPOINT_FILE).exists():
        raise StorageError(
            f"{logdir} holds a checkpoint, but the lines that it was signed over are gone",
            "the log was deleted: keep the checkpoint as evidence, then move the directory away",
        )
    for segment in segments:
        segment.remove()


def _mend(logdir: Path, end: ChainEnd) -> int:
    """Cut a torn line (it was never acknowledged), and set aside log bytes beyond the last sealed one."""
    segment, moved = end.segment, 0
    plain = [path for path in segment.logs if path.suffix == ".log"]
    for path in plain:
        log = AppendFile.open(path, create=False)
        try:
            moved = set_aside(logdir, segment.stem, log, end.sealed)
        finally:
            log.close()
    if end.complete == 0 and not moved and segment.unsealed is None:
        segment.remove()
    elif segment.seal is not None:
        seal = AppendFile.open(segment.seal, create=False)
        try:
            if seal.length > end.complete:
                seal.truncate(end.complete)
        finally:
            seal.close()
    return moved
