"""What a verification is asked with, what it knows beforehand, and what may be remembered of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from epochseal.format.merkle import EMPTY_ROOT
from epochseal.format.note import VerifierKey
from epochseal.format.witness_policy import Policy
from epochseal.keys import PublicKey
from epochseal.storage.archive_path import ArchivePath
from epochseal.verifier.epoch_mark import EpochMark
from epochseal.verifier.epoch_secrets import Recoverers
from epochseal.verifier.resume_point import ResumePoint
from epochseal.verifier.verdict import Verdict


class Promise(msgspec.Struct, frozen=True, order=True):
    """What a log said of its retention: `retention` in ms, not 0.

    `index` is the smallest index of an epoch line that said so, `time` the greatest time of one, in ms.
    """

    retention: int
    index: int
    time: int


def merge_promises(promises: Iterable[Promise], now: int) -> tuple[Promise, ...]:
    """Those that are still owed at `now` (ms), one for each retention."""
    merged: dict[int, Promise] = {}
    for item in promises:
        known = merged.get(item.retention, item)
        merged[item.retention] = Promise(
            item.retention, min(item.index, known.index), max(item.time, known.time)
        )
    return tuple(sorted(item for item in merged.values() if item.time + item.retention > now))


class Pins(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory says that the log must be (docs/format.md, 13.8).

    Args:
        checkpoint_key: the one that signs for the log.
        origin: name of the log; None if any is accepted.
        log: its id, 32 bytes; None if any is accepted.
        epoch_keys: ids of the wrapping keys that its epochs may have; None if any are accepted.
        starts: leaves of epoch lines that a person has accepted, 32 bytes each, each with the reason.
        checkpoint_keys: keys that a person has accepted as later ones of this log.
        promises: what it owes of its retention.
        size, root, note: the largest checkpoint that was seen, its signature verified; size 0 for none.
    """

    checkpoint_key: PublicKey
    origin: str | None = None
    log: bytes | None = None
    epoch_keys: frozenset[str] | None = None
    starts: Mapping[bytes, str] = msgspec.field(default_factory=dict)
    checkpoint_keys: frozenset[VerifierKey] = frozenset()
    promises: tuple[Promise, ...] = ()
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes = b""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to verify with. Without `make_recoverer` only what a public key can show; durations in ms.

    `log` is the id that is expected, 32 bytes. `pins` bring their own checkpoint key and origin: another
    `checkpoint_key` beside them is untrusted, unless the log leads from it to the pinned one. `since` is
    where an earlier verification with these pins said that the next one may begin, `marks` what one with the
    same keys, in this process or its parent, has verified of the epochs from there on. `archive` has the
    segments that have left the log's directory, and checkpoints that were seen. `scheduler` is that of a Dask
    cluster, which does the work of `jobs`.
    """

    make_recoverer: Callable[[], Recoverers] | None = None
    checkpoint_key: PublicKey | None = None
    origin: str | None = None
    log: bytes | None = None
    pins: Pins | None = None
    since: ResumePoint | None = None
    marks: Sequence[EpochMark] = ()
    archive: ArchivePath | None = None
    scheduler: str | None = None
    max_age: int | None = None
    strict: bool = False
    policy: Policy | None = None
    jobs: int = 1
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    progress: Callable[[int, int], None] = lambda _done, _total: None

    @property
    def public(self) -> bool:
        """Whether there are no means to recover epoch secrets."""
        return self.make_recoverer is None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory may take over from a log whose verdict is `verified`, as far as 13.8 lets pins move.

    Args:
        checkpoint_key: the one that signed the checkpoint; its name is the origin.
        log: the log's id, 32 bytes.
        size, root, note: the largest valid checkpoint that pins may move to.
        epoch_keys: the key ids of trusted epochs.
        promises: what the log owes, those of the pins that were given included.
    """

    checkpoint_key: VerifierKey
    log: bytes
    size: int
    root: bytes
    note: bytes
    epoch_keys: tuple[str, ...]
    promises: tuple[Promise, ...]


class Examination(msgspec.Struct, frozen=True):
    """A verdict, and what a memory needs beside it.

    `seen` is None where nothing may be taken over: no valid checkpoint, or none that the pins may move to;
    it is only to be used if the verdict is `verified`. `roots` has the root for each size at which this log
    may be signed. `starts` are the leaves of all epoch lines present, each with the number of its epoch.
    `first_entry` is the number of the first entry present. `resume` is where the next verification may
    begin, None if only at the beginning; only of use if `seen` is remembered. `marks` are of the epochs from
    there on, as far as they were verified.
    """

    verdict: Verdict
    seen: Seen | None
    roots: Mapping[int, bytes]
    starts: Mapping[bytes, int]
    first_entry: int
    resume: ResumePoint | None = None
    marks: tuple[EpochMark, ...] = ()
