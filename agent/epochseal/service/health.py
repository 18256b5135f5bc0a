"""Whether a daemon's logs acknowledge: what `/healthz` answers with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from epochseal.sealing.sealer import Sealer
from epochseal.service.failures import failure_text
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.source_views import FileView, SourceView, view_of

STUCK_SECONDS = 30.0
"""A single write that lasts longer is told of: a disk may hang without an error."""


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
        sources = tuple(self.sources)
        names = dict.fromkeys(source.name for source in sources)
        return {name: view_of(source for source in sources if source.name == name) for name in names}


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
        view.name: {name: _source(seen) for name, seen in view.source_views().items()} for view in views
    }
    body: dict[str, object] = {"status": "ok" if healthy else "failing", "logs": found, "sources": sources}
    if failures := {view.name: told for view in views if (told := view.failures())}:
        body["failures"] = failures
    return (200 if healthy else 503), json.dumps(body).encode() + b"\n"


def _source(seen: SourceView) -> dict[str, object]:
    files = {name: _figures(file) for name, file in seen.files.items()}
    return {**_figures(seen), "files": files, "files_left_out": seen.left_out}


def _figures(seen: FileView) -> dict[str, object]:
    return {
        "state": seen.state,
        "waiting_bytes": seen.lag,
        "gaps": seen.gaps,
        "skipped_bytes": seen.skipped,
        "last_read": int(seen.last_read),
    }
