"""A share of a long epoch's block lines: what another process is given to check, and what it gives back."""

from __future__ import annotations

from pathlib import Path

import msgspec

from epochseal.errors import FormatError, StorageError
from epochseal.format.merkle import complete_subtrees
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.storage.opener import GoneError, open_file
from epochseal.verifier.block_runs import RunCheck
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_tags import RunTags
from epochseal.verifier.reading_budget import Reading
from epochseal.verifier.sealed_entries import SealedEntries

_RUN = 1 << 17


class Start(msgspec.Struct, frozen=True):
    """Where a share begins: what the line before it says, by which the share is bound to it."""

    index: int
    next_entry: int
    offset: int
    last_tag: bytes
    last_time: int


class Share(msgspec.Struct, frozen=True):
    """Some block lines of an epoch, whose epoch line has the index `first`.

    They are `lines` lines and `size` bytes of the seal file, from byte `place` on. `block_size` is how many
    bytes a block has, by those before. The others are as in `RunCheck`.
    """

    place: int
    size: int
    lines: int
    start: Start
    first: int
    block_size: int
    late_from: int
    asked_line: int


class Files(msgspec.Struct, frozen=True):
    """The seal file; and the log file, as `SealedEntries` takes it."""

    seal: Path
    log: Path
    sealed: int
    reading: Reading
    last: bool


class Held(msgspec.Struct, frozen=True):
    """What lines show that all hold.

    `subtrees` are what `complete_subtrees` makes of them; `asked_tag` is there if that line is among them.
    """

    end: Start
    lines: int
    clock_back: int
    asked_tag: bytes | None
    subtrees: list[tuple[int, bytes]]


def check_share(share: Share, files: Files, tags: RunTags | None) -> Held | None:
    """What its lines show, if each of them is regular and holds; None says nothing about them.

    Args:
        share: what is checked.
        files: where it lies.
        tags: the key of its first line, which becomes that of the line behind it; None: tags are not checked.
    """
    start, leaves = share.start, list[bytes]()
    result = EpochResult(
        0,
        None,
        next_entry=start.next_entry,
        offset=start.offset,
        index=start.index,
        last_tag=start.last_tag,
        last_time=start.last_time,
        # What is hashed at once is bounded by the blocks before.
        size=share.block_size,
        blocks=1,
    )
    try:
        content = SealedEntries(files.log, files.sealed, files.reading, last=files.last)
    except (GoneError, StorageError):
        return None
    try:
        check = RunCheck(
            result,
            content,
            tags,
            first=share.first,
            late_from=share.late_from,
            asked_line=share.asked_line,
            extend=leaves.extend,
        )
        rest = memoryview(_read(files.seal, share))
        while rest:
            data = check.run_in(bytes(rest[:_RUN]))
            if not data or not check.holds(data):
                return None
            rest = rest[len(data) :]
    except (GoneError, StorageError):
        # What cannot be read here is read again by the walk, which says what it is.
        return None
    finally:
        content.close()
    if (end := stand(result)) is None:
        return None
    return Held(
        end, result.lines, result.clock_back, result.asked_tag, complete_subtrees(start.index, leaves)
    )


def _read(seal: Path, share: Share) -> bytes:
    with open_file(seal) as file:
        try:
            return file.pread(share.size, share.place)
        except OSError as exc:
            raise StorageError(f"cannot read {seal}: {exc.strerror}") from exc


def stand(result: EpochResult) -> Start | None:
    """Where the next line begins, if that is known."""
    if result.offset is None:
        return None
    return Start(result.index, result.next_entry, result.offset, result.last_tag, result.last_time)


def start_behind(lines: bytes) -> Start | None:
    """Where the lines behind these begin, by what the last one says."""
    try:
        line = parse_line(lines[lines.rfind(b"\n", 0, -1) + 1 : -1])
    except FormatError:
        return None
    if not isinstance(line, TaggedLine) or not isinstance(block := line.body, Block):
        return None
    entry, offset = block.first_entry + block.entries, block.offset + block.size
    return Start(line.index + 1, entry, offset, line.tag, block.time)
