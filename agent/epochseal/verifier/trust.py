"""Which epochs the log's own writer began, as far as anything shows it (docs/format.md, 13.7)."""

from __future__ import annotations

from collections.abc import Mapping

from epochseal.encoding import b64encode
from epochseal.verifier.findings import Findings
from epochseal.verifier.joined_log import Epoch, JoinedLog, Run


def judge_trust(
    log: JoinedLog, accepted: Mapping[bytes, str], findings: Findings, *, public: bool, key_named: bool
) -> None:
    """Mark the epochs that are trusted, and report runs and epochs that are not.

    `accepted` are the leaves of epoch lines that a person has accepted, each with the reason.
    """
    for epoch in log.epochs:
        signed = agrees(epoch) and _is_signed_for(epoch)
        epoch.by_person = not signed and not public and epoch.leaf in accepted
        epoch.trusted = signed or epoch.by_person
    for place, run in enumerate(log.runs):
        _judge_starts(run, accepted, findings)
        if run.entries:
            settled = [epoch for epoch in run.epochs if not log.is_left_out(epoch.index)]
            _judge_run(run, settled, accepted, findings, key_named=key_named)
            if public and place + 1 < len(log.runs):
                _judge_vouched(run, findings)


def _announcement(epoch: Epoch) -> tuple[int, int, str] | None:
    """Of an epoch that was to be announced: the index of the line that did, the number and digest it says."""
    before = epoch.before
    if epoch.link != "carry" or before is None or before.end_reason in (None, "close"):
        return None
    if before.announced is None:
        return None
    index, said = before.announced
    return index, said.epoch, said.wrapped


def agrees(epoch: Epoch) -> bool:
    """Whether the epoch is the one that was announced, if one was."""
    said = _announcement(epoch)
    return said is None or said[1:] == (epoch.place.epoch, b64encode(epoch.wrapped))


def _is_signed_for(epoch: Epoch) -> bool:
    """Whether a valid checkpoint of its run is over its line, or over the line that announced it."""
    if epoch.run.signed > epoch.index:
        return True
    said = _announcement(epoch)
    return said is not None and epoch.run.signed > said[0]


def _judge_starts(run: Run, accepted: Mapping[bytes, str], findings: Findings) -> None:
    start = run.epochs[0]
    if run.start is None:
        return
    reason = accepted.get(start.leaf)
    told = f"start {b64encode(start.leaf)}"
    if reason is not None and (start.denies or (start.link == "cold" and run.entries)):
        findings.warn("start_accepted", start.place, f"epoch {start.place.epoch}: {reason}")
    elif start.denies:
        detail = f"epoch {start.place.epoch} denies log {start.denies}, which was here before: {told}"
        findings.problem("tampered_at_start", start.place, detail)
    if start.link == "cold" and run.entries and reason is None:
        closed = start.before is not None and start.before.end_reason == "close"
        gap = (
            "nothing is missing before it, but only a credential vouches for who went on"
            if closed
            else "entries behind the last sealed one before it may be lost"
        )
        detail = f"epoch {start.place.epoch} began without the carry of the one before: {gap}; {told}"
        findings.problem("cold_start", start.place, detail)


def _judge_run(
    run: Run, epochs: list[Epoch], accepted: Mapping[bytes, str], findings: Findings, *, key_named: bool
) -> None:
    """`epochs` are those of the run of which the line before is known, or has expired."""
    for epoch in epochs:
        if not epoch.trusted and not epoch.bare:
            is_start = epoch is run.epochs[0] and run.start is not None
            detail = f"epoch {epoch.place.epoch} ({epoch.link}): "
            detail += "anybody could have begun it" if agrees(epoch) else "another one was announced"
            if not key_named:
                detail += "; no checkpoint key was named"
            kind = "start_unsigned" if is_start else "epoch_unsigned"
            findings.problem(kind, epoch.place, detail, epoch.place.entry, epoch.last_entry)
        elif epoch.by_person and (epoch is not run.epochs[0] or run.start is None or epoch.link == "genesis"):
            findings.warn("start_accepted", epoch.place, f"epoch {epoch.place.epoch}: {accepted[epoch.leaf]}")


def _judge_vouched(run: Run, findings: Findings) -> None:
    missing = run.entries - run.vouched_entries
    if missing:
        last = run.epochs[-1]
        detail = f"{missing} entries of the run that began with epoch {run.epochs[0].place.epoch}"
        first = max(last.last_entry - missing + 1, run.epochs[0].place.entry)
        findings.problem("unvouched", last.place, detail, first, last.last_entry)
