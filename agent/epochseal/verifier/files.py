"""What stands in the directory besides lines and entries that hold (docs/format.md, 13.3 and 13.4)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from epochseal.format.seal_lines import Prune
from epochseal.storage.segments import FOLDER, Segment
from epochseal.verifier.findings import Findings, Place
from epochseal.verifier.joined_log import Epoch, JoinedLog, JoinedSegment
from epochseal.verifier.snapshot import Snapshot


def prune_line(log: JoinedLog) -> Prune | None:
    """*The* prune line: of those that count the one that reaches furthest, of several with that the first."""
    counted = [line.body for line in log.prunes if line.counts()]
    return max(counted, key=lambda body: body.segment, default=None)


def is_removed(segment: Segment, prune: Prune | None) -> bool:
    """Whether it counts as removed: its removal was interrupted, as far as it has expired."""
    whole = segment.seal is not None and bool(segment.logs)
    return not whole and prune is not None and segment.number <= prune.segment


class Files:
    """The segments of a snapshot, whole or not, with what was joined of them."""

    def __init__(self, snapshot: Snapshot, log: JoinedLog, findings: Findings, prune: Prune | None) -> None:
        self._plan, self._log, self._findings = snapshot, log, findings
        self._joined = {item.part.segment.stem: item for item in log.segments}
        # One of each number is read, in their order.
        self._numbers = [item.part.segment.number for item in log.segments]
        self._by_number = dict(zip(self._numbers, log.segments, strict=True))
        # Of a segment that was gone each time nothing is said but that.
        self._segments = [segment for segment in snapshot.listing.segments if not is_removed(segment, prune)]
        self.last_number = max((segment.number for segment in self._segments), default=0)
        """The greatest number of a segment that does not count as removed, 0 if there is none."""
        self._expired = {
            path.name
            for segment in snapshot.listing.segments
            if is_removed(segment, prune)
            for path in segment.files()
        }

    def check(self, accepted: Mapping[bytes, str], *, copied: bool) -> None:
        """Report files that are missing, there twice, or hold more than they may.

        `accepted` are the starts that a person has accepted; `copied`: what the file `checkpoint` states was
        there before the log file was copied.
        """
        found = self._findings
        self._check_names()
        self._check_numbers()
        for segment in self._segments:
            if segment.number in self._plan.gone:
                continue
            joined = self._joined.get(segment.stem)
            if joined is not None:
                self._check_read(joined)
            self._check_set_aside(segment, accepted)
        for place, covered, first, last in self._log.behind:
            kind = "entries_missing" if covered and copied else "log_behind"
            found.problem(kind, place, "the last log file ends before them", first, last)

    def _check_names(self) -> None:
        for name in self._plan.not_files:
            if name not in self._expired:
                where = "" if name in {"checkpoint", "witnessed", FOLDER} else f"{FOLDER}/"
                self._findings.problem("not_a_file", Place(), f"{where}{name}")
        for name in self._plan.listing.foreign:
            self._findings.warn("foreign_file", Place(), name)

    def _check_numbers(self) -> None:
        found, before, ended = self._findings, None, 0
        for segment in self._segments:
            joined = self._joined.get(segment.stem)
            number, entry = segment.number, joined.began if joined is not None else ended
            at = Place(number, entry, 0, entry)
            gone = number in self._plan.gone
            if before is not None and number == before and not gone:
                found.problem("segment_duplicate", at, f"number {before} is there twice: {segment.stem}")
            elif before is not None and number > before + 1 and not {before, number} & self._plan.gone:
                found.problem("segment_missing", at, f"segments {before + 1} to {number - 1}", ended, entry)
            before = number
            if gone:
                found.problem(
                    "unsettled", at, f"a file of {segment.stem} was gone, or another one, each time"
                )
            elif not (segment.seal and segment.logs):
                self._check_half(segment, at)
            if len(segment.logs) > 1 and not gone:
                names = ", ".join(path.name for path in segment.logs)
                found.problem("segment_duplicate", at, f"the log is there in several forms: {names}")
            ended = max(ended, entry, joined.ended if joined is not None else 0)

    def _check_half(self, segment: Segment, at: Place) -> None:
        """One of the two files is missing: a start may have been interrupted between making them."""
        is_last = segment.number == self.last_number
        if is_last and segment.stem in self._plan.empty_halves:
            return
        if is_last and [path.suffix for path in segment.logs] == [".log"]:
            # The log file gets its name first: a copy may have listed the names between the two.
            self._findings.problem("seal_behind", at, f"{segment.stem}.seal is missing")
        else:
            ending = ".seal" if segment.seal is None else ".log"
            self._findings.problem("segment_incomplete", at, f"{segment.stem}{ending} is missing")

    def _check_read(self, joined: JoinedSegment) -> None:
        found, part, end = self._findings, joined.part, joined.end
        at = Place(part.segment.number, part.first_entry, _number(joined.lasting), joined.ended)
        closed = joined.lasting is not None and joined.lasting.end_reason == "close"
        if part.lines.leading:
            detail = f"{part.lines.leading} bytes of lines stand before the first epoch line"
            stop = part.first_entry if part.epochs else part.end_entry
            found.problem("line_misplaced", at, detail, joined.began, stop - 1)
        if part.lines.torn:
            kind = "torn_line" if part.last else "line_altered"
            found.problem(kind, at, f"{part.lines.torn} bytes in {part.seal.name}")
        # Nobody appends to a compressed file: it has no open end.
        is_open = part.last and not closed and part.log.suffix == ".log"
        if not part.epochs and not (part.last and end.empty and end.whole):
            # A copy may have taken the seal file when it was just begun, and the log file later.
            kind = "seal_behind" if part.last and part.log.suffix == ".log" else "segment_incomplete"
            found.problem(kind, at, f"{part.seal.name} holds no epoch")
        elif end.extra and not is_open:
            found.problem("foreign_bytes", at, f"after byte {part.sealed} of {part.log.name}")
        elif not end.whole and not joined.unreadable:
            found.problem("foreign_bytes", at, f"{part.log.name} is not whole")
        if not joined.bounded:
            found.problem("too_much_work", at, f"{part.log.name} asks for more than it may")
        elif joined.too_far:
            detail = f"{part.log.name} takes {part.stored} bytes on the disk; what follows byte "
            detail += f"{part.reading.plain} of its content was not read"
            found.problem("expands_too_far", at, detail, joined.began, joined.ended - 1)

    def _check_set_aside(self, segment: Segment, accepted: Mapping[bytes, str]) -> None:
        if segment.unsealed is None and segment.torn is None:
            return
        following = self._by_number.get(segment.number + 1)
        if following is not None and following.first is not None and following.first.leaf in accepted:
            return
        place = bisect_right(self._numbers, segment.number)
        up_to = self._log.segments[place - 1] if place else None
        lasting: Epoch | None = up_to.lasting if up_to is not None else None
        entry, base = (up_to.ended, up_to.part.first_entry) if up_to is not None else (0, 0)
        at = Place(segment.number, base, _number(lasting), entry)
        if segment.unsealed is not None:
            bad = segment.seal is None or lasting is None or lasting.end_reason == "close"
            kind = "bad_unsealed" if bad else "unsealed_bytes"
            self._findings.problem(kind, at, segment.unsealed.name)
        if segment.torn is not None:
            kind = "bad_unsealed" if segment.seal is None else "torn_lines"
            self._findings.problem(kind, at, segment.torn.name)


def _number(epoch: Epoch | None) -> int:
    return epoch.place.epoch if epoch is not None else 0
