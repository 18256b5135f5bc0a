"""What a verification holds a log against, and what it remembers of it afterwards.

A memory moves forward only by a log that is verified, only to what the verifier says may be taken over
(docs/format.md, 13.8), and never back. Several verifiers may share one: each takes its lock for the moment of
moving it, reads it again, and holds what it has verified against what the others have seen meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from epochseal.errors import ConfigError, EpochsealError, VerificationError
from epochseal.evidence.trust_file import Trust, read_trust, write_trust
from epochseal.storage.own_files import locked
from epochseal.verifier import Examination, Problem, Request, examine, merge_promises
from epochseal.verifier.verdict import Verdict, withdraw

_Key = TypeVar("_Key", str, bytes)


class Remembered(msgspec.Struct, frozen=True):
    """A log that was verified, and what became of the memory.

    `told` says where the memory moved to, empty if it did not. `failure` kept it from moving: it is to be
    raised once the verdict has been shown.
    """

    found: Examination
    told: str = ""
    failure: EpochsealError | None = None


class Memory(Protocol):
    """What `verify` holds a log against."""

    def examine(self, logdir: Path, request: Request) -> Remembered:
        """Verify a log against what is remembered of it, and remember it.

        Raises:
            ConfigError: what is remembered cannot be used.
            StorageError, BackendError: as `epochseal.verifier.verify`.
        """
        ...


class NoMemory:
    """Nothing is remembered; `why` stands in the warning of every verdict."""

    def __init__(self, why: str) -> None:
        self._why = why

    def examine(self, logdir: Path, request: Request) -> Remembered:
        """As `Memory` says."""
        found = examine(logdir, request)
        warn(found.verdict, "not_remembered", self._why)
        return Remembered(found)


class TrustFile:
    """A trust file that was named.

    Raises:
        ConfigError: there is none, what is there is no trust file, or it is not ours alone.
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trust = read_trust(path)

    def examine(self, logdir: Path, request: Request) -> Remembered:
        """As `Memory` says."""
        found = examine(logdir, with_pins(request, self.trust))
        found.verdict.memory = "known"
        if found.verdict.verdict != "verified":
            return Remembered(found)
        try:
            now = move_forward(self._path, self.trust, found, request.now())
        except VerificationError as exc:
            withdraw(found.verdict, "forked", str(exc))
            return Remembered(found)
        except EpochsealError as exc:
            return Remembered(found, failure=exc)
        return Remembered(found, f"{self._path}: {now.checkpoint.size:,} lines of {now.key.name} seen")


def with_pins(request: Request, trust: Trust) -> Request:
    """The request with what is remembered."""
    return replace(request, pins=trust.pins())


def first_trust(found: Examination) -> Trust:
    """What a log that was verified for the first time is trusted for.

    Raises:
        ConfigError: no signed checkpoint vouches for anything of it.
    """
    seen = found.seen
    if seen is None or not seen.epoch_keys:
        raise ConfigError(
            "there is nothing to remember yet: no signed checkpoint vouches for anything of the log",
            "one is signed when the agent starts; name the checkpoint key that signs for this log",
        )
    keys = dict.fromkeys(seen.epoch_keys, "")
    return Trust(seen.checkpoint_key, seen.log, keys, {}, {}, seen.promises, seen.note)


def accept(
    trust: Trust,
    *,
    starts: Mapping[bytes, str],
    epoch_keys: Mapping[str, str],
    checkpoint_keys: Mapping[str, str],
) -> Trust:
    """The same with more starts and keys accepted; what was accepted before keeps its reason."""
    return replace(
        trust,
        starts=_added(trust.starts, starts),
        epoch_keys=_added(trust.epoch_keys, epoch_keys),
        checkpoint_keys=_added(trust.checkpoint_keys, checkpoint_keys),
    )


def _added(known: Mapping[_Key, str], more: Mapping[_Key, str]) -> dict[_Key, str]:
    return {**known, **{key: reason for key, reason in more.items() if key not in known}}


def move_forward(path: Path, read: Trust, found: Examination, now: int) -> Trust:
    """Take over what was seen of a log that was verified with `read`; what the file says from then on.

    Nothing is written if the file has seen as much already. `found` must be the examination of a log whose
    verdict is `verified`; anything else is a ValueError. `now` is in ms.

    Raises:
        VerificationError: another verifier has seen another history of this log since `read` was read.
        ConfigError: the file is none any more, or pins another log now.
        StorageError: it cannot be read, locked or written.
    """
    if found.verdict.verdict != "verified":
        raise ValueError(f"a log that is {found.verdict.verdict} moves no trust file")
    with locked(path):
        there = read_trust(path)
        if (there.key.name, there.log) != (read.key.name, read.log):
            raise ConfigError(f"{path} pins another log than it did a moment ago")
        moved = _moved(path, there, read, found, now)
        if moved != there:
            write_trust(path, moved)
        return moved


def _moved(path: Path, there: Trust, read: Trust, found: Examination, now: int) -> Trust:
    accepted = accept(
        there, starts=read.starts, epoch_keys=read.epoch_keys, checkpoint_keys=read.checkpoint_keys
    )
    pinned, seen = there.checkpoint, found.seen
    if pinned.size > found.verdict.tree_size:
        # Another verifier was faster, with a log that had grown by then.
        return accepted
    # What has expired meanwhile has no root any more; it was there when the other one looked.
    root = found.roots.get(pinned.size)
    if root != pinned.root and there.note != read.note:
        raise VerificationError(
            f"{path} has seen another history of this log: the first {pinned.size} lines are others",
            "keep both copies of the log as evidence",
        )
    if seen is None or seen.size < pinned.size:
        return accepted
    larger = seen.size > pinned.size
    return replace(
        accepted,
        key=seen.checkpoint_key if larger else there.key,
        note=seen.note if larger else there.note,
        epoch_keys=_added(accepted.epoch_keys, dict.fromkeys(seen.epoch_keys, "")),
        checkpoint_keys=_still_to_come(accepted.checkpoint_keys, found),
        promises=merge_promises((*there.promises, *seen.promises), now),
    )


def _still_to_come(accepted: Mapping[str, str], found: Examination) -> dict[str, str]:
    """Without the keys that the log has come to or gone on from: one that was replaced must not come back."""
    seen = found.seen
    over = {item.old for item in found.verdict.rotations if item.endorsed}
    over |= {seen.checkpoint_key.vkey} if seen is not None else set()
    return {vkey: reason for vkey, reason in accepted.items() if vkey not in over}


def warn(verdict: Verdict, kind: str, detail: str) -> None:
    """Add a warning about the whole log to a verdict that was given already."""
    last = max(verdict.entries - 1, 0)
    verdict.warnings.append(Problem(kind, 0, 0, 0, last, 1, last + 1, detail))
