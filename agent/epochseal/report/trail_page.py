"""From what reconcile found to one HTML page, in the same form as that of a verdict."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from epochseal.encoding import format_time
from epochseal.report.formatting import count, page_environment, resource
from epochseal.report.timeline import short_time
from epochseal.trail import KINDS, NOTES, Reconciliation, TrailFinding
from epochseal.version import __version__

MAX_FINDINGS = 200
"""Problems, and notes, that a page shows; the rest is counted."""

_LOOKS = {"clean": "verified", "contradiction": "tampered", "incomplete": "incomplete", "empty": "empty"}
_HEADLINES = {
    "clean": "Every secret that was issued is in the log, and every epoch of the log was issued.",
    "contradiction": "The trail of the key backend contradicts this log.",
    "incomplete": "Nothing contradicts the log, but the trail does not show everything.",
    "empty": "Nothing was compared: there is no epoch line, or no call that one of them quotes.",
}


@dataclass(frozen=True, slots=True)
class _FindingView:
    """A finding in words."""

    look: str
    verdict: str
    title: str
    where: str
    detail: str


def render_trail_report(name: str, result: Reconciliation, now: int) -> bytes:
    """The page about one comparison, in UTF-8; `name` is the log's directory, `now` in ms."""
    style = resource("style.css")
    environment = page_environment()
    environment.filters.update(count=count, moment=lambda time: short_time(format_time(time)))
    page = environment.from_string(resource("trail.html.jinja")).render(
        name=name,
        origin=result.origin,
        result=result,
        look=_LOOKS[result.verdict],
        headline=_HEADLINES[result.verdict],
        problems=[_problem(item) for item in result.problems[:MAX_FINDINGS]],
        notes=[_note(item) for item in result.notes[:MAX_FINDINGS]],
        hidden=max(len(result.problems) - MAX_FINDINGS, 0) + max(len(result.notes) - MAX_FINDINGS, 0),
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        made=datetime.fromtimestamp(now // 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        version=__version__,
    )
    return page.encode("utf-8")


def _problem(item: TrailFinding) -> _FindingView:
    verdict, meaning = KINDS[item.kind]
    return _shown(item, _LOOKS[verdict], verdict, meaning)


def _note(item: TrailFinding) -> _FindingView:
    return _shown(item, "", "", NOTES[item.kind])


def _shown(item: TrailFinding, look: str, verdict: str, meaning: str) -> _FindingView:
    parts = [
        f"epoch {item.epoch:,}" if item.epoch >= 0 else "",
        f"by {item.who}" if item.who else "",
        format_time(item.time) if item.time else "",
    ]
    where = " · ".join(part for part in parts if part)
    return _FindingView(look, verdict, f"{meaning[0].upper()}{meaning[1:]}", where, item.detail)
