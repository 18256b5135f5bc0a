"""What is told of a fleet, as one page that a person reads: no script, no network, the worst on top."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files

from epochseal.monitor.told import Told, ToldLog
from epochseal.report.formatting import page_environment, resource
from epochseal.version import __version__

_MOST_ROWS = 2000
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


class FleetPage:
    """Makes the page of each moment."""

    def __init__(self) -> None:
        self._style = resource("style.css") + _resource("fleet.css")
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode("ascii")
        environment = page_environment()
        environment.filters.update(moment=_moment)
        environment.globals.update(style_digest=digest, version=__version__)
        self._page = environment.from_string(_resource("fleet.html.jinja"))

    def render(self, told: Told) -> bytes:
        """The page, in UTF-8."""
        worst = told.logs[0].verdict if told.logs else "empty"
        if told.missing and worst in {"verified", "empty"}:
            worst = "incomplete"
        counts: dict[str, int] = {}
        for log in told.logs:
            counts[log.verdict or "not examined"] = counts.get(log.verdict or "not examined", 0) + 1
        page = self._page.render(
            told=told,
            rows=told.logs[:_MOST_ROWS],
            hidden=max(len(told.logs) - _MOST_ROWS, 0),
            counts=counts,
            worst=worst or "untrusted",
            style=self._style,
            age=lambda moment: _age(told.time, moment),
            bar=_bar,
        )
        return page.encode("utf-8")


def _bar(log: ToldLog) -> int:
    """The position of the scrub, in percent."""
    return int(100 * log.position) if log.scrubbing else 100


def _age(now: int, moment: int) -> str:
    if not moment:
        return "never"
    age = max(now - moment, 0)
    for size, name in _UNITS:
        if age >= 2 * size:
            return f"{age // size} {name} ago"
    return "now"


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def _resource(name: str) -> str:
    return (files("epochseal.monitor") / name).read_text(encoding="utf-8")
