"""Asks the verifier what it says of a log that the reference's maker made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from epochseal.format.note import parse_vkey
from epochseal.format.witness_policy import Policy
from epochseal.keys import Recoverer, load_backend, parse_key_uri
from epochseal.verifier import EpochMark, Examination, Pins, Request, ResumePoint, examine
from tests.reference.keys import ORIGIN, Keys
from tests.reference.maker import Maker


def ask(
    log: Maker,
    mode: str = "keys",
    *,
    pins: Pins | None = None,
    since: ResumePoint | None = None,
    marks: tuple[EpochMark, ...] = (),
    log_id: bytes | None = None,
    policy: Policy | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Examination:
    """What it finds, with the log's first keys or with what is pinned.

    `meanwhile` is called whenever the files were looked at and their lines are not read yet (keys mode).
    """

    def make_recoverer() -> Recoverer:
        if meanwhile is not None:
            meanwhile()
        return recoverer(log.keys.directory)

    for path in log.path.glob("segments/*"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0), follow_symlinks=False)
    return examine(
        log.path,
        Request(
            make_recoverer=make_recoverer if mode == "keys" else None,
            checkpoint_key=None if pins is not None else parse_vkey(log.keys.vkey()).key,
            pins=pins,
            since=since,
            marks=marks,
            log=log_id,
            policy=policy,
            now=lambda: log.time + 1000,
        ),
    )


def recoverer(folder: Path) -> Recoverer:
    """Of the keys in a folder."""
    uri = parse_key_uri(f"file:{folder / 'verifier'}")
    return load_backend(uri).recoverer(uri, {})


def pin(log: Maker, found: Examination, keys: Keys | None = None) -> Pins:
    """A memory of what was found."""
    seen = found.seen
    assert seen is not None
    return Pins(
        checkpoint_key=parse_vkey((keys or log.keys).vkey()).key,
        origin=ORIGIN,
        log=seen.log,
        epoch_keys=frozenset(seen.epoch_keys),
        promises=seen.promises,
        size=seen.size,
        root=seen.root,
        note=seen.note,
    )


def kinds(found: Examination) -> set[str]:
    """The kinds of its problems."""
    return {problem.kind for problem in found.verdict.problems}
