"""What witnesses say of a log: the largest checkpoint that a quorum of them has cosigned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from epochseal.encoding import format_time
from epochseal.errors import FormatError, VerificationError
from epochseal.format.cosignature import WitnessKey, find_cosignatures
from epochseal.format.note import Note, parse_checkpoint, parse_note
from epochseal.format.witness_policy import Policy
from epochseal.verifier.checkpoint_findings import check_checkpoint
from epochseal.verifier.linked_log import LinkedLog


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Size of the largest witnessed tree, the entries in it, and who says so, each with the time."""

    size: int
    entries: int
    by: tuple[str, ...]


NOT_WITNESSED = Witnessed(0, 0, ())


def check_witnesses(notes: Iterable[bytes | None], log: LinkedLog, policy: Policy, now: int) -> Witnessed:
    """Find the largest cosigned checkpoint and report what the policy misses; `now` in ms.

    `notes` are the files `witnessed` and `checkpoint`, of which `checkpoint` has been held against the lines.
    """
    witnessed, checkpoint = notes
    log.stand_at_end()
    if witnessed is not None:
        check_checkpoint(log, witnessed, log.entries)
    if policy.logs and log.key is not None and not log.known_keys & set(policy.logs):
        detail = f"the policy is not for the checkpoint key {log.key.vkey}"
        log.found.problem("unknown_key", 0, log.last_entry, detail)
    best, why = NOT_WITNESSED, "there is no file `witnessed`"
    for raw in (witnessed, checkpoint):
        if raw is None:
            continue
        try:
            found = _quorum(parse_note(raw), log, policy)
        except FormatError:
            continue  # reported when it was held against the lines
        except VerificationError as exc:
            why = str(exc) if raw is witnessed or witnessed is None else why
            continue
        best = max(best, found, key=lambda item: item.size)
    if not best.size:
        log.found.problem("not_witnessed", 0, log.last_entry, why)
    else:
        _check_tail(log, best, now)
    return best


def _quorum(note: Note, log: LinkedLog, policy: Policy) -> Witnessed:
    size = parse_checkpoint(note.text).size
    try:
        found = find_cosignatures(note, policy.keys())
    except VerificationError as exc:
        log.found.problem("checkpoint_bad", log.entries, log.entries, str(exc))
        raise
    policy.check(list(found))
    if size not in log.signed_sizes:
        raise VerificationError(f"what was cosigned, {size} lines, is no signed checkpoint of these lines")
    names = {key.key_id: _told(key, time) for key, (_, time) in found.items()}
    return Witnessed(size, log.roots[size][1], tuple(names.values()))


def _told(key: WitnessKey, time: int) -> str:
    return f"{key.name} {format_time(time * 1000)}"


def _check_tail(log: LinkedLog, best: Witnessed, now: int) -> None:
    last = log.last
    if last is None or best.size >= last.index:
        return
    # Witnesses have as long as a signature may take.
    if log.closed or now > log.sign_by_of(best.size):
        detail = f"lines {best.size} to {last.index - 1} of the tree"
        first = best.entries
        log.found.problem("unwitnessed_tail", first, max(log.entries - 1, first), detail)
