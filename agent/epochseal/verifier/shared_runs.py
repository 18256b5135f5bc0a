"""Runs of one long epoch, checked by several processes at once.

The ratchet does not depend on data. So one process steps the key over the lines that another one checks, and
checks those behind them in the meantime. What the other finds counts only where it began from the very state
that the lines before it led to; otherwise nothing has changed, and the epoch goes on in one process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from epochseal.custody.memory import SecretPage
from epochseal.errors import FormatError, StorageError
from epochseal.format.block_columns import whole_block_lines
from epochseal.format.merkle import HASH_SIZE
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.storage.opener import GoneError
from epochseal.verifier.block_runs import RunCheck
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_tags import EpochTags, RunTags
from epochseal.verifier.reading_budget import Reading
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import SegmentPart

if TYPE_CHECKING:  # loaded where processes are made, and nowhere else
    from concurrent.futures import Executor, Future

LONG = 4 << 20
"""An epoch with so many bytes of seal lines is worth the processes."""
AT_ONCE = 1 << 20
"""So many bytes of lines are given to each process at a time."""
# What one's own share is of another's: the keys of all lines are stepped here, and the tree is grown.
_OWN = 0.55
_RUN = 1 << 17
_KEY, _SLOT = 32, 64


class _Start(msgspec.Struct, frozen=True):
    """Where a share begins: what the line before it says, by which the share is bound to it."""

    index: int
    next_entry: int
    offset: int
    last_tag: bytes
    last_time: int


class _Share(msgspec.Struct, frozen=True):
    """Some block lines of an epoch, whose epoch line has the index `first`.

    `block_size` is how many bytes a block has, by those before. The others are as in `RunCheck`.
    """

    lines: bytes
    start: _Start
    first: int
    block_size: int
    late_from: int
    asked_line: int


class _File(msgspec.Struct, frozen=True):
    """The log file, as `SealedEntries` takes it."""

    path: Path
    sealed: int
    reading: Reading
    last: bool


class _Held(msgspec.Struct, frozen=True):
    """What lines show that all hold; `leaves` one after the other, `asked_tag` if that line is among them."""

    end: _Start
    lines: int
    clock_back: int
    asked_tag: bytes | None
    leaves: bytes


class Helpers:
    """Other processes, and a page that they share with this one: a key for each, and one to go back to.

    Args:
        count: how many there are; at least one.
        pool: runs them; in each the page was named by `use_page`.
        page: `page_size(count)` bytes, made before any of them was forked; None where there are no keys.
    """

    def __init__(self, count: int, pool: Executor, page: SecretPage | None) -> None:
        self.count = count
        self._pool, self._page = pool, page

    def key(self, slot: int) -> memoryview:
        """The place of a key, 32 bytes; that of slot `count` is nobody's."""
        return _slot(self._page, slot)[:_KEY]

    def submit(self, slot: int, share: _Share, file: _File, *, keyed: bool) -> Future[_Held | None]:
        """Have a share checked; `keyed`: with the key in this slot, which is the one behind it afterwards."""
        return self._pool.submit(_check_elsewhere, slot, share, file, keyed=keyed)

    def wipe(self) -> None:
        """Forget all keys."""
        if self._page is not None:
            self._page.wipe()


