"""Verify one log: snapshot, check the epochs, join them, and judge what they make (docs/format.md, 13)."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from epochseal.encoding import b64encode, format_time
from epochseal.format.note import HeldSignatures, VerifierKey
from epochseal.storage.settling import looks, settling_ends
from epochseal.verifier.checkpoint_check import Checkpoints
from epochseal.verifier.checkpoint_keys import find_rotations, keys_named
from epochseal.verifier.ends import check_beginning, check_end
from epochseal.verifier.files import Files, prune_line
from epochseal.verifier.find_resume import find_resume_point
from epochseal.verifier.findings import Findings
from epochseal.verifier.join import Joiner
from epochseal.verifier.joined_log import JoinedLog, RotateLine
from epochseal.verifier.remembered import Remembered, id_of
from epochseal.verifier.request import Examination, Request
from epochseal.verifier.rotate_lines import RotateLines
from epochseal.verifier.signatures_ahead import verify_ahead
from epochseal.verifier.snapshot import Snapshot, take_snapshot
from epochseal.verifier.trust import judge_trust
from epochseal.verifier.verdict import LIMIT_ANEW, LIMIT_CLOSED, LIMIT_OPEN, RotationView, Verdict, verdict_of
from epochseal.verifier.witnesses import NOT_WITNESSED, check_witnesses
from epochseal.verifier.workers import TaskResult, cut_tasks, run_tasks

if TYPE_CHECKING:
    from epochseal.verifier.cluster import Cluster


def verify(logdir: Path, request: Request) -> Verdict:
    """Verify the log in `logdir`; the verdict holds every problem that was found.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed; nothing can be said of the log then.
    """
    return examine(logdir, request).verdict


def examine(logdir: Path, request: Request) -> Examination:
    """As `verify`, with what a memory needs beside the verdict.

    Raises:
        ResumeMisfitError: the log is not as it was where the request says that it is to begin.
        StorageError, BackendError: as `verify`.
    """
    until = settling_ends()
    for last_look in looks(until):
        # How old its end is, is asked as of the moment of the look: to read a large log takes a while.
        now = request.now()
        snapshot = take_snapshot(
            logdir,
            archive=request.archive,
            witnessed=request.policy is not None,
            since=request.since,
            marks=request.marks,
            until=until,
        )
        judged = _judge(snapshot, request, now)
        if (last := judged.last_number) != snapshot.last_number:
            # What stood behind the last segment counts as removed.
            snapshot.settle_last(last)
            judged = _judge(snapshot, request, now)
        if last_look or not snapshot.gone:
            return judged.examination
    raise AssertionError("looks() ends with a last one")


class _Judged(msgspec.Struct, frozen=True):
    examination: Examination
    last_number: int


def _read(snapshot: Snapshot, findings: Findings, request: Request) -> JoinedLog:
    """Check all segments, and join those that were read as they were when the snapshot was taken."""
    joiner = Joiner(findings, request.since)
    if request.scheduler is None:
        _read_all(snapshot, joiner, request, None)
        return joiner.log
    from epochseal.verifier.cluster import connected  # noqa: PLC0415  # for a cluster alone

    with connected(request.scheduler) as cluster:
        _read_all(snapshot, joiner, request, cluster)
    return joiner.log


def _read_all(snapshot: Snapshot, joiner: Joiner, request: Request, cluster: Cluster | None) -> None:
    total, done, left_out = sum(part.sealed for part in snapshot.parts), 0, set(snapshot.gone)
    waiting: list[TaskResult] = []
    for result in run_tasks(cut_tasks(snapshot.parts), request.make_recoverer, request.jobs, cluster):
        waiting.append(result)
        if not result.task.last:
            continue
        number = result.task.part.segment.number
        if left_out and number > min(left_out):
            joiner.leave_out()
            left_out = {item for item in left_out if item > number}
        gone = number in snapshot.gone or any(item.gone for item in waiting)
        if gone or not result.task.part.is_as_it_was():
            snapshot.gone.add(number)
            left_out.add(number)
        else:
            joiner.join_segment(waiting)
        done += result.task.part.sealed
        waiting = []
        request.progress(done, total)
    if left_out:
        joiner.leave_out()


def _judge(snapshot: Snapshot, request: Request, now: int) -> _Judged:
    findings = Findings()
    log = _read(snapshot, findings, request)
    pins, since = request.pins, request.since
    if since is not None:
        since.compare(log.first_leaf, log.first_size, pins.size if pins is not None else 0)
    accepted = pins.starts if pins is not None else {}
    expected = request.origin or (pins.origin if pins is not None else None)
    remembered = Remembered(log, request, findings)
    name = expected or (log.first.origin if log.first is not None else "")
    notes = [noted.note for noted, _ in log.notes]
    held = HeldSignatures()
    named = _named_key(remembered, name)
    verify_ahead(notes, chain(keys_named(log), filter(None, (named,))), held, request.jobs)
    rotations = find_rotations(
        log, [*notes, *filter(None, (snapshot.checkpoint, snapshot.archived))], name, held
    )
    keys = remembered.known_keys(named, rotations) if named is not None else None
    checkpoints = Checkpoints(log, findings, keys, held)
    checkpoints.check_notes()
    if snapshot.checkpoint is not None:
        checkpoints.check_file(snapshot.checkpoint)
    elif log.notes and snapshot.archived is None:
        findings.warn("checkpoint_missing", log.end_place, "checkpoint")
    if snapshot.archived is not None:
        checkpoints.check_file(snapshot.archived)
    witnessed = NOT_WITNESSED
    if request.policy is not None:
        if snapshot.witnessed is not None:
            checkpoints.check_file(snapshot.witnessed)
        witnessed = check_witnesses(snapshot.witnessed, snapshot.checkpoint, checkpoints, request.policy, now)
    remembered.compare(checkpoints)
    judge_trust(log, accepted, findings, public=request.public, key_named=keys is not None)
    remembered.check_pinned_keys(now)
    prune = prune_line(log)
    files = Files(snapshot, log, findings, prune)
    files.check(accepted, copied=checkpoints.is_copied(snapshot.checkpoint))
    rotate_lines = RotateLines.of(log, findings, rotations, keys)
    rotate_lines.check(public=request.public, strict=request.strict, expected=expected)
    if since is None:
        check_beginning(log, findings, prune, remembered, now)
    check_end(checkpoints, findings, request, now)
    last, closed = log.last, log.closed
    verdict = Verdict(
        verdict=verdict_of(findings.problems, checked=log.last_header is not None),
        origin=log.first.origin if log.first is not None else "",
        entries=log.entries,
        bytes=log.bytes,
        epochs=log.epoch_count,
        segments=len(snapshot.parts) + (since.segments if since is not None else 0),
        log=b64encode(id_of(log)),
        signed_entries=checkpoints.signed_entries(),
        tree_size=log.tree_size,
        root=b64encode(last.tree.root()) if last is not None else "",
        last_sealed=format_time(last.last_time) if last is not None else "",
        closed=closed,
        mode="public" if request.public else "keys",
        memory="none",
        problems=findings.problems,
        warnings=findings.warnings,
        not_shown=[] if last is None else [LIMIT_CLOSED if closed else LIMIT_OPEN, LIMIT_ANEW],
        witnessed_entries=witnessed.entries,
        witnessed_by=list(witnessed.by),
        checkpoint_key=keys.current.vkey if keys is not None else "",
        rotations=[_view(line, rotate_lines.endorsed) for line in log.rotates],
    )
    seen = remembered.seen(checkpoints, now)
    resume = find_resume_point(log, snapshot.parts, seen.size, since) if seen is not None else None
    examination = Examination(
        verdict,
        seen,
        {size: item.root for size, item in log.signable.items()},
        {epoch.leaf: epoch.place.epoch for epoch in log.epochs},
        log.first.first_entry if log.first is not None else 0,
        resume,
        tuple(mark for mark in log.marks if resume is not None and mark.result.index > resume.size),
    )
    return _Judged(examination, files.last_number)


def _named_key(remembered: Remembered, name: str) -> VerifierKey | None:
    pins = remembered.pins
    key = pins.checkpoint_key if pins is not None else remembered.request.checkpoint_key
    return VerifierKey(name, key) if key is not None and name else None


def _view(line: RotateLine, endorsed: set[int]) -> RotationView:
    body, place = line.body, line.place
    return RotationView(
        body.key,
        line.index,
        place.segment,
        place.epoch,
        place.entry,
        body.old,
        body.new,
        body.from_size,
        bool(body.compromised),
        body.key == "epoch" or line.index in endorsed,
        body.who,
        body.why,
        body.ticket,
        format_time(body.time),
    )
