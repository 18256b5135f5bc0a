"""Join epochs in order: each goes on where the one before it ended, and checkpoints are over these lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from epochseal.encoding import b64decode, b64encode
from epochseal.errors import FormatError, VerificationError
from epochseal.format.merkle import Frontier
from epochseal.format.note import (
    Checkpoint,
    Note,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.format.seal_lines import Header, Prune
from epochseal.storage.segments import segment_stem
from epochseal.verifier.check_epoch import EpochResult
from epochseal.verifier.key_history import EpochKeys, Place, Rotation, Signers, find_endorsed
from epochseal.verifier.plan import SegmentPart
from epochseal.verifier.verdict import Problem


@dataclass(slots=True)
class Findings:
    """Problems and warnings, numbered in the log's own terms."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    segment: int = 0
    epoch: int = 0
    base: int = 0

    def problem(self, kind: str, first: int, last: int, detail: str) -> None:
        """Add a problem about entries `first` to `last`, at the segment and epoch at hand."""
        self.problems.append(self._record(kind, first, last, detail))

    def warn(self, kind: str, entry: int, detail: str) -> None:
        """Add a warning."""
        self.warnings.append(self._record(kind, entry, entry, detail))

    def _record(self, kind: str, first: int, last: int, detail: str) -> Problem:
        last = max(first, last)
        lines = max(first - self.base, 0) + 1, max(last - self.base, 0) + 1
        return Problem(kind, self.segment, self.epoch, first, last, *lines, detail)


