"""Verify one log: plan, check the epochs, join them, hold the checkpoints against them, judge the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.format.merkle import Frontier
from epochseal.format.note import VerifierKey
from epochseal.format.seal_lines import Header, Prune
from epochseal.format.witness_policy import Policy
from epochseal.keys import PublicKey
from epochseal.verifier.check_epoch import EpochResult
from epochseal.verifier.key_findings import check_keys
from epochseal.verifier.key_history import Rotation
from epochseal.verifier.keyring import Recoverers
from epochseal.verifier.link_epochs import Findings, Joiner
from epochseal.verifier.pins import Pins, check_pins
from epochseal.verifier.plan import Plan, take_snapshot
from epochseal.verifier.verdict import LIMIT_CLOSED, LIMIT_OPEN, RotationView, Verdict, name_of
from epochseal.verifier.witnesses import NOT_WITNESSED, Witnessed, check_witnesses
from epochseal.verifier.workers import TaskResult, cut_tasks, run_tasks

FUTURE_MS = 120_000
_STALE_HEARTBEATS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to verify with. Without `make_recoverer` only what a public key can show; durations in ms.

    `pins` bring their own checkpoint key and origin: another `checkpoint_key` beside them is untrusted.
    """

    make_recoverer: Callable[[], Recoverers] | None = None
    checkpoint_key: PublicKey | None = None
    origin: str | None = None
    pins: Pins | None = None
    max_age: int | None = None
    strict: bool = False
    policy: Policy | None = None
    jobs: int = 1
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    progress: Callable[[int, int], None] = lambda _done, _total: None


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
    plan = take_snapshot(logdir)
    findings = Findings()
    key, beside = _key(plan, request), None
    if request.pins is not None and key is not None and request.checkpoint_key is not None:
        beside = VerifierKey(key.name, request.checkpoint_key)
    joiner = Joiner(findings, key, public=request.make_recoverer is None, beside=beside)
    witnessed = NOT_WITNESSED
    _run(plan, joiner, request)
    if plan.checkpoint is not None or joiner.epochs:
        joiner.check_notes(plan.checkpoint, joiner.last.tree.size if joiner.last is not None else 0)
        witnessed = _check_witnesses(plan, joiner, request)
    if request.pins is not None:
        check_pins(joiner, request.pins, request.checkpoint_key)
    joiner.check_starts()
    check_keys(joiner)
    _check_listing(plan, joiner, findings)
    _check_prefix(joiner, findings, request.now())
    _check_origin(joiner, findings, request)
    _check_end(joiner, findings, request)
    return Examination(
        _verdict(plan, joiner, findings, request, witnessed),
        joiner.signed_by,
        joiner.signed_size,
        joiner.signed_note,
        {size: root for size, (root, _) in joiner.roots.items()},
        {run.key: run.start for run in reversed(joiner.epoch_keys.runs)},
    )


def _check_witnesses(plan: Plan, joiner: Joiner, request: Request) -> Witnessed:
    if request.policy is None:
        return NOT_WITNESSED
    return check_witnesses((plan.witnessed, plan.checkpoint), joiner, request.policy, request.now())


def _key(plan: Plan, request: Request) -> VerifierKey | None:
    pins = request.pins
    found = next((e.header.origin for part in plan.parts for e in part.epochs if e.header is not None), "")
    name = (pins.origin if pins is not None else None) or request.origin or found
    key = pins.checkpoint_key if pins is not None else request.checkpoint_key
    return VerifierKey(name, key) if key is not None and name else None


def _run(plan: Plan, joiner: Joiner, request: Request) -> None:
    total = sum(part.sealed for part in plan.parts)
    offset: int | None = 0
    began = 0
    for done in run_tasks(cut_tasks(plan.parts), request.make_recoverer, request.jobs):
        part = done.task.part
        if done.task.first:
            offset, began = 0, joiner.entries
        for place, result in enumerate(done.results):
            offset = _check_offset(result, offset, joiner.findings)
            joiner.link_epoch(part, result, first_in_segment=done.task.first and place == 0)
        if done.task.last:
            _check_segment(done, joiner, began)
        request.progress(joiner.bytes, total)


def _check_offset(result: EpochResult, offset: int | None, findings: Findings) -> int | None:
    """Where the next epoch's entries begin in the segment; None if damage leaves that unknown."""
    if result.header is None or result.damaged:
        return None
    if not result.blocks:
        return offset
    if offset is not None and result.offset - result.size != offset:
        at = result.header.first_entry
        findings.problem("counters", at, at, "the epoch begins at another byte of its segment")
    return result.offset


