"""Runs of regular block lines, checked column by column (docs/format.md, 13.4).

A run is taken whole, or nothing has changed and the lines are walked one by one: the walk alone names damage.
"""

from __future__ import annotations

from itertools import chain
from operator import lt

from epochseal.format.block_columns import BlockColumns, decode_column, read_columns, whole_block_lines
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_tags import EpochTags
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.sealed_entries import AT_ONCE, SealedEntries

FEWEST = 4
"""A shorter run is not worth it."""
_PAUSE = 16


class BlockRuns:
    """Takes runs out of the lines of one epoch.

    Args:
        lines: where the lines come from.
        epoch: the epoch.
        result: what was found so far; a run that is taken is added to it.
        content: the entries.
        tags: checks the tags, if there are keys.
        first: the index of the epoch line.
        late_from: a block with a later time is none for a run, in ms.
    """

    def __init__(
        self,
        lines: LineReader,
        epoch: EpochPart,
        result: EpochResult,
        content: SealedEntries,
        tags: EpochTags | None,
        first: int,
        late_from: int,
    ) -> None:
        self._lines, self._epoch, self._result = lines, epoch, result
        self._content, self._tags = content, tags
        self._first, self._late_from = first, late_from
        self._pause = 0

    def take(self) -> int:
        """How many lines are taken, 0 if the next one is to be walked."""
        result = self._result
        if self._pause:
            self._pause -= 1
            return 0
        if result.offset is None or result.end is not None:
            return 0
        # By the blocks before: what is hashed at once is bounded, whatever the lines say.
        most = AT_ONCE // 2 // max(result.size // result.blocks, 1)
        data = whole_block_lines(self._lines.ahead(), most) if most >= FEWEST else b""
        count = data.count(b"\n")
        if count < FEWEST or not self._takes(data, count, result.offset):
            # Walked before it is tried again: or a damaged line would be read once for each line before it.
            self._pause = max(count, _PAUSE)
            return 0
        self._lines.skip(len(data))
        return count

    def _takes(self, data: bytes, count: int, offset: int) -> bool:
        result = self._result
        columns = read_columns(data, result.index, result.next_entry, offset)
        if columns is None or max(columns.times) > self._late_from:
            return False
        if not self._content.holds_all(columns.bounds, columns.digests):
            return False
        tags = self._held(columns)
        if tags is None:
            self._content.forget_run()
            return False
        if 0 <= self._epoch.asked_line - result.index < count:
            result.asked_tag = tags[self._epoch.asked_line - result.index]
        result.clock_back += sum(map(lt, columns.times, chain((result.last_time,), columns.times)))
        result.last_time, result.last_tag, result.authentic = columns.times[-1], tags[-1], True
        result.tree.extend(columns.leaves)
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
            self._result.index - self._first, self._result.last_tag, columns.leaves, columns.tags
        )