class Joiner:
    """Takes epoch results in order and keeps what the next one and the checkpoints are compared with."""

    def __init__(
        self, findings: Findings, key: VerifierKey | None, *, public: bool, beside: VerifierKey | None = None
    ) -> None:
        self.findings = findings
        self.key = key
        self.signers = Signers(key) if key is not None else None
        self.beside = beside
        self.public = public
        self.first: Header | None = None
        self.last: EpochResult | None = None
        self.last_header: Header | None = None
        self.epochs = 0
        self.entries = 0
        self.bytes = 0
        self.roots: dict[int, tuple[bytes, int]] = {}
        self.damaged_sizes: list[tuple[int, int]] = []
        self.notes: list[tuple[bytes, int, int, int, int, int]] = []
        self.mismatched = False
        self.signed_size = 0
        self.signed_entries = 0
        self.signed_note = b""
        self.signed_by = key
        self.signed_sizes: set[int] = set()
        self.unlinked: list[tuple[EpochResult, int]] = []
        self.closes: list[tuple[int, int]] = []
        self.prunes: list[tuple[int, Prune]] = []
        self.rotations: list[Rotation] = []
        self.epoch_keys = EpochKeys()
        self.sign_by: list[tuple[int, int]] = []

    def link_epoch(self, part: SegmentPart, result: EpochResult, *, first_in_segment: bool) -> None:
        """Join one epoch to those before it; one that belongs elsewhere is reported and left out."""
        found, header = self.findings, result.header
        found.segment, found.base = part.segment.number, part.first_entry
        found.epoch = header.epoch if header is not None else found.epoch
        if header is not None and self._is_foreign(result, header):
            return
        if header is not None:
            self._check_place(part, header, first_in_segment=first_in_segment)
            if self.last is not None and self.last_header is not None:
                self._check_link(self.last, self.last_header, result, header)
            if self.first is None:
                self.first = header
                known = Frontier(
                    header.tree.size, [b64decode(item, "frontier") for item in header.tree.frontier]
                )
                self.roots[header.tree.size] = (known.root(), header.first_entry)
            if header.link != "carry":
                self.unlinked.append((result, part.first_entry))
            self.sign_by.append((header.tree.size, header.time + header.interval + header.max_overdue))
            self.last_header = header
            self._add_keys(part, result, header)
        found.problems.extend(merged(result.problems))
        if result.clock_back:
            found.warn(
                "clock_back", result.entries, f"{result.clock_back} times in this epoch; times are no proof"
            )
        for entry, name in result.gaps:
            found.warn("source_gap", entry, f"entries of {name} may be missing near entry {entry}")
        if result.damaged and header is not None:
            self.damaged_sizes.append((header.tree.size, max(result.index, header.tree.size + 1)))
        self.roots.update(result.roots)
        place = part.segment.number, part.first_entry, found.epoch
        self.notes.extend((*note, *place) for note in result.notes)
        self.prunes.extend(result.prunes)
        self.last = result
        self.epochs += 1
        self.entries = result.entries
        self.bytes += result.size

    def stand_at(self, place: Place) -> None:
        """What is found next stands there."""
        self.findings.segment, self.findings.base, self.findings.epoch = (
            place.segment,
            place.base,
            place.epoch,
        )

    def entries_at(self, size: int) -> int:
        """How many entries a tree of at most this size has, as far as that is known."""
        return max((entries for known, (_, entries) in self.roots.items() if known <= size), default=0)

    def _add_keys(self, part: SegmentPart, result: EpochResult, header: Header) -> None:
        at, last = header.first_entry, max(result.entries - 1, header.first_entry)
        base = part.segment.number, part.first_entry, header.epoch
        for index, body, entry in result.rotates:
            self.rotations.append(
                Rotation(index, body, result.end_size, Place(*base, entry), body.key == "epoch")
            )
        rotates = [body for _, body, _ in result.rotates]
        if self.epoch_keys.add_epoch(header, Place(*base, at), (result.index, last), rotates):
            detail = f"epoch {header.epoch} has the key {header.key}, which had been replaced"
            self.findings.problem("key_retired", at, last, detail)

    def _is_foreign(self, result: EpochResult, header: Header) -> bool:
        """Whether this epoch cannot stand behind the one before it; reported if so."""
        found, before, at = self.findings, self.last_header, header.first_entry
        last = max(result.entries - 1, at)
        if before is None:
            return False
        if (header.origin, header.log) != (before.origin, before.log):
            found.problem("foreign_log", at, last, f"log {header.log} of {header.origin}")
        elif header.epoch <= before.epoch:
            found.problem("epoch_misplaced", at, last, f"epoch {header.epoch} follows epoch {before.epoch}")
        else:
            return False
        return True

    # --- links ----------------------------------------------------------------------------------------------

    def _check_place(self, part: SegmentPart, header: Header, *, first_in_segment: bool) -> None:
        at, found = header.first_entry, self.findings
        if header.segment != part.segment.number:
            found.problem("segment_renamed", at, at, f"the epoch belongs to segment {header.segment}")
        elif first_in_segment and segment_stem(header.segment, header.time) != part.segment.stem:
            found.problem(
                "segment_renamed", at, at, f"its name is {segment_stem(header.segment, header.time)}"
            )

    def _check_link(self, last: EpochResult, before: Header, result: EpochResult, header: Header) -> None:
        found, at = self.findings, header.first_entry
        if header.epoch > before.epoch + 1:
            if last.header is not None:
                detail = f"epochs {before.epoch + 1} to {header.epoch - 1}"
                found.problem("epoch_missing", last.entries, at - 1, detail)
            return
        self._check_end(last, header)
        if last.header is not None and not last.damaged and not result.damaged:
            self._check_join(last, header)
        unknown = None in {last.carry_out, result.carry_in}
        if header.link == "carry" and not unknown and last.carry_out != result.carry_in:
            found.problem("link_broken", at, at, "the carry is not that of the epoch before")

    def _check_end(self, last: EpochResult, header: Header) -> None:
        found, at = self.findings, header.first_entry
        reason = last.end.reason if last.end is not None else None
        if header.link == "cold":
            found.problem(
                "cold_start", at, at, f"epoch {header.epoch} began without the carry of the one before"
            )
        elif reason is None and last.header is not None and not last.damaged:
            found.problem("end_missing", last.entries, at - 1, f"epoch {last.header.epoch} has no end line")
        if header.link == "reopen":
            found.warn("reopen", at, f"epoch {header.epoch}")
            if reason not in (None, "close"):
                found.problem("link_broken", at, at, f"a reopen follows an end with reason {reason}")
            if self.public:
                self.closes.append((header.tree.size, at))
        if header.link == "genesis":
            found.problem("link_broken", at, at, "a genesis stands in the middle of the log")

    def _check_join(self, last: EpochResult, header: Header) -> None:
        found, at = self.findings, header.first_entry
        if header.tree.size != last.tree.size:
            found.problem(
                "line_missing",
                last.entries,
                at - 1,
                f"lines {last.tree.size} to {header.tree.size - 1} of the tree",
            )
            return
        if [b64decode(subtree, "frontier") for subtree in header.tree.frontier] != list(last.tree.hashes):
            first = last.header.first_entry if last.header is not None else at
            found.problem(
                "tree_broken",
                first,
                max(last.entries - 1, first),
                f"lines of epoch {header.epoch - 1} were changed",
            )
        if b64decode(header.prev, "prev") != last.last_tag:
            found.problem(
                "link_broken", at, at, "the epoch quotes another last tag than the one before it ends with"
            )
        if header.first_entry != last.entries:
            found.problem(
                "counters", min(last.entries, at), max(last.entries, at), "the epoch begins at another entry"
            )
        asked_last = header.asked.line == max(header.tree.size - 1, 0) and header.asked.tag == header.prev
        asked_before = last.asked_tag is not None and b64encode(last.asked_tag) == header.asked.tag
        if not (asked_last or (header.link == "carry" and asked_before)):
            found.problem(
                "link_broken",
                at,
                at,
                "the epoch quotes another tag of the line at which its key was asked for",
            )

    # --- checkpoints ----------------------------------------------------------------------------------------

    def check_notes(self, checkpoint_file: bytes | None, tree_size: int) -> None:
        """Hold every signed checkpoint against the lines."""
        self._follow_keys(checkpoint_file)
        size = 0
        for raw, before, entry, segment, base, epoch in self.notes:
            self.findings.segment, self.findings.base, self.findings.epoch = segment, base, epoch
            checkpoint = self.check_note(raw, tree_size, entry)
            if checkpoint is None or checkpoint.size > tree_size:
                continue
            # Lines are durable before they are signed, and checkpoints are signed in order.
            if not self.is_damaged_before(before) and not size <= checkpoint.size <= before:
                detail = f"the checkpoint of {checkpoint.size} lines stands behind line {before - 1}"
                self.findings.problem("line_misplaced", entry, entry, detail)
            size = max(size, checkpoint.size)
        if checkpoint_file is not None:
            self.check_note(checkpoint_file, tree_size, self.entries)
        elif self.notes:
            self.findings.warn("checkpoint_missing", self.entries, "checkpoint")

    def _follow_keys(self, checkpoint_file: bytes | None) -> None:
        origin = self.first.origin if self.first is not None else ""
        raw = [note for note, *_ in self.notes]
        raw += [checkpoint_file] if checkpoint_file is not None else []
        find_endorsed(self.rotations, raw, self.roots, self.key.name if self.key is not None else origin)
        if self.signers is not None:
            self.signers.follow(self.rotations)
        if self.beside is not None and self.key is not None:
            # Whoever names a later key beside a trust file says so for its owner.
            beside = Signers(self.beside)
            beside.follow(self.rotations)
            self.signers = beside if self.key in beside.bounds else self.signers

    def check_note(self, raw: bytes, tree_size: int, at: int) -> Checkpoint | None:
        """Hold one signed checkpoint against the lines; None if it is none by the key of this log."""
        found = self.findings
        try:
            note = parse_note(raw)
            checkpoint = parse_checkpoint(note.text)
            signers = self._signed(note, checkpoint)
        except UnknownKey as exc:
            if self.signers is not None and self.signers.passes_over(note, checkpoint.size):
                return None
            found.problem("unknown_key", at, at, f"checkpoint: {exc}")
            return None
        except (FormatError, VerificationError) as exc:
            found.problem("checkpoint_bad", at, at, str(exc))
            return None
        if self.first is not None and checkpoint.size < self.first.tree.size:
            # Signed late, for lines that have expired since: there is nothing left to compare it with.
            return checkpoint
        root, entries = self.roots.get(checkpoint.size, (b"", 0))
        if checkpoint.size > tree_size:
            detail = (
                f"signed for {checkpoint.size} lines, {tree_size} are here: the end of the log was cut off"
            )
            found.problem("checkpoint_ahead", self.entries, self.entries, detail)
        elif root != checkpoint.root:
            self._report_mismatch(checkpoint.size)
        elif signers:
            self.signed_sizes.add(checkpoint.size)
            if checkpoint.size > self.signed_size:
                self.signed_size, self.signed_entries, self.signed_note = checkpoint.size, entries, raw
                # Where two keys hand over, the new one signs last.
                self.signed_by = signers[-1]
        return checkpoint

    def _report_mismatch(self, size: int) -> None:
        # Damaged lines that are reported already explain it, and so does a smaller checkpoint.
        if self.is_damaged_before(size) or self.mismatched:
            return
        self.mismatched = True
        after = [entries for known, (_, entries) in self.roots.items() if known >= size]
        last = min(after, default=self.entries) - 1
        self.findings.problem(
            "checkpoint_mismatch", self.signed_entries, last, f"the checkpoint of {size} lines"
        )

    def _signed(self, note: Note, checkpoint: Checkpoint) -> tuple[VerifierKey, ...]:
        origin = self.first.origin if self.first is not None else checkpoint.origin
        if checkpoint.origin != origin:
            raise VerificationError(f"the checkpoint is of {checkpoint.origin!r}")
        if checkpoint.extensions:
            raise FormatError("the checkpoint has extension lines, which this log never writes")
        if self.signers is None:
            return ()
        try:
            return verify_note(note, self.signers.keys_for(checkpoint.size))
        except UnknownKey as exc:
            raise UnknownKey(f"{exc}{self.signers.explain(checkpoint.size)}") from exc

    def is_damaged_before(self, size: int) -> bool:
        """Whether a line before this tree size was changed, so that the root there shows nothing more."""
        return any(start < size for start, _ in self.damaged_sizes)

    def check_starts(self) -> None:
        """An epoch that nothing carries into shows by its signed start that the agent began it."""
        found = self.findings
        for result, base in self.unlinked:
            header = result.header
            if header is None or header.tree.size + 1 in self.signed_sizes or result.damaged:
                continue
            found.segment, found.base, found.epoch = result.segment, base, header.epoch
            if result.blocks or self.signed_size <= header.tree.size:
                self._report_unsigned(header, result.entries)
        first = self.first
        if first is not None and first.link == "carry" and self.signed_size <= first.tree.size:
            # What carried into it has expired, so only a signature speaks for it.
            found.segment, found.base, found.epoch = first.segment, first.first_entry, first.epoch
            self._report_unsigned(first, self.entries)
        for size, at in self.closes:
            if size not in self.signed_sizes:
                found.problem("close_unsigned", at, at, f"before line {size} of the tree")

    def _report_unsigned(self, header: Header, stop: int) -> None:
        at = header.first_entry
        detail = f"epoch {header.epoch} ({header.link}): anybody could have begun it"
        if self.key is None:
            detail += "; no checkpoint key was named"
        self.findings.problem("start_unsigned", at, max(stop - 1, at), detail)


def merged(problems: list[Problem]) -> list[Problem]:
    """Neighbouring ranges of one kind as one."""
    out: list[Problem] = []
    for item in problems:
        before = out[-1] if out else None
        if before is None or (before.kind, before.last_entry + 1) != (item.kind, item.first_entry):
            out.append(item)
            continue
        detail = before.detail if before.detail.endswith("…") else f"{before.detail} …"
        out[-1] = replace(before, last_entry=item.last_entry, last_line=item.last_line, detail=detail)
    return out