def _check_listing(plan: Plan, joiner: Joiner, findings: Findings) -> None:
    """Numbers without gap or repetition, and both files of each pair."""
    parts = {part.segment.stem: part for part in plan.parts}
    prune = _known_prune(joiner)
    expired = prune.segment if prune is not None else 0
    before, end = None, 0
    for segment in plan.listing.segments:
        part = parts.get(segment.stem)
        entry = part.first_entry if part is not None and part.epochs else end
        findings.segment = segment.number
        if before is not None and segment.number == before:
            detail = f"number {before} is there twice: {segment.stem}"
            findings.problem("segment_duplicate", entry, entry, detail)
        elif before is not None and segment.number > before + 1:
            detail = f"segments {before + 1} to {segment.number - 1}"
            findings.problem("segment_missing", end, entry - 1, detail)
        before = segment.number
        if part is None and segment.number <= expired:
            # Removing the pair was interrupted; whether its entries may be missing is for `_check_prefix`.
            continue
        if part is None and segment == plan.listing.segments[-1] and segment.is_empty():
            # A start of the segment that was interrupted between its two files.
            continue
        if part is None:
            missing = ".seal" if segment.seal is None else ".log"
            findings.problem("segment_incomplete", entry, entry, f"{segment.stem}{missing} is missing")
        elif len(segment.logs) > 1:
            names = ", ".join(path.name for path in segment.logs)
            findings.problem("segment_duplicate", entry, entry, f"the log is there in several forms: {names}")
        end = max(end, entry, part.end_entry if part is not None else end)
    for name in plan.listing.foreign:
        findings.warn("foreign_file", 0, name)


def _check_segment(done: TaskResult, joiner: Joiner, began: int) -> None:
    part, findings = done.task.part, joiner.findings
    findings.segment, findings.base = part.segment.number, part.first_entry
    at, end = joiner.entries, joiner.last.end if joiner.last is not None else None
    closed = end is not None and end.reason == "close"
    if part.leading:
        detail = f"{part.leading} bytes of lines stand before the first epoch line"
        stop = part.first_entry if part.epochs else part.end_entry
        findings.problem("line_misplaced", began, stop - 1, detail)
    # Nobody appends to a compressed file: it has no open end.
    is_open = part.last and not closed and part.log.suffix == ".log"
    if not part.epochs and (done.extra or not part.last):
        findings.problem("segment_incomplete", at, at, f"{part.seal.name} holds no epoch")
    elif done.extra and not is_open:
        findings.problem("foreign_bytes", at, at, f"after byte {part.sealed} of {part.log.name}")
    if part.torn:
        kind = "torn_line" if part.last else "line_altered"
        findings.problem(kind, at, at, f"{part.torn} bytes in {part.seal.name}")
    if part.segment.unsealed is not None:
        findings.problem("bad_unsealed" if closed else "unsealed_bytes", at, at, part.segment.unsealed.name)


def _check_prefix(joiner: Joiner, findings: Findings, now: int) -> None:
    """A log without its beginning is whole only if it says so itself, and its own retention is over."""
    first = joiner.first
    if first is None or first.epoch == 0:
        return
    findings.segment, findings.epoch, findings.base = first.segment, first.epoch, first.first_entry
    prune = _known_prune(joiner)
    if prune is None or prune.segment < first.segment - 1:
        findings.problem("prefix_missing", 0, first.first_entry - 1, f"epochs 0 to {first.epoch - 1}")
    elif first.time + first.retention > now:
        until = format_time(first.time + first.retention)
        detail = f"segments up to {first.segment - 1} were to be kept until {until}"
        findings.problem("prefix_missing", 0, max(first.first_entry - 1, 0), detail)
    elif prune.segment == first.segment - 1 and not _fits(prune, first):
        findings.problem("prune_broken", 0, max(first.first_entry - 1, 0), f"segments up to {prune.segment}")
    else:
        findings.warn("pruned", first.first_entry, f"segments 1 to {first.segment - 1}")


def _known_prune(joiner: Joiner) -> Prune | None:
    """The prune line that reaches furthest; with a public key alone, of those that a checkpoint is over."""
    known = [item for index, item in joiner.prunes if not joiner.public or index < joiner.signed_size]
    return max(known, key=lambda item: item.segment, default=None)


