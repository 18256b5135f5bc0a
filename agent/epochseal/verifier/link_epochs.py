"""Link epochs in order: each goes on where the one before it ended."""

from __future__ import annotations

from epochseal.encoding import b64decode, b64encode
from epochseal.format.seal_lines import Header
from epochseal.storage.segments import segment_stem
from epochseal.verifier.check_epoch import EpochResult
from epochseal.verifier.key_history import Place, Rotation
from epochseal.verifier.linked_log import LinkedLog, SealedNote
from epochseal.verifier.problem_collector import merged
from epochseal.verifier.snapshot import SegmentPart


def link_epoch(log: LinkedLog, part: SegmentPart, result: EpochResult, *, first_in_segment: bool) -> None:
    """Link one epoch to those before it; one that belongs elsewhere is reported and left out."""
    found, header = log.found, result.header
    found.stand_at(part.segment.number, part.first_entry, header.epoch if header is not None else found.epoch)
    if header is not None and _is_foreign(log, result, header):
        return
    if header is not None:
        _check_place(log, part, header, first_in_segment=first_in_segment)
        if log.last is not None and log.last_header is not None:
            _check_link(log, log.last, log.last_header, result, header)
        if log.first is None:
            log.first = header
            log.roots[header.tree.size] = (header.tree.to_frontier().root(), header.first_entry)
        if header.link != "carry":
            log.unlinked.append((result, part.first_entry))
        log.sign_by.append((header.tree.size, header.time + header.interval + header.max_overdue))
        log.last_header = header
        _add_keys(log, part, result, header)
    found.problems.extend(merged(result.problems))
    if result.clock_back:
        detail = f"{result.clock_back} times in this epoch; times are no proof"
        found.warn("clock_back", result.entries, detail)
    for entry, name in result.gaps:
        found.warn("source_gap", entry, f"entries of {name} may be missing near entry {entry}")
    if result.damaged and header is not None:
        log.damaged_sizes.append((header.tree.size, max(result.index, header.tree.size + 1)))
    log.roots.update(result.roots)
    for raw, lines_before, entry in result.notes:
        place = Place(part.segment.number, part.first_entry, found.epoch, entry)
        log.notes.append(SealedNote(raw, lines_before, place))
    log.prunes.extend(result.prunes)
    log.last = result
    log.epochs += 1
    log.entries = result.entries
    log.bytes += result.size


def _add_keys(log: LinkedLog, part: SegmentPart, result: EpochResult, header: Header) -> None:
    at, last = header.first_entry, max(result.entries - 1, header.first_entry)
    base = part.segment.number, part.first_entry, header.epoch
    for index, body, entry in result.rotates:
        log.rotations.append(Rotation(index, body, result.end_size, Place(*base, entry), body.key == "epoch"))
    rotates = [body for _, body, _ in result.rotates]
    if log.epoch_keys.add_epoch(header, Place(*base, at), (result.index, last), rotates):
        detail = f"epoch {header.epoch} has the key {header.key}, which had been replaced"
        log.found.problem("key_retired", at, last, detail)


def _is_foreign(log: LinkedLog, result: EpochResult, header: Header) -> bool:
    """Whether this epoch cannot stand behind the one before it; reported if so."""
    found, before, at = log.found, log.last_header, header.first_entry
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


def _check_place(log: LinkedLog, part: SegmentPart, header: Header, *, first_in_segment: bool) -> None:
    at, name = header.first_entry, segment_stem(header.segment, header.time)
    if header.segment != part.segment.number:
        log.found.problem("segment_renamed", at, at, f"the epoch belongs to segment {header.segment}")
    elif first_in_segment and name != part.segment.stem:
        log.found.problem("segment_renamed", at, at, f"its name is {name}")


def _check_link(
    log: LinkedLog, last: EpochResult, before: Header, result: EpochResult, header: Header
) -> None:
    at = header.first_entry
    if header.epoch > before.epoch + 1:
        # After an epoch line that cannot be read a number seems to be left out: it may be that epoch's own,
        # and the damaged line is reported already.
        if last.header is not None:
            detail = f"epochs {before.epoch + 1} to {header.epoch - 1}"
            log.found.problem("epoch_missing", last.entries, at - 1, detail)
        return
    _check_end(log, last, header)
    if last.header is not None and not last.damaged and not result.damaged:
        _check_counters(log, last, header)
        _check_tags(log, last, header)
    unknown = None in {last.carry_out, result.carry_in}
    if header.link == "carry" and not unknown and last.carry_out != result.carry_in:
        log.found.problem("link_broken", at, at, "the carry is not that of the epoch before")


def _check_end(log: LinkedLog, last: EpochResult, header: Header) -> None:
    """The last line before must be one that a beginning with this link may follow."""
    found, at = log.found, header.first_entry
    reason = last.end.reason if last.end is not None else None
    if header.link == "cold":
        detail = f"epoch {header.epoch} began without the carry of the one before"
        found.problem("cold_start", at, at, detail)
    elif reason is None and last.header is not None and not last.damaged:
        found.problem("end_missing", last.entries, at - 1, f"epoch {last.header.epoch} has no end line")
    if header.link == "reopen":
        found.warn("reopen", at, f"epoch {header.epoch}")
        if reason not in (None, "close"):
            found.problem("link_broken", at, at, f"a reopen follows an end with reason {reason}")
        if log.public:
            log.closes.append((header.tree.size, at))
    if header.link == "genesis":
        found.problem("link_broken", at, at, "a genesis stands in the middle of the log")


def _check_counters(log: LinkedLog, last: EpochResult, header: Header) -> None:
    """Lines, entries and the tree go on as the epoch line states them."""
    found, at = log.found, header.first_entry
    if header.tree.size != last.tree.size:
        detail = f"lines {last.tree.size} to {header.tree.size - 1} of the tree"
        found.problem("line_missing", last.entries, at - 1, detail)
        return
    if header.tree.to_frontier() != last.tree:
        first = last.header.first_entry if last.header is not None else at
        detail = f"lines of epoch {header.epoch - 1} were changed"
        found.problem("tree_broken", first, max(last.entries - 1, first), detail)
    if b64decode(header.prev, "prev") != last.last_tag:
        detail = "the epoch quotes another last tag than the one before it ends with"
        found.problem("link_broken", at, at, detail)
    if header.first_entry != last.entries:
        first, stop = min(last.entries, at), max(last.entries, at)
        found.problem("counters", first, stop, "the epoch begins at another entry")


def _check_tags(log: LinkedLog, last: EpochResult, header: Header) -> None:
    """The tag that the agent quoted when it asked for the epoch's secret is one of this log."""
    at = header.first_entry
    if header.tree.size != last.tree.size:
        return
    asked_last = header.asked.line == max(header.tree.size - 1, 0) and header.asked.tag == header.prev
    asked_before = last.asked_tag is not None and b64encode(last.asked_tag) == header.asked.tag
    if not (asked_last or (header.link == "carry" and asked_before)):
        detail = "the epoch quotes another tag of the line at which its key was asked for"
        log.found.problem("link_broken", at, at, detail)
