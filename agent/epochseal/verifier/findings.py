"""Problems and warnings, numbered in the log's own terms."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from epochseal.verifier.verdict import Problem


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where something stands: segment, its first entry, epoch, and the number of the next entry there."""

    segment: int = 0
    base: int = 0
    epoch: int = 0
    entry: int = 0


class Findings(msgspec.Struct):
    """What was found so far; each finding is about entries, at a place."""

    problems: list[Problem] = msgspec.field(default_factory=list)
    warnings: list[Problem] = msgspec.field(default_factory=list)

    def problem(
        self, kind: str, at: Place, detail: str, first: int | None = None, last: int | None = None
    ) -> None:
        """Add a problem with entries `first` to `last`; without them, with the place alone."""
        self.problems.append(_record(kind, at, detail, first, last))

    def warn(self, kind: str, at: Place, detail: str, entry: int | None = None) -> None:
        """Add a warning."""
        self.warnings.append(_record(kind, at, detail, entry, entry))


def _record(kind: str, at: Place, detail: str, first: int | None, last: int | None) -> Problem:
    first = max(at.entry if first is None else first, 0)
    last = max(first, first if last is None else last)
    lines = max(first - at.base, 0) + 1, max(last - at.base, 0) + 1
    return Problem(kind, at.segment, at.epoch, first, last, *lines, detail)


def merged(problems: list[Problem]) -> list[Problem]:
    """Neighbouring ranges of one kind as one."""
    out: list[Problem] = []
    for item in problems:
        before = out[-1] if out else None
        if before is None or (before.kind, before.last_entry + 1) != (item.kind, item.first_entry):
            out.append(item)
            continue
        detail = before.detail if before.detail.endswith("…") else f"{before.detail} …"
        out[-1] = replace(before, last_entry=item.last_entry, last_line=item.last_line, detail=detail)
    return out
