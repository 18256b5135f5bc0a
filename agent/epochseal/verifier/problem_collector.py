"""The problems and warnings of one verification, each with its place in the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from epochseal.verifier.verdict import Problem


@dataclass(slots=True)
class ProblemCollector:
    """What was found so far, and where the next one stands; `base` is the segment's first entry."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    segment: int = 0
    epoch: int = 0
    base: int = 0

    def stand_at(self, segment: int, base: int, epoch: int) -> None:
        """What is found next stands there; `base` is the segment's first entry."""
        self.segment, self.base, self.epoch = segment, base, epoch

    def problem(self, kind: str, first: int, last: int, detail: str) -> None:
        """Add a problem about entries `first` to `last`, at the segment and epoch at hand."""
        self.problems.append(self._record(kind, first, last, detail))

    def warn(self, kind: str, entry: int, detail: str) -> None:
        """Add a warning."""
        self.warnings.append(self._record(kind, entry, entry, detail))

    def _record(self, kind: str, first: int, last: int, detail: str) -> Problem:
        last = max(first, last)
        lines = max(first - self.base, 0) + 1, max(last - self.base, 0) + 1
        return Problem(kind, self.segment, self.epoch, first, last, *lines, detail)


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
