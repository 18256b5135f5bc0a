"""What rotate lines say of the keys that a verification relies on (docs/format.md, section 13.6)."""

from __future__ import annotations

from epochseal.verifier.key_history import Rotation
from epochseal.verifier.linked_log import LinkedLog


def check_keys(log: LinkedLog) -> None:
    """Report keys that the log calls compromised, and changes that were not completed or not recorded."""
    for item in log.rotations:
        log.stand_at(item.place)
        if item.body.key == "checkpoint":
            _check_checkpoint_key(log, item)
    if not log.public:
        _check_epoch_keys(log)
    counted = [item for item in log.rotations if not log.public or item.index < log.signed_size]
    for before, after in log.epoch_keys.unrecorded(counted):
        log.stand_at(after.place)
        detail = f"epoch {after.place.epoch} has the key {after.key}, the one before {before.key}"
        log.found.warn("rotation_unrecorded", after.place.entry, detail)


def _check_checkpoint_key(log: LinkedLog, item: Rotation) -> None:
    body = item.body
    if not item.endorsed:
        log.found.warn("rotation_unfinished", item.place.entry, f"line {item.index}: {body.new}")
    known = {key.vkey for key in log.known_keys}
    if not body.compromised or body.old not in known:
        return
    at = log.entries_at(body.from_size)
    if body.new not in known:
        detail = f"line {item.index} replaces {body.old} by {body.new}: name that one if its owner says so"
        log.found.problem("key_compromised", at, max(log.entries - 1, at), detail)
    elif log.public and item.endorsed and body.from_size < item.index:
        # A thief of the old key may have written these lines. The new key signed them with all the rest when
        # it took over, so its signature does not show who wrote them.
        detail = f"only {body.old} vouched for lines {body.from_size} to {item.index - 1} of the tree"
        log.found.problem("key_compromised", at, max(item.place.entry - 1, at), detail)


def _check_epoch_keys(log: LinkedLog) -> None:
    for run, item in log.epoch_keys.compromised(log.rotations):
        log.stand_at(run.place)
        at = max(log.entries_at(item.body.from_size), run.place.entry)
        stop = min(log.entries_at(run.stop), item.place.entry)
        detail = f"line {item.index} says so of the epoch key {run.key}, from line {item.body.from_size} on"
        log.found.problem("key_compromised", at, max(stop - 1, at), detail)
