"""Whether a daemon's logs acknowledge: what `/healthz` answers with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from epochseal.sealing.sealer import Sealer
from epochseal.service.failures import failure_text
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.source_figures import State, state_of

STUCK_SECONDS = 30.0
"""A single write that lasts longer is told of: a disk may hang without an error."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source at one moment.

    Attributes:
        trouble: why nothing new reaches it; empty while all is well.
        lag: bytes that wait to be sealed, as far as it can know.
        gaps, skipped, last_read: see `SourceFigures`.
    """

    trouble: str
    lag: int
    gaps: int
    skipped: int
    last_read: float

    @property
    def state(self) -> State:
        """In a word."""
        return state_of(self.trouble, self.lag)


@dataclass(slots=True)
class LogView:
    """One log as the listener sees it; all that is asked of its parts is safe from another thread.

    Attributes:
        sealer, sources: replaced when the log is started again.
        failure: what it failed with; None while it runs.
    """

    name: str
    sealer: Sealer
    sources: Sequence[GuardedSource]
    failure: BaseException | None = None

    def buffered(self) -> int:
        """Bytes that were read and are not sealed."""
        return sum(max(source.buffered, 0) for source in tuple(self.sources))

    def failures(self) -> dict[str, str]:
        """Why it, or a source of it, takes no entries: the text by the source's name, "" for the log."""
        found = {source.name: source.trouble for source in tuple(self.sources)}
        found[""] = failure_text(self.failure) if self.failure is not None else ""
        return {name: text for name, text in found.items() if text}

    def source_views(self) -> dict[str, SourceView]:
        """Each source by its name; those of one name are taken together."""
        views: dict[str, SourceView] = {}
        for source in tuple(self.sources):
            figures, before = source.figures, views.get(source.name, SourceView("", 0, 0, 0, 0.0))
            views[source.name] = SourceView(
                before.trouble or source.trouble,
                # The loop may be moving a buffer's two ends: for that moment the number may be negative.
                before.lag + max(source.lag, 0),
                before.gaps + figures.gaps,
                before.skipped + figures.skipped,
                max(before.last_read, figures.last_read),
            )
        return views


def reasons(view: LogView) -> list[str]:
    """Why entries of this log are not acknowledged, as fixed words; none while they are, or none come."""
    status = view.sealer.status()
    found = {
        "failed": status.failed or view.sealer.counters.failure != "" or view.failure is not None,
        "no_room": status.stalled > 0,
        "overdue": status.late,
        "stuck": status.step - status.stalled > STUCK_SECONDS,
        # Nothing is accepted before the first epoch has its key and its signed checkpoint.
        "waiting_for_backend": not (status.live or status.failed or status.closed),
        "source_failed": any(source.trouble for source in tuple(view.sources)),
    }
    return [reason for reason, holds in found.items() if holds]


def health(views: Sequence[LogView]) -> tuple[int, bytes]:
    """The HTTP status, 200 or 503, and a JSON object: each log's reasons and sources, what failed and why."""
    found = {view.name: reasons(view) for view in views}
    healthy = not any(found.values())
    sources = {
        view.name: {
            name: {
                "state": seen.state,
                "waiting_bytes": seen.lag,
                "gaps": seen.gaps,
                "skipped_bytes": seen.skipped,
                "last_read": int(seen.last_read),
            }
            for name, seen in view.source_views().items()
        }
        for view in views
    }
    body: dict[str, object] = {"status": "ok" if healthy else "failing", "logs": found, "sources": sources}
    if failures := {view.name: told for view in views if (told := view.failures())}:
        body["failures"] = failures
    return (200 if healthy else 503), json.dumps(body).encode() + b"\n"
