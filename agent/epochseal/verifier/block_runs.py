"""Runs of regular block lines, checked column by column (docs/format.md, 13.4).

A run is taken whole, or nothing has changed and the lines are walked one by one: the walk alone names damage.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import lt
from typing import Protocol

from epochseal.format.block_columns import BlockColumns, decode_column, read_columns, whole_block_lines
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.sealed_entries import SealedEntries

FEWEST = 4
"""A shorter run is not worth it."""
_PAUSE = 16


class TagChecker(Protocol):
    """Checks the tags of lines, and knows the key of the next one."""

    def hold(
        self, place: int, last_tag: bytes, leaves: list[bytes], texts: list[bytes]
    ) -> list[bytes] | None:
        """As `EpochTags.hold`."""
        ...


class RunCheck:
    """Checks runs of one epoch that go on where `result` stands.

    Args:
        result: what was found so far; a run that holds is added to it.
        content: the entries.
        tags: checks the tags, if there are keys.
        first: the index of the epoch line.
        late_from: a block with a later time is none for a run, in ms.
        asked_line: the index of the line whose tag the next epoch quotes, or -1.
        extend: is given the leaves of a run that holds.
    """

    def __init__(
        self,
        result: EpochResult,
        content: SealedEntries,
        tags: TagChecker | None,
        *,
        first: int,
        late_from: int,
        asked_line: int,
        extend: Callable[[list[bytes]], None],
    ) -> None:
        self.result, self.content = result, content
        self.first, self.late_from, self.asked_line = first, late_from, asked_line
        self.extend = extend
        self._tags = tags

    def run_in(self, ahead: bytes) -> bytes:
        """The block lines that `ahead` begins with, as many as are checked at once."""
        # By the blocks before: what is hashed at once is bounded, whatever the lines say.
        most = self.content.run // max(self.result.size // self.result.blocks, 1)
        return whole_block_lines(ahead, most)

    def holds(self, data: bytes) -> bool:
        """Whether whole lines that come next hold; else nothing has changed."""
        result = self.result
        if (offset := result.offset) is None:
            return False
        columns = read_columns(data, result.index, result.next_entry, offset)
        if columns is None or max(columns.times) > self.late_from:
            return False
        if not self.content.holds_all(columns.bounds, columns.digests):
            return False
        tags = self._held(columns)
        if tags is None:
            self.content.forget_run()
            return False
        count = len(tags)
        if 0 <= self.asked_line - result.index < count:
            result.asked_tag = tags[self.asked_line - result.index]
        result.clock_back += sum(map(lt, columns.times, (result.last_time, *columns.times)))
        result.last_time, result.last_tag, result.authentic = columns.times[-1], tags[-1], True
        self.extend(columns.leaves)
        result.index += count
        result.lines += count
        result.blocks += count
        result.sealed += columns.entries
        result.next_entry += columns.entries
        result.offset = columns.bounds[-1]
        result.size += columns.bounds[-1] - offset
        return True

    def _held(self, columns: BlockColumns) -> list[bytes] | None:
        if self._tags is None:
            return decode_column(columns.tags)
        return self._tags.hold(
            self.result.index - self.first, self.result.last_tag, columns.leaves, columns.tags
        )


class BlockRuns:
    """Takes runs out of the lines of one epoch."""

    def __init__(self, lines: LineReader, check: RunCheck) -> None:
        self._lines, self._check = lines, check
        self._pause = 0

    def take(self) -> int:
        """How many lines are taken, 0 if the next one is to be walked."""
        result = self._check.result
        if self._pause:
            self._pause -= 1
            return 0
        if result.offset is None or result.end is not None:
            return 0
        data = self._check.run_in(self._lines.ahead())
        count = data.count(b"\n")
        if count < FEWEST:
            # What was read ahead ends here, or lines of other kinds follow: mostly two of them.
            self._pause = max(count, 2) - 1
            return 0
        if not self._check.holds(data):
            # Walked before it is tried again: or a damaged line would be read once for each line before it.
            self._pause = max(count, _PAUSE)
            return 0
        self._lines.skip(len(data))
        return count
