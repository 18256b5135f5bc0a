"""What witnesses say of a log: the largest checkpoint that a quorum of them has cosigned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from epochseal.encoding import format_time
from epochseal.errors import FormatError, VerificationError
from epochseal.format.cosignature import WitnessKey, find_cosignatures
from epochseal.format.note import Note, parse_checkpoint, parse_note
from epochseal.format.witness_policy import Policy
from epochseal.verifier.link_epochs import Joiner


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Size of the largest witnessed tree, the entries in it, and who says so, each with the time."""

    size: int
    entries: int
    by: tuple[str, ...]


NOT_WITNESSED = Witnessed(0, 0, ())


def check_witnesses(notes: Iterable[bytes | None], joiner: Joiner, policy: Policy, now: int) -> Witnessed:
    """Find the largest cosigned checkpoint and report what the policy misses; `now` in ms.

    `notes` are the files `witnessed` and `checkpoint`, of which `checkpoint` has been held against the lines.
    """
    witnessed, checkpoint = notes
    _place(joiner)
    if witnessed is not None:
        joiner.check_note(witnessed, joiner.last.tree.size if joiner.last is not None else 0, joiner.entries)
    known = joiner.signers.bounds if joiner.signers is not None else {}
    if policy.logs and joiner.key is not None and not known.keys() & set(policy.logs):
        detail = f"the policy is not for the checkpoint key {joiner.key.vkey}"
        joiner.findings.problem("unknown_key", 0, max(joiner.entries - 1, 0), detail)
    best, why = NOT_WITNESSED, "there is no file `witnessed`"
    for raw in (witnessed, checkpoint):
        if raw is None:
            continue
        try:
            found = _quorum(parse_note(raw), joiner, policy)
        except FormatError:
            continue  # reported when it was held against the lines
        except VerificationError as exc:
            why = str(exc) if raw is witnessed or witnessed is None else why
            continue
        best = max(best, found, key=lambda item: item.size)
    if not best.size:
        joiner.findings.problem("not_witnessed", 0, max(joiner.entries - 1, 0), why)
    else:
        _check_tail(joiner, best, now)
    return best


def _place(joiner: Joiner) -> None:
    if joiner.last_header is not None:
        joiner.findings.segment, joiner.findings.epoch = joiner.last_header.segment, joiner.last_header.epoch


def _quorum(note: Note, joiner: Joiner, policy: Policy) -> Witnessed:
    size = parse_checkpoint(note.text).size
    try:
        found = find_cosignatures(note, policy.keys())
    except VerificationError as exc:
        joiner.findings.problem("checkpoint_bad", joiner.entries, joiner.entries, str(exc))
        raise
    policy.check(list(found))
    if size not in joiner.signed_sizes:
        raise VerificationError(f"what was cosigned, {size} lines, is no signed checkpoint of these lines")
    names = {key.key_id: _told(key, time) for key, (_, time) in found.items()}
    return Witnessed(size, joiner.roots[size][1], tuple(names.values()))


def _told(key: WitnessKey, time: int) -> str:
    return f"{key.name} {format_time(time * 1000)}"


def _check_tail(joiner: Joiner, best: Witnessed, now: int) -> None:
    last = joiner.last
    if last is None or best.size >= last.index:
        return
    closed = last.end is not None and last.end.reason == "close"
    # As long as a signature may be late: the witnessed header is the one that cannot have been made up since.
    due = next((by for size, by in reversed(joiner.sign_by) if size < best.size), 0)
    if closed or now > due:
        detail = f"lines {best.size} to {last.index - 1} of the tree"
        first = best.entries
        joiner.findings.problem("unwitnessed_tail", first, max(joiner.entries - 1, first), detail)
