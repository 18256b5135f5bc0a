"""Check one epoch on its own: its lines, their tags, the entries that they seal (docs/format.md, 13.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from epochseal.encoding import b64decode
from epochseal.errors import FormatError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import (
    TAG_SIZE,
    Block,
    End,
    Header,
    Prune,
    Sign,
    TaggedLine,
    encode_line,
    parse_line,
)
from epochseal.verifier.align import Aligner, Step
from epochseal.verifier.block_runs import BlockRuns, RunCheck
from epochseal.verifier.epoch_mark import EpochMark
from epochseal.verifier.epoch_result import EpochResult, LastLeaf, Noted, Recorded
from epochseal.verifier.epoch_secrets import NoKeyError
from epochseal.verifier.epoch_tags import EpochTags
from epochseal.verifier.helpers import Helpers
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.shared_runs import SharedRuns
from epochseal.verifier.snapshot import SegmentPart
from epochseal.verifier.unread_epoch import entries_in, payload_of, problem_in, read_without_header

_FEW_MISSING, _SHORTEST_LINE = 16, 64
"""So many lines may be missing in an epoch, and as many more as its bytes have room for."""


def check_epoch(
    part: SegmentPart,
    epoch: EpochPart,
    content: SealedEntries,
    keyring: Keyring | None,
    sink: Callable[[Block], None] | None = None,
    helpers: Helpers | None = None,
) -> EpochResult:
    """Verify an epoch's lines and the entries that they seal.

    `sink` is called for each block that holds. `helpers` are other processes that check runs of its lines.

    Raises:
        GoneError: the seal file is gone.
        StorageError: a file cannot be read.
        BackendError: the backend failed otherwise than by refusing the secret as wrong.
    """
    mark = part.marks.get(epoch.start)
    if mark is not None and mark.is_whole(epoch):
        return mark.take()
    with LineReader(part, epoch) as lines:
        if epoch.header is None:
            return read_without_header(part, lines)
        walk = _Walk(part, epoch, epoch.header, content, sink)
        try:
            walk.run(lines, keyring, helpers, mark if mark is not None and mark.goes_on(epoch) else None)
        finally:
            if keyring is not None:
                keyring.wipe()
    return walk.result


class _Walk:
    def __init__(
        self,
        part: SegmentPart,
        epoch: EpochPart,
        header: Header,
        content: SealedEntries,
        sink: Callable[[Block], None] | None,
    ) -> None:
        self._part, self._epoch, self._header = part, epoch, header
        self._content, self._sink = content, sink
        self._tags: EpochTags | None = None
        self._bad_since: tuple[int, str, str] | None = None
        self._content_bad = False
        self._late_from = header.time + header.interval + header.max_overdue
        frontier = [b64decode(subtree, "frontier") for subtree in header.tree.frontier]
        self.result = EpochResult(
            part.segment.number,
            header,
            next_entry=header.first_entry,
            index=header.tree.size,
            last_tag=b64decode(header.prev, "prev"),
            tree=Frontier(header.tree.size, frontier),
            last_time=header.time,
        )

    def run(
        self, lines: LineReader, keyring: Keyring | None, helpers: Helpers | None, mark: EpochMark | None
    ) -> None:
        self._begin(lines, keyring, mark)
        result = self.result
        most_missing = _FEW_MISSING + (self._epoch.stop - self._epoch.start) // _SHORTEST_LINE
        aligner = Aligner(lines, result.index, self._epoch.next_line, most_missing)
        check = RunCheck(
            result,
            self._content,
            self._tags,
            first=self._header.tree.size,
            late_from=self._late_from,
            asked_line=self._epoch.asked_line,
            extend=result.tree.extend,
        )
        runs, steps = BlockRuns(lines, check), aligner.steps()
        together = SharedRuns(self._part, lines, check, self._tags, helpers) if helpers is not None else None
        while True:
            if aligner.at_rest and self._bad_since is None and not self._content_bad and self._sink is None:
                if together is not None:
                    aligner.passed(together.take())
                if taken := runs.take():
                    aligner.passed(taken)
                    continue
            if (step := next(steps, None)) is None:
                break
            self._step(step)
        if lines.gave_up:
            self._add("too_much_work", result.next_entry, result.next_entry, "more lines than bytes for them")
        if self._tags is not None and not result.authentic:
            self._bad_since = None
            self._report_whole("line_altered", "no line of this epoch was made with its key")
            return
        self._close_range(max(self._epoch.next_entry, result.next_entry))

    def _open(self, line: TaggedLine, keyring: Keyring) -> None:
        try:
            self._tags = EpochTags(self._header, line.payload, keyring)
            self.result.carry_in = self._tags.carry_in
        except NoKeyError as exc:
            self._report_whole(exc.kind, str(exc))

    def _begin(self, lines: LineReader, keyring: Keyring | None, mark: EpochMark | None) -> None:
        """The epoch line, or all that the mark says was verified before."""
        line, raw = self._epoch.first, next(lines)
        # The snapshot has read it: what stands there now is read again only if it is something else.
        if line is None or encode_line(line.payload, line.tag) != raw + b"\n":
            line = _parse_tagged(raw)
        self.result.leaf = leaf_hash(line.payload)
        if keyring is not None:
            self._open(line, keyring)
        if mark is not None and self.result.leaf == mark.result.leaf and not self.result.problems:
            self._go_on(mark, lines)
        else:
            self._take(line)

    def _go_on(self, mark: EpochMark, lines: LineReader) -> None:
        """What was verified before is not read again; the key is that of the line behind it."""
        self.result = mark.take()
        lines.pass_to(mark.part.stop)
        if self._tags is not None:
            self._tags.step_over(self.result.lines)

    # --- lines ----------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        result = self.result
        if step.kind:
            self._bad(step.kind, step.detail)
        for raw in step.places:
            result.tree.append(leaf_hash(payload_of(raw)))
            result.index += 1
            result.lines += 1
            if self._tags is not None:
                self._tags.forget_computed()
            with contextlib.suppress(FormatError):
                # The line after it was chained from this tag, whatever happened to the rest of the line.
                result.last_tag = b64decode(raw.rpartition(b" ")[2], "tag", TAG_SIZE)
        if step.note is not None:
            result.notes.append(Noted(step.note, result.index, result.next_entry))
        if step.line is not None:
            self._take(step.line)

    def _take(self, line: TaggedLine) -> None:
        result, leaf = self.result, leaf_hash(line.payload)
        # By the place in the tree: an index as the line says it could set off any amount of work.
        place = result.index - self._header.tree.size
        held = self._tags is None or self._tags.holds(place, result.last_tag, leaf, line.tag)
        result.authentic = result.authentic or held
        result.tree.append(leaf)
        result.index += 1
        result.lines += 1
        result.last_tag = line.tag
        if line.index == self._epoch.asked_line:
            result.asked_tag = line.tag
        if not held:
            self._bad("line_altered", f"line {line.index} of the tree was changed: its tag does not hold")
        elif result.end is not None:
            self._bad("line_misplaced", f"line {line.index} follows the end of its epoch")
            if isinstance(line.body, Block):
                self._close_range(line.body.first_entry + line.body.entries)
        else:
            self._good(line)

    def _good(self, line: TaggedLine) -> None:
        result, body = self.result, line.body
        if isinstance(body, Block):
            self._close_range(body.first_entry)
            self._take_block(line.index, body)
            return
        if isinstance(body, Header):
            if line.index != body.tree.size:
                detail = f"the epoch line has index {line.index} over a tree of {body.tree.size}"
                self._bad("counters", detail)
            self._add_last_leaf(None)
            self._close_range(result.next_entry)
        elif isinstance(body, End):
            self._take_end(body)
            return
        elif isinstance(body, Sign):
            self._take_sign(line.index, body)
        elif isinstance(body, Prune):
            authentic = self._tags is not None
            result.prunes.append(Recorded(line.index, body, result.next_entry, authentic))
        else:
            authentic = self._tags is not None
            result.rotates.append(Recorded(line.index, body, result.next_entry, authentic))
        # None but the first of these says which entries stood in damaged lines before it: a later line does.

    def _take_sign(self, index: int, body: Sign) -> None:
        self._add_last_leaf(body.run)
        if body.next is not None:
            self.result.announced = index, body.next
            if body.next.epoch != self._header.epoch + 1:
                self._bad("counters", f"line {index} announces epoch {body.next.epoch}")

    def _take_end(self, body: End) -> None:
        result = self.result
        result.end = body
        self._close_range(self._header.first_entry + body.entries)
        # Of damaged lines neither the entries nor the bytes were counted.
        if not result.damaged and (body.entries, body.bytes) != (result.sealed, result.size):
            self._bad("counters", "the end line counts other entries or bytes than the epoch has")
            self._close_range(result.next_entry)
        if body.run is not None:
            self._add_last_leaf(body.run)
        if self._tags is not None:
            result.carry_out = self._tags.carry_out(result.index - self._header.tree.size)

    def _add_last_leaf(self, run: int | None) -> None:
        result = self.result
        result.last_leaves.append(
            LastLeaf(result.index, result.tree.root(), result.next_entry, result.sealed, run)
        )

    # --- blocks ---------------------------------------------------------------------------------------------

    def _take_block(self, index: int, block: Block) -> None:
        result = self.result
        known = result.offset is not None
        if block.first_entry != result.next_entry or (known and block.offset != result.offset):
            self._bad("counters", f"a block begins at entry {block.first_entry}, byte {block.offset}")
            self._close_range(block.first_entry)
        result.clock_back += block.time < result.last_time
        result.last_time = block.time
        last_entry = max(block.first_entry + block.entries - 1, block.first_entry)
        if block.time > self._late_from:
            first = result.late[0] if result.late is not None else block.first_entry
            result.late = first, last_entry
        if block.src is not None and block.src.gap:
            result.gaps.append((block.first_entry, block.src.name, block.src.skipped))
        if block.entries:
            self._check_content(index, block, last_entry)
        if not result.blocks and not result.damaged:
            result.begins = block.offset
        result.blocks += 1
        result.sealed += block.entries
        result.next_entry = block.first_entry + block.entries
        result.offset = block.offset + block.size
        result.size += block.size

    def _check_content(self, index: int, block: Block, last_entry: int) -> None:
        content, before = self._content, self._content.shift
        found = content.judge(block)
        if found == "good":
            if content.shift != before and not self._content_bad:
                detail = f"{content.shift - before:+d} bytes before entry {block.first_entry}"
                self._add("entries_inserted", block.first_entry, block.first_entry, detail)
            if self._sink is not None:
                self._sink(block)
        elif found == "behind":
            covered = index < self._part.copied
            first, _ = self.result.behind.get(covered, (block.first_entry, 0))
            self.result.behind[covered] = first, last_entry
        elif found != "unread":
            detail = f"bytes {block.offset} to {block.offset + block.size - 1} of {self._part.log.name}"
            self._add(f"entries_{found}", block.first_entry, last_entry, detail)
        self._content_bad = found in {"altered", "missing"}

    # --- ranges ---------------------------------------------------------------------------------------------

    def _bad(self, kind: str, detail: str) -> None:
        self.result.damaged = True
        if self._bad_since is None:
            self._bad_since = (self.result.next_entry, kind, detail)

    def _close_range(self, next_entry: int) -> None:
        """The line at hand is good: what was damaged ends before its first entry."""
        if self._bad_since is None:
            return
        first, kind, detail = self._bad_since
        self._bad_since = None
        self._add(kind, first, max(next_entry - 1, first), detail)
        self.result.next_entry = max(next_entry, first)
        self.result.offset = None

    def _report_whole(self, kind: str, detail: str) -> None:
        """The same of all lines of the epoch; which entries those are they say themselves."""
        self.result.damaged = kind != "unknown_key"
        first = self._header.first_entry
        with LineReader(self._part, self._epoch) as lines:
            said = max(entries_in(lines), default=0)
        self._add(kind, first, max(self._epoch.next_entry, said, first + 1) - 1, detail)

    def _add(self, kind: str, first: int, last: int, detail: str) -> None:
        self.result.problems.append(problem_in(self._part, self._header.epoch, kind, (first, last), detail))


def _parse_tagged(raw: bytes) -> TaggedLine:
    line = parse_line(raw)
    if not isinstance(line, TaggedLine):
        raise FormatError("the snapshot cut an epoch at a line that is no header")
    return line