class SharedRuns:
    """Takes long runs out of the lines of one epoch, with the help of others."""

    def __init__(
        self, part: SegmentPart, lines: LineReader, check: RunCheck, tags: EpochTags | None, helpers: Helpers
    ) -> None:
        self._file = _File(part.log, part.sealed, part.reading, part.last)
        self._lines, self._check, self._tags, self._helpers = lines, check, tags, helpers
        # A compressed file can only be read from its beginning.
        self._try_at = lines.left if part.log.suffix == ".log" else -1

    def take(self) -> int:
        """How many lines are taken."""
        taken = 0
        while self._lines.left <= self._try_at and (shares := self._shares()):
            try:
                taken += self._take(shares)
            finally:
                self._helpers.wipe()
        return taken

    def _shares(self) -> list[_Share]:
        """What comes next in shares, the last of which is one's own; none if it is not worth it."""
        check, result, start = self._check, self._check.result, _stand(self._check.result)
        if start is None or result.end is not None or not (self._tags is None or self._tags.settled):
            return []
        sizes = [AT_ONCE] * self._helpers.count + [int(AT_ONCE * _OWN)]
        ahead = self._lines.far_ahead(sum(sizes))
        shares: list[_Share] = []
        for size in sizes:
            lines = whole_block_lines(ahead[:size], size)
            if 2 * len(lines) < size:
                break
            ahead = ahead[len(lines) :]
            shares.append(
                _Share(
                    lines,
                    start,
                    check.first,
                    max(result.size // result.blocks, 1),
                    check.late_from,
                    check.asked_line,
                )
            )
            if (behind := _start_behind(lines)) is None:
                break
            start = behind
        if len(shares) <= 1:
            # Lines of other kinds stand before the next many blocks, or the end of the epoch.
            self._try_at = self._lines.left - AT_ONCE
            return []
        return shares

    def _take(self, shares: list[_Share]) -> int:
        helpers, tags, place = self._helpers, self._tags, self._check.result.index - self._check.first
        if tags is not None:
            helpers.key(helpers.count)[:] = tags.key
        futures = []
        for slot, share in enumerate(shares[:-1]):
            if tags is not None:
                helpers.key(slot)[:] = tags.key
            futures.append(helpers.submit(slot, share, self._file, keyed=tags is not None))
            if tags is not None:
                tags.step_over(share.lines.count(b"\n"))
        own = _check(shares[-1], self._file, tags.run if tags is not None else None)
        taken = 0
        for slot, (share, found) in enumerate(
            zip(shares, [*(future.result() for future in futures), own], strict=True)
        ):
            if found is None or not self._add(share, found):
                self._try_at = -1
                if tags is not None:
                    # As if no key had been stepped over what does not count.
                    tags.go_back(place + taken, helpers.key(slot - 1 if slot else helpers.count))
                break
            taken += found.lines
            self._lines.skip(len(share.lines))
        return taken

    def _add(self, share: _Share, found: _Held) -> bool:
        """Add what was found to what is known, if it goes on there; whether it does."""
        result, end, leaves = self._check.result, found.end, found.leaves
        if share.start != _stand(result):
            return False
        if not self._check.content.held_elsewhere(share.start.offset, end.offset):
            return False
        self._check.extend([leaves[at : at + HASH_SIZE] for at in range(0, len(leaves), HASH_SIZE)])
        result.lines += found.lines
        result.blocks += found.lines
        result.sealed += end.next_entry - result.next_entry
        result.size += end.offset - share.start.offset
        result.clock_back += found.clock_back
        result.asked_tag = found.asked_tag or result.asked_tag
        result.index, result.next_entry, result.offset = end.index, end.next_entry, end.offset
        result.last_tag, result.last_time, result.authentic = end.last_tag, end.last_time, True
        return True


def page_size(count: int) -> int:
    """Of the page that so many helpers share, in bytes."""
    return _SLOT * (count + 1)


def use_page(page: SecretPage | None) -> None:
    """In a helper: this is the page that it shares."""
    _Shared.page = page


class _Shared:
    page: ClassVar[SecretPage | None] = None


def _slot(page: SecretPage | None, slot: int) -> memoryview:
    if page is None:
        raise AssertionError("where there is no page there are no keys")
    return page.view[_SLOT * slot : _SLOT * (slot + 1)]


def _check_elsewhere(slot: int, share: _Share, file: _File, *, keyed: bool) -> _Held | None:
    if not keyed:
        return _check(share, file, None)
    keys = _slot(_Shared.page, slot)
    return _check(share, file, RunTags(keys[:_KEY], keys[_KEY:], share.start.index - share.first))


def _check(share: _Share, file: _File, tags: RunTags | None) -> _Held | None:
    """What lines show, if each of them is regular and holds."""
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
        content = SealedEntries(file.path, file.sealed, file.reading, last=file.last)
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
        rest = memoryview(share.lines)
        while rest:
            data = check.run_in(bytes(rest[:_RUN]))
            if not data or not check.holds(data):
                return None
            rest = rest[len(data) :]
    finally:
        content.close()
    if (end := _stand(result)) is None:
        return None
    return _Held(end, result.lines, result.clock_back, result.asked_tag, b"".join(leaves))


def _stand(result: EpochResult) -> _Start | None:
    """Where the next line begins, if that is known."""
    if result.offset is None:
        return None
    return _Start(result.index, result.next_entry, result.offset, result.last_tag, result.last_time)


def _start_behind(lines: bytes) -> _Start | None:
    """Where the lines behind these begin, by what the last one says."""
    try:
        line = parse_line(lines[lines.rfind(b"\n", 0, -1) + 1 : -1])
    except FormatError:
        return None
    if not isinstance(line, TaggedLine) or not isinstance(block := line.body, Block):
        return None
    entry, offset = block.first_entry + block.entries, block.offset + block.size
    return _Start(line.index + 1, entry, offset, line.tag, block.time)
