"""What rotate lines say of the keys that a verification relies on (docs/format.md, section 13.6)."""

from __future__ import annotations

from epochseal.verifier.key_history import Rotation
from epochseal.verifier.link_epochs import Joiner


def check_keys(joiner: Joiner) -> None:
    """Report keys that the log calls compromised, and changes that were not completed or not recorded."""
    for item in joiner.rotations:
        joiner.stand_at(item.place)
        if item.body.key == "checkpoint":
            _check_checkpoint_key(joiner, item)
    if not joiner.public:
        _check_epoch_keys(joiner)
    counted = [item for item in joiner.rotations if not joiner.public or item.index < joiner.signed_size]
    for before, after in joiner.epoch_keys.unrecorded(counted):
        joiner.stand_at(after.place)
        detail = f"epoch {after.place.epoch} has the key {after.key}, the one before {before.key}"
        joiner.findings.warn("rotation_unrecorded", after.place.entry, detail)


def _check_checkpoint_key(joiner: Joiner, item: Rotation) -> None:
    body = item.body
    if not item.endorsed:
        joiner.findings.warn("rotation_unfinished", item.place.entry, f"line {item.index}: {body.new}")
    known = {key.vkey for key in joiner.signers.bounds} if joiner.signers is not None else set()
    if not body.compromised or body.old not in known:
        return
    at = joiner.entries_at(body.from_size)
    if body.new not in known:
        detail = f"line {item.index} replaces {body.old} by {body.new}: name that one if its owner says so"
        joiner.findings.problem("key_compromised", at, max(joiner.entries - 1, at), detail)
    elif joiner.public and item.endorsed and body.from_size < item.index:
        # The new key's holder signed what was there when the old one was replaced, whoever had written it.
        detail = f"only {body.old} vouched for lines {body.from_size} to {item.index - 1} of the tree"
        joiner.findings.problem("key_compromised", at, max(item.place.entry - 1, at), detail)


def _check_epoch_keys(joiner: Joiner) -> None:
    for run, item in joiner.epoch_keys.compromised(joiner.rotations):
        joiner.stand_at(run.place)
        at = max(joiner.entries_at(item.body.from_size), run.place.entry)
        stop = min(joiner.entries_at(run.stop), item.place.entry)
        detail = f"line {item.index} says so of the epoch key {run.key}, from line {item.body.from_size} on"
        joiner.findings.problem("key_compromised", at, max(stop - 1, at), detail)
