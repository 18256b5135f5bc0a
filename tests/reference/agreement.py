"""Asks both verifiers the same, and says in what they differ."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from epochseal.errors import BackendError, StorageError
from epochseal.format.note import parse_vkey
from epochseal.keys import PublicKey, Recoverer, load_backend, parse_key_uri
from epochseal.verifier import Pins, Promise, Request
from epochseal.verifier import verify as verify_really
from tests.reference import trust
from tests.reference import verifier as reference
from tests.reference.keys import Keys

Found = tuple[str, set[str]]


@dataclass(frozen=True)
class Given:
    """What a verifier is given besides the log."""

    now: int
    epoch: tuple[Keys, ...] = ()
    checkpoint: Keys | None = None
    origin: str = ""
    log: str = ""
    max_age: int = -1
    strict: bool = False
    pins: trust.Pins | None = None

    def __str__(self) -> str:
        """For a failure."""
        keys = [name for name in ("epoch", "checkpoint") if getattr(self, name)]
        rest = f"origin {self.origin!r}, id {self.log!r}, age {self.max_age}, strict {self.strict}"
        return f"{keys} at {self.now}, {rest}, {self.pins}"


def really(log: Path, given: Given) -> Found:
    """What epochseal says."""
    for path in (log / "segments").glob("*.seal"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0))
    request = Request(
        make_recoverer=(lambda: [_recoverer(keys) for keys in given.epoch]) if given.epoch else None,
        checkpoint_key=_public(given.checkpoint) if given.checkpoint else None,
        origin=given.origin or None,
        log=base64.b64decode(given.log) if given.log else None,
        max_age=None if given.max_age < 0 else given.max_age,
        strict=given.strict,
        pins=_pins(given.pins) if given.pins else None,
        now=lambda: given.now,
    )
    try:
        verdict = verify_really(log, request)
    except (StorageError, BackendError):
        return "no verdict", set()
    return verdict.verdict, {problem.kind for problem in verdict.problems}


def by_the_page(log: Path, given: Given) -> Found:
    """What the reference says."""
    verdict, status, kinds = reference.verify(
        log,
        [keys.directory / "verifier" for keys in given.epoch],
        given.checkpoint.directory / "auditor" / "checkpoint.pub" if given.checkpoint else None,
        given.now,
        origin=given.origin,
        log_id=given.log,
        age=given.max_age,
        strict=given.strict,
        pins=given.pins,
    )
    assert reference.STATUS[verdict] == status
    return verdict, kinds


def differ(log: Path, given: Given) -> list[str]:
    """In what they differ, if they do."""
    real, ours = really(log, given), by_the_page(log, given)
    if real == ours or real[0] == ours[0] == "tampered":
        return []
    return [f"epochseal says {real}, the page {ours}: {given}"]


def _recoverer(keys: Keys) -> Recoverer:
    uri = parse_key_uri(f"file:{keys.directory / 'verifier'}")
    return load_backend(uri).recoverer(uri, {})


def _public(keys: Keys) -> PublicKey:
    return PublicKey("ed25519", keys.checkpoint.public_key().public_bytes_raw())


def _pins(pins: trust.Pins) -> Pins:
    assert not isinstance(pins.key, EllipticCurvePublicKey)
    return Pins(
        checkpoint_key=PublicKey("ed25519", pins.key.public_bytes_raw()),
        origin=pins.origin,
        log=base64.b64decode(pins.log),
        epoch_keys=frozenset(pins.wrapping),
        starts=dict.fromkeys(pins.accepted, "a reason"),
        checkpoint_keys=frozenset(map(parse_vkey, pins.checkpoint_keys)),
        promises=tuple(Promise(*promise) for promise in pins.promises),
        size=pins.size,
        root=pins.root,
    )
