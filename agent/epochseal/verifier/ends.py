"""Where a log begins and where it ends (docs/format.md, 13.10 and 13.11)."""

from __future__ import annotations

from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.format.merkle import Frontier
from epochseal.format.seal_lines import Header, Prune
from epochseal.verifier.checkpoint_check import Checkpoints
from epochseal.verifier.findings import Findings
from epochseal.verifier.joined_log import JoinedLog
from epochseal.verifier.remembered import Remembered
from epochseal.verifier.request import Request

FUTURE_MS = 120_000
_STALE_HEARTBEATS = 3


def check_beginning(
    log: JoinedLog, findings: Findings, prune: Prune | None, remembered: Remembered, now: int
) -> None:
    """A log without its beginning is whole only if it says so itself, and its own retention is over."""
    first, at = log.first, log.start_place
    if first is None or first.epoch == 0:
        return
    last = max(first.first_entry - 1, 0)
    kept_until = next((epoch.time + epoch.retention for epoch in log.epochs if epoch.trusted), None)
    if prune is None or prune.segment < first.segment - 1 or kept_until is None:
        findings.problem("prefix_missing", at, f"epochs 0 to {first.epoch - 1}", 0, last)
    elif kept_until > now:
        detail = f"segments up to {first.segment - 1} were to be kept until {format_time(kept_until)}"
        findings.problem("prefix_missing", at, detail, 0, last)
    elif prune.segment == first.segment - 1 and not _fits(prune, first):
        findings.problem("prune_broken", at, f"segments up to {prune.segment}", 0, last)
    else:
        findings.warn("pruned", at, f"segments 1 to {first.segment - 1}")
    _check_proven(log, findings, remembered)


def _fits(prune: Prune, first: Header) -> bool:
    tree = Frontier(first.tree.size, [b64decode(subtree, "frontier") for subtree in first.tree.frontier])
    stated = (prune.epoch + 1, prune.tree_size, prune.root, prune.entries)
    return stated == (first.epoch, tree.size, b64encode(tree.root()), first.first_entry)


def _check_proven(log: JoinedLog, findings: Findings, remembered: Remembered) -> None:
    pins, first = remembered.pins, log.epochs[0]
    if pins is not None and (first.leaf in pins.starts or (pins.size > first.index and not remembered.found)):
        return
    detail = f"the log begins at line {first.index}: its id shows nothing of who began it"
    if remembered.request.log is not None:
        findings.problem("beginning_unproven", log.start_place, detail)
    else:
        findings.warn("beginning_unproven", log.start_place, detail)


def check_end(checkpoints: Checkpoints, findings: Findings, request: Request, now: int) -> None:
    """Whether the log is alive, closed or cut off, as far as it shows."""
    log = checkpoints.log
    at = log.end_place
    if log.last is not None and log.last_header is not None:
        _check_age(log, log.last_header, findings, request.max_age, now)
        if checkpoints.keys is not None and checkpoints.signed_size < log.tree_size:
            _check_unsigned(checkpoints, findings, now, public=request.public)
    if request.public:
        beyond = log.entries - checkpoints.signed_entry
        detail = f"{beyond} entries follow the last checkpoint: nothing shows who made them"
        findings.warn("public_only", at, detail)


def _check_age(log: JoinedLog, header: Header, findings: Findings, max_age: int | None, now: int) -> None:
    at, end, last_time = (
        log.end_place,
        log.last.end if log.last else None,
        log.last.last_time if log.last else 0,
    )
    limit = max_age if max_age is not None else header.heartbeat * _STALE_HEARTBEATS
    age = now - last_time
    if end is None and age > limit:
        detail = f"its last line is {age // 1000} s old, {limit // 1000} s are allowed"
        findings.problem("open_end", at, detail)
    if end is not None and end.reason != "close":
        findings.problem("next_epoch_missing", at, f"epoch {header.epoch} ended with reason {end.reason!r}")
    if age < -FUTURE_MS:
        findings.problem("future_time", at, f"its last line is of {format_time(last_time)}")


def _check_unsigned(checkpoints: Checkpoints, findings: Findings, now: int, *, public: bool) -> None:
    """Otherwise whoever can write files could strip the last checkpoints, and write the end anew."""
    log = checkpoints.log
    first, last = checkpoints.signed_entry, log.entries - 1
    detail = f"lines {checkpoints.signed_size} to {log.tree_size - 1} of the tree"
    if log.closed and log.runs and log.runs[-1].entries:
        findings.problem("close_unsigned", log.end_place, detail, first, last)
    busy = next((run for run in reversed(log.runs) if run.entries), None)
    for epoch in reversed(log.epochs):
        # The last one that nobody else can have begun says what to expect: others could say anything.
        if epoch.run.signed > epoch.index if public else epoch.trusted:
            limit = epoch.interval * (2 if public else 1) + epoch.max_overdue
            if epoch.run is busy and now - epoch.time > limit:
                findings.problem("unsigned_tail", log.end_place, detail, first, last)
            return
