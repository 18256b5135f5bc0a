"""Signed checkpoints held against the lines, and epochs that only a checkpoint can vouch for."""

from __future__ import annotations

from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import (
    Checkpoint,
    Note,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.format.seal_lines import Header
from epochseal.verifier.key_history import Signers, find_endorsed
from epochseal.verifier.linked_log import LinkedLog


def check_checkpoints(log: LinkedLog, checkpoint_file: bytes | None) -> None:
    """Hold every signed checkpoint of a log against its lines."""
    _follow_keys(log, checkpoint_file)
    size = 0
    for note in log.notes:
        log.stand_at(note.place)
        at = note.place.entry
        checkpoint = check_checkpoint(log, note.raw, at)
        if checkpoint is None or checkpoint.size > log.tree_size:
            continue
        # Lines are durable before they are signed, and checkpoints are signed in order.
        before = note.lines_before
        if not log.is_damaged_before(before) and not size <= checkpoint.size <= before:
            detail = f"the checkpoint of {checkpoint.size} lines stands behind line {before - 1}"
            log.found.problem("line_misplaced", at, at, detail)
        size = max(size, checkpoint.size)
    if checkpoint_file is not None:
        check_checkpoint(log, checkpoint_file, log.entries)
    elif log.notes:
        log.found.warn("checkpoint_missing", log.entries, "checkpoint")


def check_checkpoint(log: LinkedLog, raw: bytes, at: int) -> Checkpoint | None:
    """Hold one signed checkpoint against the lines; None if it is none by the key of this log."""
    found = log.found
    try:
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        signed_by = _signed_by(log, note, checkpoint)
    except UnknownKey as exc:
        if log.signers is None or not log.signers.passes_over(note, checkpoint.size):
            found.problem("unknown_key", at, at, f"checkpoint: {exc}")
        return None
    except (FormatError, VerificationError) as exc:
        found.problem("checkpoint_bad", at, at, str(exc))
        return None
    if log.first is not None and checkpoint.size < log.first.tree.size:
        # It was signed late, and the lines that it covers have expired: nothing is left to compare it with.
        return checkpoint
    root, entries = log.roots.get(checkpoint.size, (b"", 0))
    if checkpoint.size > log.tree_size:
        here = f"{log.tree_size} are here: the end of the log was cut off"
        detail = f"signed for {checkpoint.size} lines, {here}"
        found.problem("checkpoint_ahead", log.entries, log.entries, detail)
    elif root != checkpoint.root:
        _report_mismatch(log, checkpoint.size)
    elif signed_by:
        # Where two keys hand over, both sign, the new one last.
        log.take_checkpoint(checkpoint.size, entries, raw, signed_by[-1])
    return checkpoint


def check_starts(log: LinkedLog) -> None:
    """An epoch that nothing carries into shows by its signed start that the agent began it."""
    found = log.found
    for result, base in log.unlinked:
        header = result.header
        if header is None or header.tree.size + 1 in log.signed_sizes or result.damaged:
            continue
        found.stand_at(result.segment, base, header.epoch)
        if result.blocks or log.signed_size <= header.tree.size:
            _report_unsigned(log, header, result.entries)
    first = log.first
    if first is not None and first.link == "carry" and log.signed_size <= first.tree.size:
        # The epoch before it, whose carry would show who began this one, has expired: only a signature can.
        found.stand_at(first.segment, first.first_entry, first.epoch)
        _report_unsigned(log, first, log.entries)
    for size, at in log.closes:
        if size not in log.signed_sizes:
            found.problem("close_unsigned", at, at, f"before line {size} of the tree")


def _follow_keys(log: LinkedLog, checkpoint_file: bytes | None) -> None:
    origin = log.first.origin if log.first is not None else ""
    raw = [note.raw for note in log.notes]
    raw += [checkpoint_file] if checkpoint_file is not None else []
    find_endorsed(log.rotations, raw, log.roots, log.key.name if log.key is not None else origin)
    if log.signers is not None:
        log.signers.follow(log.rotations)
    if log.beside is not None and log.key is not None:
        # A key beside a trust file is a later one of this log, as the operator says for its owner: it is
        # believed if endorsed rotations lead from it back to the pinned key.
        beside = Signers(log.beside)
        beside.follow(log.rotations)
        log.signers = beside if log.key in beside.bounds else log.signers


def _signed_by(log: LinkedLog, note: Note, checkpoint: Checkpoint) -> tuple[VerifierKey, ...]:
    """The known keys that signed it; none if no key was named, which leaves the signature unchecked."""
    origin = log.first.origin if log.first is not None else checkpoint.origin
    if checkpoint.origin != origin:
        raise VerificationError(f"the checkpoint is of {checkpoint.origin!r}")
    if log.signers is None:
        return ()
    try:
        return verify_note(note, log.signers.keys_for(checkpoint.size))
    except UnknownKey as exc:
        raise UnknownKey(f"{exc}{log.signers.explain(checkpoint.size)}") from exc


def _report_mismatch(log: LinkedLog, size: int) -> None:
    # Damaged lines, and a smaller checkpoint that differs, are reported already: each explains this one.
    if log.is_damaged_before(size) or log.mismatched:
        return
    log.mismatched = True
    after = [entries for known, (_, entries) in log.roots.items() if known >= size]
    last = min(after, default=log.entries) - 1
    detail = f"the checkpoint of {size} lines"
    log.found.problem("checkpoint_mismatch", log.signed_entries, last, detail)


def _report_unsigned(log: LinkedLog, header: Header, stop: int) -> None:
    at = header.first_entry
    detail = f"epoch {header.epoch} ({header.link}): anybody could have begun it"
    if log.key is None:
        detail += "; no checkpoint key was named"
    log.found.problem("start_unsigned", at, max(stop - 1, at), detail)
