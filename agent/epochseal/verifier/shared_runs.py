"""Runs of one long epoch, checked by several processes at once.

The ratchet does not depend on data. So one process steps the key over the lines that others check, and checks
some itself in the meantime. What another finds counts only where it began from the very state that the lines
before it led to; otherwise nothing has changed, and the epoch goes on in one process.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from epochseal.format.block_columns import whole_block_lines
from epochseal.verifier.block_runs import RunCheck
from epochseal.verifier.epoch_tags import EpochTags
from epochseal.verifier.helpers import Helpers
from epochseal.verifier.run_share import Files, Held, Share, check_share, stand, start_behind
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.snapshot import SegmentPart

if TYPE_CHECKING:  # loaded where processes are made, and nowhere else
    from concurrent.futures import Future

LONG = 4 << 20
"""An epoch of such a `weight` is worth the processes."""
AT_ONCE = 1 << 20
"""The weight of a share."""
# To check a line costs as much as to hash so many bytes; and so long is one of a quiet log.
_LINE_COST, _LINE = 8 << 10, 128
# The last shares are smaller, so that all processes come to an end at once: but not below that.
_PARTS, _SMALLEST = 8, 8 * _LINE
# A helper has the next share while it checks one.
_AT_WORK = 2


class _Given(msgspec.Struct, frozen=True):
    """A share, the slot of its key, and what was found, if no helper has it."""

    share: Share
    slot: int
    future: Future[Held | None] | None
    found: Held | None = None

    @property
    def at_work(self) -> bool:
        """Whether a helper is not done with it."""
        return self.future is not None and not self.future.done()


class SharedRuns:
    """Takes long runs out of the lines of one epoch, with the help of others."""

    def __init__(
        self, part: SegmentPart, lines: LineReader, check: RunCheck, tags: EpochTags | None, helpers: Helpers
    ) -> None:
        self._files = Files(part.seal, part.log, part.sealed, part.reading, part.last)
        self._lines, self._check, self._tags, self._helpers = lines, check, tags, helpers
        # A compressed file can only be read from its beginning.
        self._try_at = lines.left if part.log.suffix == ".log" else -1
        self._given: deque[_Given] = deque()
        self._free: list[int] = []
        # So many bytes of lines were given away that still count as left, and there the next share begins.
        self._ahead, self._start = 0, stand(check.result)

    def take(self) -> int:
        """How many lines are taken."""
        result, tags = self._check.result, self._tags
        start = stand(result)
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

    def _next_share(self) -> Share | None:
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
        self._ahead, self._start = self._ahead + len(lines), start_behind(lines)
        return Share(
            place,
            len(lines),
            lines.count(b"\n"),
            start,
            check.first,
            self._block_size(),
            check.late_from,
            check.asked_line,
        )

    def _give(self, share: Share) -> _Given:
        """Give it to a helper; to oneself if they have enough to do."""
        helpers, tags, slot = self._helpers, self._tags, self._free.pop()
        if tags is not None:
            helpers.key(slot)[:] = tags.key
        if sum(given.at_work for given in self._given) < _AT_WORK * helpers.count:
            future = helpers.submit(slot, share, self._files, keyed=tags is not None)
            if tags is not None:
                tags.step_over(share.lines)
            return _Given(share, slot, future)
        found = check_share(share, self._files, tags.run if tags is not None else None)
        if found is None:
            self._start = None
        if tags is not None:
            helpers.key(slot)[:] = tags.key
        return _Given(share, slot, None, found)

    def _add(self, given: _Given) -> bool:
        """Add what was found to what is known, if it goes on there; whether it does."""
        result, share = self._check.result, given.share
        found = given.found if given.future is None else given.future.result()
        if found is None or found.lines != share.lines or share.start != stand(result):
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