def _fits(prune: Prune, first: Header) -> bool:
    tree = Frontier(first.tree.size, [b64decode(subtree, "frontier") for subtree in first.tree.frontier])
    stated = (prune.epoch + 1, prune.tree_size, prune.root, prune.entries)
    return stated == (first.epoch, tree.size, b64encode(tree.root()), first.first_entry)


def _check_origin(joiner: Joiner, findings: Findings, request: Request) -> None:
    last, pins = max(joiner.entries - 1, 0), request.pins
    for origin in dict.fromkeys(filter(None, (request.origin, pins.origin if pins is not None else None))):
        if joiner.first is not None and joiner.first.origin != origin:
            detail = f"the log says {joiner.first.origin!r}, {origin!r} was asked for"
            findings.problem("wrong_origin", 0, last, detail)


def _check_end(joiner: Joiner, findings: Findings, request: Request) -> None:
    last, header, now = joiner.last, joiner.last_header, request.now()
    if last is None or header is None:
        return
    at = joiner.entries
    findings.segment, findings.epoch = header.segment, header.epoch
    limit = request.max_age if request.max_age is not None else header.heartbeat * _STALE_HEARTBEATS
    age = now - last.last_time
    if last.end is None and age > limit:
        findings.problem(
            "open_end", at, at, f"its last line is {age // 1000} s old, {limit // 1000} s are allowed"
        )
    if last.end is not None and last.end.reason != "close":
        findings.problem(
            "next_epoch_missing", at, at, f"epoch {header.epoch} ended with reason {last.end.reason!r}"
        )
    if age < -FUTURE_MS:
        findings.problem("future_time", at, at, f"its last line is of {format_time(last.last_time)}")
    # The last header under the checkpoint says what to expect: the unsigned ones could say anything.
    sign_by = next((by for size, by in reversed(joiner.sign_by) if size < joiner.signed_size), 0)
    if 0 < joiner.signed_size < last.index and now > sign_by:
        detail = f"lines {joiner.signed_size} to {last.index - 1} of the tree"
        findings.problem("unsigned_tail", joiner.signed_entries, max(at - 1, 0), detail)
    closed = last.end is not None and last.end.reason == "close"
    if closed and joiner.key is not None and joiner.signed_size < last.index and not joiner.mismatched:
        # Otherwise whoever can write files could strip the last checkpoints and write the end anew.
        detail = f"lines {joiner.signed_size} to {last.index - 1} of the tree"
        findings.problem("close_unsigned", joiner.signed_entries, max(at - 1, 0), detail)
    if joiner.public:
        beyond = at - joiner.signed_entries
        findings.warn(
            "public_only", at, f"{beyond} entries follow the last checkpoint: nothing shows who made them"
        )
    if request.strict:
        strict = {"reopen": "reopen_strict", "rotation_unrecorded": "rotation_strict"}
        for warning in [item for item in findings.warnings if item.kind in strict]:
            findings.problem(strict[warning.kind], warning.first_entry, warning.last_entry, warning.detail)


def _verdict(
    plan: Plan, joiner: Joiner, findings: Findings, request: Request, witnessed: Witnessed
) -> Verdict:
    last, first = joiner.last, joiner.first
    closed = last is not None and last.end is not None and last.end.reason == "close"
    return Verdict(
        verdict=name_of(findings.problems, checked=joiner.last_header is not None),
        origin=first.origin if first is not None else "",
        entries=joiner.entries,
        bytes=joiner.bytes,
        epochs=joiner.epochs,
        segments=len(plan.parts),
        log=first.log if first is not None else "",
        signed_entries=joiner.signed_entries,
        tree_size=last.tree.size if last is not None else 0,
        root=b64encode(last.tree.root()) if last is not None else "",
        last_sealed=format_time(last.last_time) if last is not None else "",
        closed=closed,
        mode="public" if request.make_recoverer is None else "keys",
        problems=findings.problems,
        warnings=findings.warnings,
        not_shown=[] if last is None else [LIMIT_CLOSED if closed else LIMIT_OPEN],
        witnessed_entries=witnessed.entries,
        witnessed_by=list(witnessed.by),
        checkpoint_key=joiner.signers.current.vkey if joiner.signers is not None else "",
        rotations=[_view(item) for item in joiner.rotations],
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
