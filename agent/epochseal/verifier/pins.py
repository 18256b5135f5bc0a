"""What a verifier knows of a log beforehand, out of a trust file (docs/trust.md), and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from epochseal.encoding import b64decode, b64encode
from epochseal.format.merkle import EMPTY_ROOT
from epochseal.keys import PublicKey
from epochseal.verifier.link_epochs import Joiner
from epochseal.verifier.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the log must be, as far as it is known.

    Args:
        checkpoint_key: the one that signs for the log.
        origin: name of the log; None if any is accepted.
        log: its random id, 32 bytes; None if any is accepted.
        epoch_keys: ids of the wrapping keys that its epochs may have; None if any are accepted.
        cold: epochs that may begin cold, each with the reason that its operator gave.
        size, root, note: the largest checkpoint that was seen, its signature verified; size 0 for none.
    """

    checkpoint_key: PublicKey
    origin: str | None = None
    log: bytes | None = None
    epoch_keys: frozenset[str] | None = None
    cold: Mapping[int, str] = field(default_factory=dict)
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes = b""


def check_pins(joiner: Joiner, pins: Pins, named: PublicKey | None) -> None:
    """Hold a log against its pins: after its notes, before its starts are judged.

    What was seen and fits is as good as a note of the log. `named` is a checkpoint key that was named beside
    the pins.
    """
    found, first = joiner.findings, joiner.first
    found.segment, found.epoch, found.base = 0, 0, 0
    _accept_cold(joiner, pins)
    known = {key.key for key in joiner.signers.bounds} if joiner.signers is not None else set()
    if named is not None and named not in known:
        detail = "the checkpoint key that was named is not the one that the trust file pins"
        found.problem("unknown_key", 0, max(joiner.entries - 1, 0), detail)
    if first is None or pins.origin in (None, first.origin):
        # Of another origin, it is another log: `wrong_origin` says so.
        _check_seen(joiner, pins)
    for run in joiner.epoch_keys.runs if pins.epoch_keys is not None else ():
        if pins.epoch_keys is not None and run.key not in pins.epoch_keys:
            joiner.stand_at(run.place)
            detail = f"the trust file does not pin the epoch key {run.key}"
            found.problem("unknown_key", run.place.entry, run.last_entry, detail)


def _accept_cold(joiner: Joiner, pins: Pins) -> None:
    accepted = [
        item for item in joiner.findings.problems if item.kind == "cold_start" and item.epoch in pins.cold
    ]
    for item in accepted:
        joiner.findings.problems.remove(item)
        joiner.findings.warnings.append(_accepted(item, pins.cold[item.epoch]))


def _accepted(item: Problem, reason: str) -> Problem:
    return replace(item, kind="cold_accepted", detail=f"epoch {item.epoch}: {reason}")


def _check_seen(joiner: Joiner, pins: Pins) -> None:
    found, first, last = joiner.findings, joiner.first, max(joiner.entries - 1, 0)
    tree_size = joiner.last.tree.size if joiner.last is not None else 0
    if first is not None and pins.log is not None and b64decode(first.log, "log") != pins.log:
        # What the pinned key has not signed is a stranger's: `start_unsigned` says so.
        if joiner.signed_size:
            found.problem("log_replaced", 0, last, f"log {first.log}; pinned is {b64encode(pins.log)}")
    elif tree_size < pins.size:
        detail = f"{pins.size} lines were seen, {tree_size} are here"
        found.problem("rolled_back", joiner.entries, joiner.entries, detail)
    elif first is not None and 0 < pins.size < first.tree.size:
        detail = f"{pins.size} lines were seen, the log begins at line {first.tree.size}"
        found.problem("trust_expired", 0, max(first.first_entry - 1, 0), detail)
    elif pins.size and not joiner.is_damaged_before(pins.size):
        root, entries = joiner.roots.get(pins.size, (b"", joiner.entries))
        if root != pins.root:
            found.problem("forked", 0, max(entries - 1, 0), f"the first {pins.size} lines are others")
            return
        joiner.signed_sizes.add(pins.size)
        if pins.size > joiner.signed_size:
            joiner.signed_size, joiner.signed_entries, joiner.signed_note = pins.size, entries, pins.note
            joiner.signed_by = joiner.key
