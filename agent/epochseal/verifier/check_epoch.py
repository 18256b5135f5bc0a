"""Check one epoch on its own: tags by the ratchet, digests by the log file, counters by the line before.

The ratchet does not depend on data, so a damaged line costs only itself: the walk chains on from the tag as
written and reports each damaged range.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from epochseal.encoding import b64decode
from epochseal.errors import FormatError, StorageError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import (
    TAG_SIZE,
    Block,
    End,
    Header,
    NoteLine,
    Prune,
    Rotate,
    TaggedLine,
    parse_line,
)
from epochseal.verifier.align import Aligner, Step
from epochseal.verifier.epoch_tags import EpochTags
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import EpochPart, SegmentPart
from epochseal.verifier.verdict import Problem

_NOTHING = hashlib.sha256().digest()


@dataclass(slots=True)
class EpochResult:
    """What one epoch shows by itself; the rest is for link_epochs.py.

    `roots` maps the tree sizes at which a checkpoint may be signed (after the header, after `end`) to the
    root and the number of entries there. `notes` come with the numbers of lines and entries before them,
    `rotates` stand between their index and the entries before them. `end_size`: the tree size after `end`.
    `carry_in` and `carry_out` are SHA-256 digests of carries, None where unknown.
    """

    segment: int
    header: Header | None
    problems: list[Problem] = field(default_factory=list)
    entries: int = 0
    offset: int = 0
    size: int = 0
    index: int = 0
    last_tag: bytes = b""
    asked_tag: bytes | None = None
    tree: Frontier = field(default_factory=Frontier)
    roots: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    end: End | None = None
    end_size: int = 0
    carry_in: bytes | None = None
    carry_out: bytes | None = None
    notes: list[tuple[bytes, int, int]] = field(default_factory=list)
    prunes: list[tuple[int, Prune]] = field(default_factory=list)
    rotates: list[tuple[int, Rotate, int]] = field(default_factory=list)
    blocks: int = 0
    last_time: int = 0
    clock_back: int = 0
    gaps: list[tuple[int, str]] = field(default_factory=list)
    damaged: bool = False


def check_epoch(
    part: SegmentPart,
    epoch: EpochPart,
    content: SealedEntries,
    keyring: Keyring | None,
    sink: Callable[[Block], None] | None = None,
) -> EpochResult:
    """Verify an epoch's lines and the entries that they seal; `sink` is called for each block that holds.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the backend failed otherwise than by refusing the secret as wrong.
    """
    check = _EpochCheck(part, epoch, content, keyring, sink)
    try:
        check.run()
    finally:
        if keyring is not None:
            keyring.wipe()
    return check.result


class _EpochCheck:
    def __init__(
        self,
        part: SegmentPart,
        epoch: EpochPart,
        content: SealedEntries,
        keyring: Keyring | None,
        sink: Callable[[Block], None] | None,
    ) -> None:
        self._sink = sink
        self._part = part
        self._epoch = epoch
        self._content = content
        self._tags = EpochTags(keyring) if keyring is not None else None
        self._bad_since: tuple[int, str, str] | None = None
        self._content_bad = False
        self._offset_known = False
        self.result = EpochResult(part.segment.number, epoch.header)

    def run(self) -> None:
        result, header = self.result, self._epoch.header
        lines = self._lines()
        raw = next(lines)
        if header is None:
            self._without_header(lines)
            return
        result.entries, result.index = header.first_entry, header.tree.size
        result.tree = header.tree.to_frontier()
        result.last_tag = b64decode(header.prev, "prev")
        result.last_time = header.time
        self._open(header, raw)
        line = parse_line(raw)
        if not isinstance(line, TaggedLine):
            raise FormatError("the snapshot cut an epoch at a line that is no header")
        self._take(line)
        for step in Aligner(lines, result.index, self._epoch.next_line).steps():
            self._step(step)
        self._finish()

    def _open(self, header: Header, raw: bytes) -> None:
        """Recover the epoch's secret, if there is a key; where that fails, tags are not looked at."""
        if self._tags is None:
            return
        if (wrong := self._tags.recover(header, raw)) is not None:
            kind, detail = wrong
            self._report(kind, detail, whole=True)
            self.result.damaged = kind != "unknown_key"
            self._tags = None
        else:
            self.result.carry_in = self._tags.carry_in

    # --- lines ----------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._part.seal.open("rb", buffering=1 << 18) as file:
                file.seek(self._epoch.start)
                left = self._epoch.stop - self._epoch.start
                for raw in file:
                    left -= len(raw)
                    yield raw[:-1]
                    if left <= 0:
                        return
        except OSError as exc:
            raise StorageError(f"cannot read {self._part.seal}: {exc.strerror}") from exc

    def _step(self, step: Step) -> None:
        result = self.result
        if step.kind:
            self._bad(step.kind, step.detail)
        for raw in step.places:
            payload, _, tag = raw.rpartition(b" ")
            result.tree.append(leaf_hash(payload))
            result.index += 1
            if self._tags is not None:
                self._tags.pass_over()
            with contextlib.suppress(FormatError):
                # The line after it was chained from this tag, whatever happened to the rest of the line.
                result.last_tag = b64decode(tag, "tag", TAG_SIZE)
        if step.note is not None:
            result.notes.append((step.note, result.index, result.entries))
        if step.line is not None:
            self._take(step.line)

    def _take(self, line: TaggedLine) -> None:
        result = self.result
        leaf = leaf_hash(line.payload)
        authentic = self._authentic(line, leaf)
        result.tree.append(leaf)
        result.index += 1
        result.last_tag = line.tag
        if line.index == self._epoch.asked_line:
            result.asked_tag = line.tag
        if not authentic:
            self._bad("line_altered", f"line {line.index} of the tree was changed: its tag does not hold")
            return
        self._good(line)

    def _authentic(self, line: TaggedLine, leaf: bytes) -> bool:
        """Whether the tag holds; without keys this is left to the checkpoints."""
        tags = self._tags
        return tags is None or tags.holds(line, leaf, self._place, self.result.last_tag)

    @property
    def _place(self) -> int:
        """How many lines of the epoch stand before the next one in the tree."""
        header = self.result.header
        return self.result.index - (header.tree.size if header is not None else 0)

    def _good(self, line: TaggedLine) -> None:
        result, body = self.result, line.body
        if result.end is not None:
            self._bad("line_misplaced", f"line {line.index} follows the end of its epoch")
            self._close_range(body.first_entry + body.entries if isinstance(body, Block) else result.entries)
            return
        if isinstance(body, Block):
            self._close_range(body.first_entry)
            self._take_block(body)
            return
        if isinstance(body, Header):
            if line.index != body.tree.size:
                self._bad(
                    "counters", f"the epoch line has index {line.index} over a tree of {body.tree.size}"
                )
            result.roots[result.index] = (result.tree.root(), result.entries)
        elif isinstance(body, Prune):
            result.prunes.append((line.index, body))
        elif isinstance(body, Rotate):
            result.rotates.append((line.index, body, result.entries))
        else:
            result.end, result.end_size = body, result.index
            header_entry = result.header.first_entry if result.header else 0
            self._close_range(header_entry + body.entries)
            # Where lines were damaged, their entries and bytes were not counted, so the sums cannot be
            # compared.
            counted = (result.entries - header_entry, result.size)
            if not result.damaged and (body.entries, body.bytes) != counted:
                self._bad("counters", "the end line counts other entries or bytes than the epoch has")
                self._close_range(result.entries)
            result.roots[result.index] = (result.tree.root(), result.entries)
            if self._tags is not None:
                result.carry_out = self._tags.carry_out(self._place)
            return
        self._close_range(result.entries)

    def _take_block(self, block: Block) -> None:
        result = self.result
        known = self._offset_known
        if block.first_entry != result.entries or (known and block.offset != result.offset):
            self._bad("counters", f"a block begins at entry {block.first_entry}, byte {block.offset}")
            self._close_range(block.first_entry)
        result.clock_back += block.time < result.last_time
        result.last_time = block.time
        if block.src is not None and block.src.gap:
            result.gaps.append((block.first_entry, block.src.name))
        if block.entries:
            self._check_content(block)
        elif block.digest != _NOTHING:
            self._bad("line_altered", "a heartbeat has the digest of something")
        result.blocks += 1
        result.entries = block.first_entry + block.entries
        result.offset = block.offset + block.size
        result.size += block.size
        self._offset_known = True

    def _check_content(self, block: Block) -> None:
        before = self._content.shift
        if self._content.matches(block):
            if self._content.shift != before and not self._content_bad:
                detail = f"{self._content.shift - before:+d} bytes before entry {block.first_entry}"
                self._add("entries_inserted", block.first_entry, block.first_entry, detail)
            self._content_bad = False
            if self._sink is not None:
                self._sink(block)
            return
        gone = self._content.ends_before(block)
        self._add(
            "entries_missing" if gone else "entries_altered",
            block.first_entry,
            block.first_entry + block.entries - 1,
            f"bytes {block.offset} to {block.offset + block.size - 1} of {self._part.log.name}",
        )
        self._content_bad = True

    # --- ranges ---------------------------------------------------------------------------------------------

    def _bad(self, kind: str, detail: str) -> None:
        self.result.damaged = True
        if self._bad_since is None:
            self._bad_since = (self.result.entries, kind, detail)

    def _close_range(self, next_entry: int) -> None:
        """The line at hand is good: what was damaged ends before its first entry."""
        if self._bad_since is None:
            return
        first, kind, detail = self._bad_since
        self._bad_since = None
        self._add(kind, first, max(next_entry - 1, first), detail)
        self.result.entries = max(next_entry, first)
        self._offset_known = False

    def _finish(self) -> None:
        result = self.result
        if self._tags is not None and not self._tags.any_held:
            self._bad_since = None
            self._report("line_altered", "no line of this epoch was made with its key", whole=True)
            result.damaged = True
            return
        self._close_range(max(self._epoch.next_entry, result.entries))

    def _without_header(self, lines: Iterator[bytes]) -> None:
        """The epoch line cannot be read: nothing of the epoch can be shown, but say which entries it held."""
        entries: list[int] = []
        self._tags = None
        for raw in lines:
            try:
                line = parse_line(raw)
            except FormatError:
                continue
            if isinstance(line, NoteLine):
                self.result.notes.append(
                    (line.note, self.result.index, max(entries, default=self._part.first_entry))
                )
                continue
            if isinstance(line.body, Block):
                entries += [line.body.first_entry, line.body.first_entry + line.body.entries]
            self.result.index, self.result.last_tag = line.index + 1, line.tag
        first = min(entries, default=self._part.first_entry)
        self.result.entries = max(entries, default=first)
        self.result.damaged = True
        self._add("line_altered", first, max(self.result.entries - 1, first), "an epoch line cannot be read")

    def _report(self, kind: str, detail: str, *, whole: bool) -> None:
        header = self._epoch.header
        first = header.first_entry if header is not None and whole else self.result.entries
        last = max(self._epoch.next_entry, self._last_entry(), first + 1) - 1
        self._add(kind, first, last, detail)

    def _last_entry(self) -> int:
        """One past the last entry that the epoch's lines speak of; read again: nothing was verified."""
        last = 0
        for raw in self._lines():
            try:
                line = parse_line(raw)
            except FormatError:
                continue
            if isinstance(line, TaggedLine) and isinstance(line.body, Block):
                last = line.body.first_entry + line.body.entries
        return last

    def _add(self, kind: str, first: int, last: int, detail: str) -> None:
        base = self._part.first_entry
        number = self._epoch.header.epoch if self._epoch.header is not None else 0
        self.result.problems.append(
            Problem(
                kind,
                self._part.segment.number,
                number,
                first,
                last,
                max(first - base, 0) + 1,
                max(last - base, 0) + 1,
                detail,
            )
        )
