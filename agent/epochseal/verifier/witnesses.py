"""What witnesses say of a log: the largest checkpoint that a quorum has cosigned (docs/format.md, 13.6)."""

from __future__ import annotations

import msgspec

from epochseal.encoding import format_time
from epochseal.errors import FormatError, VerificationError
from epochseal.format.cosignature import WitnessKey, find_cosignatures
from epochseal.format.note import Note, parse_checkpoint, parse_note
from epochseal.format.witness_policy import Policy
from epochseal.verifier.checkpoint_check import Checkpoints


class Witnessed(msgspec.Struct, frozen=True):
    """Size of the largest witnessed tree, the entries in it, and who says so, each with the time."""

    size: int
    entries: int
    by: tuple[str, ...]


NOT_WITNESSED = Witnessed(0, 0, ())


def check_witnesses(
    witnessed: bytes | None, checkpoint: bytes | None, checkpoints: Checkpoints, policy: Policy, now: int
) -> Witnessed:
    """Find the largest cosigned checkpoint and report what the policy misses; `now` in ms.

    `witnessed` and `checkpoint` are the files of these names; both have been held against the lines.
    """
    log, findings, keys = checkpoints.log, checkpoints.findings, checkpoints.keys
    at, last = log.end_place, max(log.entries - 1, 0)
    if policy.logs and keys is not None and not keys.bounds.keys() & set(policy.logs):
        detail = f"the policy is not for the checkpoint key {keys.named.vkey}"
        findings.problem("unknown_key", at, detail, 0, last)
    best, why, unsettled = NOT_WITNESSED, "there is no file `witnessed`", False
    for raw in (witnessed, checkpoint):
        if raw is None:
            continue
        try:
            found = _quorum(parse_note(raw), raw, checkpoints, policy)
        except FormatError:
            continue  # reported when it was held against the lines
        except VerificationError as exc:
            why = str(exc) if raw is witnessed or witnessed is None else why
            continue
        if found is None:
            unsettled = True
        else:
            best = max(best, found, key=lambda item: item.size)
    if best.size:
        _check_tail(checkpoints, best, now)
    elif not unsettled:
        findings.problem("not_witnessed", at, why, 0, last)
    return best


def _quorum(note: Note, raw: bytes, checkpoints: Checkpoints, policy: Policy) -> Witnessed | None:
    """What a quorum cosigned; None if its last line is in what did not settle, so that nobody can compare."""
    size = parse_checkpoint(note.text).size
    try:
        found = find_cosignatures(note, policy.keys())
    except VerificationError as exc:
        checkpoints.findings.problem("checkpoint_bad", checkpoints.log.end_place, str(exc))
        raise
    policy.check(list(found))
    if checkpoints.log.is_left_out(size):
        return None
    if raw not in checkpoints.valid_files:
        raise VerificationError(f"what was cosigned, {size} lines, is no signed checkpoint of these lines")
    at = checkpoints.log.signable.get(size)
    names = {key.key_id: _told(key, time) for key, (_, time) in found.items()}
    return Witnessed(size, at.entry if at is not None else 0, tuple(names.values()))


def _told(key: WitnessKey, time: int) -> str:
    return f"{key.name} {format_time(time * 1000)}"


def _check_tail(checkpoints: Checkpoints, best: Witnessed, now: int) -> None:
    log = checkpoints.log
    if best.size >= log.tree_size:
        return
    # The last epoch whose line was witnessed cannot have been made up since.
    under = next((epoch for epoch in reversed(log.epochs) if epoch.index < best.size), None)
    late = under is not None and now - under.time > 2 * under.interval + under.max_overdue
    if log.closed or late:
        detail = f"lines {best.size} to {log.tree_size - 1} of the tree"
        last = log.entries - 1
        checkpoints.findings.problem("unwitnessed_tail", log.end_place, detail, best.entries, last)
