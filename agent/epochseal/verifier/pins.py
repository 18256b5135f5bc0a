"""What a verifier knows of a log beforehand, out of a trust file (docs/trust.md), and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from epochseal.encoding import b64decode, b64encode
from epochseal.format.merkle import EMPTY_ROOT
from epochseal.keys import PublicKey
from epochseal.verifier.linked_log import LinkedLog
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


def check_pins(log: LinkedLog, pins: Pins, named: PublicKey | None) -> None:
    """Hold a log against its pins; `named` is a checkpoint key that was named beside them.

    To be called after `check_checkpoints`, which finds what the log's own checkpoints cover, and before
    `check_starts`, because the pinned checkpoint may be the only one that covers a start.
    """
    found, first = log.found, log.first
    found.stand_at(0, 0, 0)
    _accept_cold(log, pins)
    known = {key.key for key in log.known_keys}
    if named is not None and named not in known:
        detail = "the checkpoint key that was named is not the one that the trust file pins"
        found.problem("unknown_key", 0, log.last_entry, detail)
    if first is None or pins.origin in (None, first.origin):
        # A log of another origin is another log, as `wrong_origin` says: what was seen does not concern it.
        _check_seen(log, pins)
    for run in log.epoch_keys.runs if pins.epoch_keys is not None else ():
        if pins.epoch_keys is not None and run.key not in pins.epoch_keys:
            log.stand_at(run.place)
            detail = f"the trust file does not pin the epoch key {run.key}"
            found.problem("unknown_key", run.place.entry, run.last_entry, detail)


def _accept_cold(log: LinkedLog, pins: Pins) -> None:
    accepted = [item for item in log.found.problems if item.kind == "cold_start" and item.epoch in pins.cold]
    for item in accepted:
        log.found.problems.remove(item)
        log.found.warnings.append(_accepted(item, pins.cold[item.epoch]))


def _accepted(item: Problem, reason: str) -> Problem:
    return replace(item, kind="cold_accepted", detail=f"epoch {item.epoch}: {reason}")


def _check_seen(log: LinkedLog, pins: Pins) -> None:
    found, first, last = log.found, log.first, log.last_entry
    if first is not None and pins.log is not None and b64decode(first.log, "log") != pins.log:
        # If the pinned key signed nothing here, anybody may have made this log, as `start_unsigned` says.
        # Only what it did sign was put there by the owner of the key.
        if log.signed_size:
            found.problem("log_replaced", 0, last, f"log {first.log}; pinned is {b64encode(pins.log)}")
    elif log.tree_size < pins.size:
        detail = f"{pins.size} lines were seen, {log.tree_size} are here"
        found.problem("rolled_back", log.entries, log.entries, detail)
    elif first is not None and 0 < pins.size < first.tree.size:
        detail = f"{pins.size} lines were seen, the log begins at line {first.tree.size}"
        found.problem("trust_expired", 0, max(first.first_entry - 1, 0), detail)
    elif pins.size and not log.is_damaged_before(pins.size):
        root, entries = log.roots.get(pins.size, (b"", log.entries))
        if root != pins.root:
            found.problem("forked", 0, max(entries - 1, 0), f"the first {pins.size} lines are others")
            return
        # The pinned checkpoint fits these lines, and its signature was verified: it counts as if it stood in
        # the log, even where somebody has removed it there.
        log.take_checkpoint(pins.size, entries, pins.note, log.key)
