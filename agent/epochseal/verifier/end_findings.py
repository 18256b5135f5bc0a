"""What the end of a log shows: closed or alive, signed in time, of the origin that was asked for."""

from __future__ import annotations

from epochseal.encoding import format_time
from epochseal.verifier.linked_log import LinkedLog
from epochseal.verifier.request import Request

FUTURE_MS = 120_000
_STALE_HEARTBEATS = 3


def check_origin(log: LinkedLog, request: Request) -> None:
    """The log is of the origin that was asked for, or that is pinned."""
    pins = request.pins
    for origin in dict.fromkeys(filter(None, (request.origin, pins.origin if pins is not None else None))):
        if log.first is not None and log.first.origin != origin:
            detail = f"the log says {log.first.origin!r}, {origin!r} was asked for"
            log.found.problem("wrong_origin", 0, log.last_entry, detail)


def check_end(log: LinkedLog, request: Request) -> None:
    """How the log ends, and whether that end is signed in time."""
    found, last, header, now = log.found, log.last, log.last_header, request.now()
    if last is None or header is None:
        return
    at = log.entries
    log.stand_at_end()
    limit = request.max_age if request.max_age is not None else header.heartbeat * _STALE_HEARTBEATS
    age = now - last.last_time
    if last.end is None and age > limit:
        found.problem(
            "open_end", at, at, f"its last line is {age // 1000} s old, {limit // 1000} s are allowed"
        )
    if last.end is not None and last.end.reason != "close":
        found.problem(
            "next_epoch_missing", at, at, f"epoch {header.epoch} ended with reason {last.end.reason!r}"
        )
    if age < -FUTURE_MS:
        found.problem("future_time", at, at, f"its last line is of {format_time(last.last_time)}")
    if 0 < log.signed_size < last.index and now > log.sign_by_of(log.signed_size):
        detail = f"lines {log.signed_size} to {last.index - 1} of the tree"
        found.problem("unsigned_tail", log.signed_entries, max(at - 1, 0), detail)
    if log.closed and log.key is not None and log.signed_size < last.index and not log.mismatched:
        # A close is always signed. Were that not asked for, whoever can write files could remove the last
        # checkpoints and write another end.
        detail = f"lines {log.signed_size} to {last.index - 1} of the tree"
        found.problem("close_unsigned", log.signed_entries, max(at - 1, 0), detail)
    if log.public:
        beyond = at - log.signed_entries
        found.warn(
            "public_only", at, f"{beyond} entries follow the last checkpoint: nothing shows who made them"
        )
    if request.strict:
        strict = {"reopen": "reopen_strict", "rotation_unrecorded": "rotation_strict"}
        for warning in [item for item in found.warnings if item.kind in strict]:
            found.problem(strict[warning.kind], warning.first_entry, warning.last_entry, warning.detail)
