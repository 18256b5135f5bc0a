"""Verify one log: check its epochs, link them, hold checkpoints and memory against them, judge the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from epochseal.encoding import b64encode, format_time
from epochseal.format.note import VerifierKey
from epochseal.verifier.check_epoch import EpochResult
from epochseal.verifier.checkpoint_findings import check_checkpoints, check_starts
from epochseal.verifier.end_findings import check_end, check_origin
from epochseal.verifier.key_findings import check_keys
from epochseal.verifier.key_history import Rotation
from epochseal.verifier.link_epochs import link_epoch
from epochseal.verifier.linked_log import LinkedLog
from epochseal.verifier.pins import check_pins
from epochseal.verifier.problem_collector import ProblemCollector
from epochseal.verifier.request import Request
from epochseal.verifier.segment_findings import check_listing, check_prefix, check_segment
from epochseal.verifier.snapshot import Snapshot, take_snapshot
from epochseal.verifier.verdict import LIMIT_CLOSED, LIMIT_OPEN, RotationView, Verdict, verdict_of
from epochseal.verifier.witnesses import NOT_WITNESSED, Witnessed, check_witnesses
from epochseal.verifier.workers import cut_tasks, run_tasks


@dataclass(frozen=True, slots=True)
class Examination:
    """A verdict, and what a trust file takes from it.

    `signed_note` is the largest valid checkpoint, `signed_size` its size, 0 if there is none, `signer` the
    key that it is signed by. `roots` has the
    root for each size at which this log may be signed, `epoch_keys` the tree size at which each epoch key's
    first epoch begins.
    """

    verdict: Verdict
    signer: VerifierKey | None
    signed_size: int
    signed_note: bytes
    roots: Mapping[int, bytes]
    epoch_keys: Mapping[str, int]


def verify(logdir: Path, request: Request) -> Verdict:
    """Verify the log in `logdir`; the verdict holds every problem that was found.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed; nothing can be said of the log then.
    """
    return examine(logdir, request).verdict


def examine(logdir: Path, request: Request) -> Examination:
    """As `verify`, with what a trust file needs beside the verdict."""
    snapshot = take_snapshot(logdir)
    key, beside = _key(snapshot, request), None
    if request.pins is not None and key is not None and request.checkpoint_key is not None:
        beside = VerifierKey(key.name, request.checkpoint_key)
    log = LinkedLog(key, public=request.make_recoverer is None, beside=beside)
    witnessed = NOT_WITNESSED
    _check_epochs(snapshot, log, request)
    if snapshot.checkpoint is not None or log.epochs:
        check_checkpoints(log, snapshot.checkpoint)
        if request.policy is not None:
            notes = snapshot.witnessed, snapshot.checkpoint
            witnessed = check_witnesses(notes, log, request.policy, request.now())
    if request.pins is not None:
        check_pins(log, request.pins, request.checkpoint_key)
    check_starts(log)
    check_keys(log)
    check_listing(snapshot, log)
    check_prefix(log, request.now())
    check_origin(log, request)
    check_end(log, request)
    return Examination(
        _verdict(snapshot, log, request, witnessed),
        log.signed_by,
        log.signed_size,
        log.signed_note,
        {size: root for size, (root, _) in log.roots.items()},
        {run.key: run.start for run in reversed(log.epoch_keys.runs)},
    )


def _key(snapshot: Snapshot, request: Request) -> VerifierKey | None:
    pins = request.pins
    headers = (epoch.header for part in snapshot.parts for epoch in part.epochs)
    found = next((header.origin for header in headers if header is not None), "")
    name = (pins.origin if pins is not None else None) or request.origin or found
    key = pins.checkpoint_key if pins is not None else request.checkpoint_key
    return VerifierKey(name, key) if key is not None and name else None


def _check_epochs(snapshot: Snapshot, log: LinkedLog, request: Request) -> None:
    total = sum(part.sealed for part in snapshot.parts)
    offset: int | None = 0
    began = 0
    for done in run_tasks(cut_tasks(snapshot.parts), request.make_recoverer, request.jobs):
        part = done.task.part
        if done.task.first:
            offset, began = 0, log.entries
        for place, result in enumerate(done.results):
            offset = _check_offset(result, offset, log.found)
            link_epoch(log, part, result, first_in_segment=done.task.first and place == 0)
        if done.task.last:
            check_segment(done, log, began)
        request.progress(log.bytes, total)


def _check_offset(result: EpochResult, offset: int | None, found: ProblemCollector) -> int | None:
    """Where the next epoch's entries begin in the segment; None if damage leaves that unknown."""
    if result.header is None or result.damaged:
        return None
    if not result.blocks:
        return offset
    if offset is not None and result.offset - result.size != offset:
        at = result.header.first_entry
        found.problem("counters", at, at, "the epoch begins at another byte of its segment")
    return result.offset


def _verdict(snapshot: Snapshot, log: LinkedLog, request: Request, witnessed: Witnessed) -> Verdict:
    last, first = log.last, log.first
    return Verdict(
        verdict=verdict_of(log.found.problems, checked=log.last_header is not None),
        origin=first.origin if first is not None else "",
        entries=log.entries,
        bytes=log.bytes,
        epochs=log.epochs,
        segments=len(snapshot.parts),
        log=first.log if first is not None else "",
        signed_entries=log.signed_entries,
        tree_size=log.tree_size,
        root=b64encode(last.tree.root()) if last is not None else "",
        last_sealed=format_time(last.last_time) if last is not None else "",
        closed=log.closed,
        mode="public" if request.make_recoverer is None else "keys",
        problems=log.found.problems,
        warnings=log.found.warnings,
        not_shown=[] if last is None else [LIMIT_CLOSED if log.closed else LIMIT_OPEN],
        witnessed_entries=witnessed.entries,
        witnessed_by=list(witnessed.by),
        checkpoint_key=log.signers.current.vkey if log.signers is not None else "",
        rotations=[_view(item) for item in log.rotations],
    )


def _view(item: Rotation) -> RotationView:
    body, place = item.body, item.place
    return RotationView(
        body.key,
        item.index,
        place.segment,
        place.epoch,
        place.entry,
        body.old,
        body.new,
        body.from_size,
        bool(body.compromised),
        item.endorsed,
        body.who,
        body.why,
        body.ticket,
        format_time(body.time),
    )
