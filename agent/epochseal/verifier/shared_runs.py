"""Runs of one long epoch, checked by several processes at once.

The ratchet does not depend on data. So one process steps the key over the lines that others check, and checks
some itself in the meantime. What another finds counts only where it began from the very state that the lines
before it led to; otherwise nothing has changed, and the epoch goes on in one process.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from epochseal.custody.memory import SecretPage
from epochseal.errors import FormatError, StorageError
from epochseal.format.block_columns import whole_block_lines
from epochseal.format.merkle import complete_subtrees
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.storage.opener import GoneError, open_file
from epochseal.verifier.block_runs import RunCheck
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_tags import EpochTags, RunTags
from epochseal.verifier.reading_budget import Reading
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import SegmentPart

if TYPE_CHECKING:  # loaded where processes are made, and nowhere else
    from concurrent.futures import Executor, Future

LONG = 4 << 20
"""An epoch of such a `weight` is worth the processes."""
AT_ONCE = 1 << 20
"""The weight of a share."""
# To check a line costs as much as to hash so many bytes; and so long is one of a quiet log.
_LINE_COST, _LINE = 8 << 10, 128
# The last shares are smaller, so that all processes come to an end at once: but not below that.
_PARTS, _SMALLEST = 8, 8 * _LINE
# A helper has the next share while it checks one; and shares of one's own may wait for those before them.
_AT_WORK, _SLOTS = 2, 4
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

    They are `lines` lines and `size` bytes of the seal file, from byte `place` on. `block_size` is how many
    bytes a block has, by those before. The others are as in `RunCheck`.
    """

    place: int
    size: int
    lines: int
    start: _Start
    first: int
    block_size: int
    late_from: int
    asked_line: int


class _Files(msgspec.Struct, frozen=True):
    """The seal file; and the log file, as `SealedEntries` takes it."""

    seal: Path
    log: Path
    sealed: int
    reading: Reading
    last: bool


class _Held(msgspec.Struct, frozen=True):
    """What lines show that all hold.

    `subtrees` are what `complete_subtrees` makes of them; `asked_tag` is there if that line is among them.
    """

    end: _Start
    lines: int
    clock_back: int
    asked_tag: bytes | None
    subtrees: list[tuple[int, bytes]]


class _Given(msgspec.Struct, frozen=True):
    """A share, the slot of its key, and what was found, if no helper has it."""

    share: _Share
    slot: int
    future: Future[_Held | None] | None
    found: _Held | None = None

    @property
    def at_work(self) -> bool:
        """Whether a helper is not done with it."""
        return self.future is not None and not self.future.done()


class Helpers:
    """Other processes, and a page of keys that they share with this one.

    Args:
        count: how many there are; at least one.
        pool: runs them; in each the page was named by `use_page`.
        page: `page_size(count)` bytes, made before any of them was forked; None where there are no keys.
    """

    def __init__(self, count: int, pool: Executor, page: SecretPage | None) -> None:
        self.count = count
        self._pool, self._page = pool, page

    @property
    def slots(self) -> int:
        """How many shares may have a key; there is a place for one more, which is no share's."""
        return _SLOTS * self.count

    def key(self, slot: int) -> memoryview:
        """The place of a key, 32 bytes."""
        return _slot(self._page, slot)[:_KEY]

    def submit(self, slot: int, share: _Share, files: _Files, *, keyed: bool) -> Future[_Held | None]:
        """Have a share checked; `keyed`: with the key in this slot, which is the one behind it afterwards."""
        return self._pool.submit(_check_elsewhere, slot, share, files, keyed=keyed)

    def wipe(self) -> None:
        """Forget all keys."""
        if self._page is not None:
            self._page.wipe()


