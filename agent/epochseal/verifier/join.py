"""Join the epochs in order: each goes on where the one before it ended (docs/format.md, 13.5)."""

from __future__ import annotations

from hashlib import sha256

from epochseal.encoding import b64decode, b64encode
from epochseal.format.merkle import Frontier
from epochseal.format.seal_lines import Header, log_id
from epochseal.storage.segments import segment_stem
from epochseal.verifier.epoch_mark import marks_of
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.findings import Findings, Place, merged
from epochseal.verifier.joined_log import (
    Epoch,
    JoinedLog,
    JoinedSegment,
    PruneLine,
    RotateLine,
    Run,
    Signable,
)
from epochseal.verifier.resume_point import ResumePoint
from epochseal.verifier.snapshot import SegmentPart
from epochseal.verifier.workers import TaskResult

_TO_THE_END = 2**63


class Joiner:
    """Takes the results of segments in order and builds the joined log.

    Args:
        findings: where problems go.
        since: where the first of them begins, if not at the beginning of the log.
    """

    def __init__(self, findings: Findings, since: ResumePoint | None = None) -> None:
        self.log = JoinedLog()
        if since is not None:
            self.log.epoch_count, self.log.bytes = since.epochs, since.entry_bytes
            self.log.entries = since.entries
        self._since = since
        self._findings = findings
        self._before: Epoch | None = None
        self._last: EpochResult | None = None
        self._bare = False

    def leave_out(self) -> None:
        """A segment could not be read as it was: what stands behind it is compared with nothing."""
        self.log.left_out.append((self.log.tree_size, _TO_THE_END))
        self._before = self._last = None
        self._bare = False

    def join_segment(self, done: list[TaskResult]) -> None:
        """Join the epochs of one segment to those before."""
        log, part, began = self.log, done[0].task.part, self.log.entries
        first: Epoch | None = None
        since, self._since = self._since, None
        offset: int | None = 0 if since is None else since.log_offset
        for place, result in enumerate(item for task in done for item in task.results):
            offset = self._check_offset(part, result, offset)
            epoch = self._join_epoch(part, result, first_in_segment=place == 0 and since is None)
            first = first or epoch
        end = done[-1].end
        assert end is not None  # noqa: S101  # the last task of each segment looks at the end of its file
        unreadable = any(
            problem.kind == "entries_missing"
            for task in done
            for result in task.results
            for problem in result.problems
        )
        lasting = log.epochs[-1] if log.epochs else None
        log.marks.extend(marks_of(done))
        log.segments.append(
            JoinedSegment(
                part, end, done[-1].bounded, done[-1].too_far, began, log.entries, first, lasting, unreadable
            )
        )

    def _check_offset(self, part: SegmentPart, result: EpochResult, offset: int | None) -> int | None:
        """Where the next epoch's entries begin in the segment; None if damage leaves that unknown."""
        if result.header is None or result.damaged:
            return None
        if not result.blocks:
            return offset
        if offset is not None and result.begins is not None and result.begins != offset:
            at = Place(part.segment.number, part.first_entry, result.header.epoch, result.header.first_entry)
            self._findings.problem("counters", at, "the epoch begins at another byte of its segment")
        return result.offset

    def _join_epoch(self, part: SegmentPart, result: EpochResult, *, first_in_segment: bool) -> Epoch | None:
        """Join one epoch to those before it; one that belongs elsewhere is reported and left out."""
        log, found, header = self.log, self._findings, result.header
        number = header.epoch if header is not None else (log.last_header.epoch if log.last_header else 0)
        entry = header.first_entry if header is not None else result.next_entry
        place = Place(part.segment.number, part.first_entry, number, entry)
        if header is not None and self._is_foreign(place, result, header):
            return None
        if header is not None:
            self._check_place(place, part, header, first_in_segment=first_in_segment)
            if self._last is not None and self._last.header is not None:
                self._check_link(place, self._last, self._last.header, result, header)
        else:
            self._pass_over(result)
        found.problems.extend(merged(result.problems))
        self._warn(place, result)
        epoch = self._add(place, result, header) if header is not None else None
        log.notes += [(note, place) for note in result.notes]
        log.last = self._last = result
        log.epoch_count += 1
        log.entries = result.next_entry
        log.bytes += result.size
        if result.damaged and log.damaged_from is None:
            log.damaged_from = header.tree.size if header is not None else max(log.signable, default=0)
        return epoch

    def _pass_over(self, result: EpochResult) -> None:
        """What could not be read has its leaves all the same, and the log is as old as it was before."""
        if (last := self.log.last) is not None:
            result.tree = Frontier(last.tree.size, last.tree.hashes)
            result.last_time = last.last_time
        for leaf in result.unread:
            result.tree.append(leaf)
        result.unread.clear()
        result.index = result.tree.size

    def _warn(self, place: Place, result: EpochResult) -> None:
        found = self._findings
        if result.late is not None:
            found.problem("epoch_overrun", place, f"epoch {place.epoch} went on beyond its end", *result.late)
        if result.clock_back:
            detail = f"{result.clock_back} times in this epoch; times are no proof"
            found.warn("clock_back", place, detail, result.next_entry)
        for entry, name, skipped in result.gaps:
            text = (
                f"{skipped} bytes of {name} were left out" if skipped else f"entries of {name} may be missing"
            )
            found.warn("source_gap", place, f"{text} near entry {entry}", entry)

    def _is_foreign(self, place: Place, result: EpochResult, header: Header) -> bool:
        """Whether this epoch cannot stand behind the one before it; reported if so."""
        before = self._last.header if self._last is not None else None
        if self._last is None or before is None:
            return False
        log = b64encode(log_id(self._last.leaf)) if before.epoch == 0 else before.log
        last = result.next_entry - 1
        if (header.origin, header.log) != (before.origin, log):
            detail = f"log {header.log} of {header.origin}"
            self._findings.problem("foreign_log", place, detail, place.entry, last)
        elif header.epoch <= before.epoch:
            detail = f"epoch {header.epoch} follows epoch {before.epoch}"
            self._findings.problem("epoch_misplaced", place, detail, place.entry, last)
        else:
            return False
        return True

    def _check_place(
        self, place: Place, part: SegmentPart, header: Header, *, first_in_segment: bool
    ) -> None:
        if header.segment != part.segment.number:
            detail = f"the epoch belongs to segment {header.segment}"
            self._findings.problem("segment_renamed", place, detail)
        elif first_in_segment and (stem := segment_stem(header.segment, header.time)) != part.segment.stem:
            self._findings.problem("segment_renamed", place, f"its name is {stem}")

    # --- links ----------------------------------------------------------------------------------------------

    def _check_link(
        self, place: Place, last: EpochResult, before: Header, result: EpochResult, header: Header
    ) -> None:
        found = self._findings
        if header.epoch > before.epoch + 1:
            detail = f"epochs {before.epoch + 1} to {header.epoch - 1}"
            found.problem("epoch_missing", place, detail, last.next_entry, place.entry - 1)
            return
        if header.link == "genesis":
            found.problem("link_broken", place, "a genesis stands in the middle of the log")
        # What was damaged is reported already: what follows would say the same again.
        if header.link == "carry" and last.end is None and not self._bare and not last.damaged:
            detail = f"epoch {before.epoch} has no end line"
            found.problem("end_missing", place, detail, last.next_entry, place.entry - 1)
        if not last.damaged and not result.damaged:
            self._check_join(place, last, header)
        carry = last.carry_in if self._bare else last.carry_out
        if header.link == "carry" and None not in {carry, result.carry_in} and carry != result.carry_in:
            found.problem("link_broken", place, "the carry is not that of the epoch before")

    def _check_join(self, place: Place, last: EpochResult, header: Header) -> None:
        found = self._findings
        if header.tree.size != last.tree.size:
            detail = f"lines {last.tree.size} to {header.tree.size - 1} of the tree"
            found.problem("line_missing", place, detail, last.next_entry, place.entry - 1)
            return
        if [b64decode(subtree, "frontier") for subtree in header.tree.frontier] != list(last.tree.hashes):
            first = last.header.first_entry if last.header is not None else place.entry
            detail = f"lines of epoch {header.epoch - 1} were changed"
            found.problem("tree_broken", place, detail, first, last.next_entry - 1)
        if b64decode(header.prev, "prev") != last.last_tag:
            detail = "the epoch quotes another last tag than the one before it ends with"
            found.problem("link_broken", place, detail)
        if header.first_entry != last.next_entry:
            ends = sorted((header.first_entry, last.next_entry))
            found.problem("counters", place, "the epoch begins at another entry", *ends)
        asked_last = header.asked.line == max(header.tree.size - 1, 0) and header.asked.tag == header.prev
        asked_before = last.asked_tag is not None and b64encode(last.asked_tag) == header.asked.tag
        if not (asked_last or (header.link == "carry" and asked_before)):
            detail = "the epoch quotes another tag of the line at which its key was asked for"
            found.problem("link_broken", place, detail)

    # --- runs -----------------------------------------------------------------------------------------------

    def _add(self, place: Place, result: EpochResult, header: Header) -> Epoch:
        log, last = self.log, self._last
        if log.left_out and log.left_out[-1][1] == _TO_THE_END:
            log.left_out[-1] = log.left_out[-1][0], header.tree.size
        # Of the first epoch present nobody knows any more: it may stand behind a close.
        handed_on = last is None or last.closed or self._bare
        self._bare = header.link == "carry" and handed_on and result.lines == 1
        if header.link != "carry" or last is None or not log.runs:
            log.runs.append(Run(header.tree.size if header.link != "carry" else None))
        run = log.runs[-1]
        epoch = Epoch(
            place=place,
            last_entry=max(result.next_entry - 1, place.entry),
            index=header.tree.size,
            stop=result.index,
            leaf=result.leaf,
            link=header.link,
            key=header.key,
            wrapped=sha256(b64decode(header.wrapped, "wrapped")).digest(),
            time=header.time,
            interval=header.interval,
            max_overdue=header.max_overdue,
            retention=header.retention,
            denies=header.denies.log if header.denies is not None else "",
            entries=result.sealed,
            end_reason=result.end.reason if result.end is not None else None,
            announced=result.announced,
            run=run,
            before=self._before,
            epochs_before=log.epoch_count,
            bytes_before=log.bytes,
            log_offset=result.begins,
            bare=self._bare,
        )
        run.epochs.append(epoch)
        log.epochs.append(epoch)
        if log.first is None:
            log.first, log.first_leaf = header, result.leaf
            if header.epoch:
                frontier = [b64decode(item, "frontier") for item in header.tree.frontier]
                root = Frontier(header.tree.size, frontier).root()
                log.signable[header.tree.size] = Signable(root, header.first_entry, 0, None, vouches=False)
        for leaf in result.last_leaves:
            entries = run.entries + leaf.sealed
            log.signable[leaf.size] = Signable(leaf.root, leaf.entry, entries, run, leaf.run is not None)
            if leaf.run is not None:
                self._check_run(place, run, leaf.run, leaf.size)
        run.entries += result.sealed
        log.prunes += [
            PruneLine(i.index, _at(place, i.entry), epoch, i.authentic, i.body) for i in result.prunes
        ]
        log.rotates += [
            RotateLine(i.index, _at(place, i.entry), epoch, i.authentic, i.body) for i in result.rotates
        ]
        log.behind += [(place, covered, *ends) for covered, ends in result.behind.items()]
        log.last_header = header
        self._before = epoch
        return epoch

    def _check_run(self, place: Place, run: Run, claim: int, size: int) -> None:
        if run.claim is None:
            run.claim = claim if run.start is None else run.start
        # Of a run that began in what has expired one thing is known: where it cannot have begun.
        if claim != run.claim or (run.start is None and claim >= run.epochs[0].index):
            detail = f"line {size - 1} says that its run began with line {claim}"
            self._findings.problem("run_broken", place, detail)


def _at(place: Place, entry: int) -> Place:
    return Place(place.segment, place.base, place.epoch, entry)