class SharedRuns:
    """Takes long runs out of the lines of one epoch, with the help of others."""

    def __init__(
        self, part: SegmentPart, lines: LineReader, check: RunCheck, tags: EpochTags | None, helpers: Helpers
    ) -> None:
        self._files = _Files(part.seal, part.log, part.sealed, part.reading, part.last)
        self._lines, self._check, self._tags, self._helpers = lines, check, tags, helpers
        # A compressed file can only be read from its beginning.
        self._try_at = lines.left if part.log.suffix == ".log" else -1
        self._given: deque[_Given] = deque()
        self._free: list[int] = []
        # So many bytes of lines were given away that still count as left, and there the next share begins.
        self._ahead, self._start = 0, _stand(check.result)

    def take(self) -> int:
        """How many lines are taken."""
        result, tags = self._check.result, self._tags
        start = _stand(result)
        if self._lines.left > self._try_at or start is None or result.end is not None:
            return 0
        if tags is not None:
            if not tags.settled:
                return 0
            self._key_behind[:] = tags.key
        self._free = list(range(self._helpers.slots))
        self._ahead, self._start, before, held = 0, start, result.lines, False
        try:
            held = self._give_and_take()
        finally:
            for given in self._given:
                if given.future is not None:
                    # Whoever is at work still writes keys into the page.
                    given.future.exception()
            self._given.clear()
            if tags is not None and not held:
                # As if no key had been stepped over what does not count.
                tags.go_back(result.index - self._check.first, self._key_behind)
            self._helpers.wipe()
        # Behind what held lines of other kinds stand before the next many blocks, or the end of the epoch.
        self._try_at = self._lines.left - self._most() if held else -1
        return result.lines - before

    @property
    def _key_behind(self) -> memoryview:
        """The place of the key behind all that counts."""
        return self._helpers.key(self._helpers.slots)

    def _give_and_take(self) -> bool:
        """Have shares checked while there are any; whether all of them hold."""
        share, given = self._next_share(), self._given
        while share is not None or given:
            if share is None or (given and (not self._free or not given[0].at_work)):
                if not self._add(given.popleft()):
                    return False
            else:
                given.append(self._give(share))
                share = self._next_share()
        return True

    def _most(self) -> int:
        """How many bytes of lines make a share."""
        return max(int(AT_ONCE / (1 + self._block_size() / _LINE_COST)), _SMALLEST)

    def _block_size(self) -> int:
        result = self._check.result
        return max(result.size // result.blocks, 1)

    def _next_share(self) -> _Share | None:
        """What comes next; None if it is not worth it."""
        if (start := self._start) is None:
            return None
        most, left = self._most(), self._lines.left - self._ahead
        size = min(most, max(left // (2 * self._helpers.count + 2), most // _PARTS, _SMALLEST))
        lines = self._lines.far_ahead(self._ahead, size)
        lines = whole_block_lines(lines, len(lines))
        if 2 * len(lines) < size:
            return None
        check, place = self._check, self._lines.place + self._ahead
        self._ahead, self._start = self._ahead + len(lines), _start_behind(lines)
        return _Share(
            place,
            len(lines),
            lines.count(b"\n"),
            start,
            check.first,
            self._block_size(),
            check.late_from,
            check.asked_line,
        )

    def _give(self, share: _Share) -> _Given:
        """Give it to a helper; to oneself if they have enough to do."""
        helpers, tags, slot = self._helpers, self._tags, self._free.pop()
        if tags is not None:
            helpers.key(slot)[:] = tags.key
        if sum(given.at_work for given in self._given) < _AT_WORK * helpers.count:
            future = helpers.submit(slot, share, self._files, keyed=tags is not None)
            if tags is not None:
                tags.step_over(share.lines)
            return _Given(share, slot, future)
        found = _check(share, self._files, tags.run if tags is not None else None)
        if found is None:
            self._start = None
        if tags is not None:
            helpers.key(slot)[:] = tags.key
        return _Given(share, slot, None, found)

    def _add(self, given: _Given) -> bool:
        """Add what was found to what is known, if it goes on there; whether it does."""
        result, share = self._check.result, given.share
        found = given.found if given.future is None else given.future.result()
        if found is None or found.lines != share.lines or share.start != _stand(result):
            return False
        end = found.end
        if not self._check.content.held_elsewhere(share.start.offset, end.offset):
            return False
        for level, root in found.subtrees:
            result.tree.append_subtree(level, root)
        result.lines += found.lines
        result.blocks += found.lines
        result.sealed += end.next_entry - result.next_entry
        result.size += end.offset - share.start.offset
        result.clock_back += found.clock_back
        result.asked_tag = found.asked_tag or result.asked_tag
        result.index, result.next_entry, result.offset = end.index, end.next_entry, end.offset
        result.last_tag, result.last_time, result.authentic = end.last_tag, end.last_time, True
        if self._tags is not None:
            self._key_behind[:] = self._helpers.key(given.slot)
        self._free.append(given.slot)
        self._lines.skip(share.size)
        self._ahead -= share.size
        return True


def weight(part: SegmentPart, epoch: EpochPart) -> int:
    """What it costs to check an epoch, as so many bytes of lines of small blocks would.

    Its entries are taken for its share of those of the segment.
    """
    size = epoch.stop - epoch.start
    return size + part.sealed * size // max(part.lines.stop, 1) * _LINE // _LINE_COST


def page_size(count: int) -> int:
    """Of the page that so many helpers share, in bytes."""
    return _SLOT * (_SLOTS * count + 1)


def use_page(page: SecretPage | None) -> None:
    """In a helper: this is the page that it shares."""
    _Shared.page = page


class _Shared:
    page: ClassVar[SecretPage | None] = None


def _slot(page: SecretPage | None, slot: int) -> memoryview:
    if page is None:
        raise AssertionError("where there is no page there are no keys")
    return page.view[_SLOT * slot : _SLOT * (slot + 1)]


def _check_elsewhere(slot: int, share: _Share, files: _Files, *, keyed: bool) -> _Held | None:
    if not keyed:
        return _check(share, files, None)
    keys = _slot(_Shared.page, slot)
    return _check(share, files, RunTags(keys[:_KEY], keys[_KEY:], share.start.index - share.first))


def _check(share: _Share, files: _Files, tags: RunTags | None) -> _Held | None:
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
    if (end := _stand(result)) is None:
        return None
    return _Held(
        end, result.lines, result.clock_back, result.asked_tag, complete_subtrees(start.index, leaves)
    )


def _read(seal: Path, share: _Share) -> bytes:
    with open_file(seal) as file:
        try:
            return os.pread(file.fileno(), share.size, share.place)
        except OSError as exc:
            raise StorageError(f"cannot read {seal}: {exc.strerror}") from exc


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
