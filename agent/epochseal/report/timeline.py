"""When the log was sealed: bars for segments and epochs, marks for damage and gaps, and a table of them.

However large the log, there is a bounded number of each: neighbours are drawn as one, and the middle of the
table is left out where nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from epochseal.evidence.overview import EpochView, Overview, SegmentView
from epochseal.report.formatting import sentence
from epochseal.verifier import KINDS, Problem, Verdict

State = Literal["good", "bad", "gap", "doubt"]
"""`bad`: tampered; `doubt`: untrusted or incomplete; `gap`: entries are missing or may be."""

MAX_BARS = 240
_MAX_MARKS = 60
_NARROWEST = 0.004
_TABLE_ENDS = 8
_TABLE_DAMAGED = 24
_GAPS = frozenset(
    {"cold_start", "start_accepted", "tampered_at_start", "segment_missing", "prefix_missing", "pruned"}
)
_STATES: dict[str, State] = {"tampered": "bad", "untrusted": "doubt", "incomplete": "doubt"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time, in hundredths of a per cent of the whole: `at` and `width`."""

    at: str
    width: str
    state: State
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Bars of one kind; `note` says what was drawn together or left out."""

    name: str
    bars: tuple[Bar, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: a segment, a gap between two, or how many rows are left out."""

    kind: Literal["segment", "gap", "cut"]
    text: str
    state: State = "good"
    segment: SegmentView | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The drawing, empty if no time is known, and the table."""

    begin: str
    end: str
    lanes: tuple[Lane, ...]
    table: tuple[Line, ...]


def draw(view: Overview, verdict: Verdict) -> Timeline:
    """The timeline of a log that was verified."""
    states = _states(verdict)
    scale = _Scale(view)
    lanes: list[Lane] = []
    if scale.known:
        lanes.append(_segment_lane(view, states, scale))
        lanes.append(_epoch_lane(view, verdict, scale))
        if marks := tuple(_marks(view, verdict, scale)):
            lanes.append(Lane("gaps", marks))
    return Timeline(scale.begin, scale.end, tuple(lanes), tuple(_table(view, verdict, states)))


def when(text: str) -> float | None:
    """A time of the overview in seconds; None if there is none, or it is beyond the calendar."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def short_time(text: str) -> str:
    """`2026-11-23 10:00:00`."""
    return text[:19].replace("T", " ")


class _Scale:
    """Places of times between the first and the last one."""

    def __init__(self, view: Overview) -> None:
        texts = [text for item in view.segments for text in (item.first_time, item.last_time) if text]
        known = sorted((time, text) for text in texts if (time := when(text)) is not None)
        self.known = bool(known)
        self._first, self.begin = known[0] if known else (0.0, "")
        last, self.end = known[-1] if known else (0.0, "")
        self._span = (last - self._first) or 1.0

    def bar(self, begin: str, end: str, state: State, title: str) -> Bar | None:
        """A bar between two times; None if they are not known."""
        first, last = when(begin), when(end)
        if first is None or last is None:
            return None
        at = min(max((first - self._first) / self._span, 0.0), 1.0)
        stop = min(max((last - self._first) / self._span, at), 1.0)
        # A second in a year would be too narrow to see.
        width = max(stop - at, _NARROWEST)
        return Bar(f"{min(at, 1 - width):.4%}", f"{width:.4%}", state, title)


def _states(verdict: Verdict) -> dict[int, State]:
    """The gravest finding of each segment."""
    states: dict[int, State] = {}
    for item in verdict.problems:
        state = _STATES[KINDS[item.kind].grade]
        if states.get(item.segment) != "bad":
            states[item.segment] = state
    return states


def _segment_lane(view: Overview, states: dict[int, State], scale: _Scale) -> Lane:
    per_bar = -(-len(view.segments) // MAX_BARS)
    bars = []
    for group in _groups(view.segments, per_bar):
        found = {states.get(item.segment, "good") for item in group}
        state: State = "bad" if "bad" in found else "doubt" if "doubt" in found else "good"
        timed = [item for item in group if item.first_time]
        if not timed:
            continue
        entries = sum(item.entries for item in group)
        name = _span("segment", group[0].segment, group[-1].segment)
        bar = scale.bar(timed[0].first_time, timed[-1].last_time, state, f"{name}: {entries:,} entries")
        bars += [bar] if bar is not None else []
    note = f"each bar stands for {per_bar:,} segments" if per_bar > 1 else ""
    return Lane("segments", tuple(bars), note)


def _epoch_lane(view: Overview, verdict: Verdict, scale: _Scale) -> Lane:
    bad = {(item.segment, item.epoch) for item in verdict.problems if KINDS[item.kind].grade == "tampered"}
    lasts = {item.segment: item.last_time for item in view.segments}
    bars = []
    epochs = view.epochs
    for place, item in enumerate(epochs):
        follows = place + 1 < len(epochs) and epochs[place + 1].epoch == item.epoch + 1
        same = follows and epochs[place + 1].segment == item.segment
        end = epochs[place + 1].started if same else lasts.get(item.segment, item.started)
        state: State = "bad" if (item.segment, item.epoch) in bad else "good"
        bar = scale.bar(item.started, end, state, _epoch_title(item))
        bars += [bar] if bar is not None else []
    hidden = view.epoch_count - len(epochs)
    note = f"{hidden:,} epochs in the middle are not drawn" if hidden else ""
    return Lane("epochs", tuple(bars), note)


def _epoch_title(item: EpochView) -> str:
    return f"epoch {item.epoch} ({item.link}): {item.entries:,} entries, from {short_time(item.started)}"


def _marks(view: Overview, verdict: Verdict, scale: _Scale) -> Iterator[Bar]:
    """Gaps: from the last line before one to the first line after it."""
    segments = {item.segment: item for item in view.segments}
    gaps = [item for item in (*verdict.problems, *verdict.warnings) if item.kind in _GAPS]
    for item in gaps[:_MAX_MARKS]:
        before, after = segments.get(item.segment - 1), segments.get(item.segment)
        if item.kind == "segment_missing":
            numbers = sorted(number for number in segments if number < item.segment)
            before = segments[numbers[-1]] if numbers else None
        if before is None or after is None:
            continue
        state = _gap_state(item)
        bar = scale.bar(before.last_time, after.first_time, state, sentence(KINDS[item.kind].says))
        if bar is not None:
            yield bar


def _gap_state(item: Problem) -> State:
    return "bad" if KINDS[item.kind].grade == "tampered" else "gap"


def _table(view: Overview, verdict: Verdict, states: dict[int, State]) -> Iterator[Line]:
    gaps: dict[int, list[Problem]] = {}
    for item in (*verdict.problems, *verdict.warnings):
        if item.kind in _GAPS:
            gaps.setdefault(item.segment, []).append(item)
    special = [item.segment for item in view.segments if item.segment in gaps or item.segment in states]
    shown = {item.segment for item in (*view.segments[:_TABLE_ENDS], *view.segments[-_TABLE_ENDS:])}
    shown.update(special[:_TABLE_DAMAGED])
    hidden = found = 0
    for segment in view.segments:
        if segment.segment not in shown:
            hidden += 1
            found += segment.segment in gaps or segment.segment in states
            continue
        if hidden:
            yield _cut(hidden, found)
        hidden = found = 0
        for gap in gaps.pop(segment.segment, ()):
            state = _gap_state(gap)
            says = sentence(KINDS[gap.kind].says)
            text = f"{says} ({gap.detail})" if "missing" in gap.kind else says
            yield Line("gap", text, state)
        yield Line(
            "segment", segment.name, states.get(segment.segment, "good"), segment, _words(segment, states)
        )
    if hidden:
        yield _cut(hidden, found)


def _words(segment: SegmentView, states: dict[int, State]) -> str:
    if segment.seal_size is None:
        return "seal file missing"
    if not segment.log_files:
        return "log file missing"
    return {"good": "whole", "bad": "damaged", "doubt": "in doubt", "gap": "gap"}[
        states.get(segment.segment, "good")
    ]


def _cut(hidden: int, found: int) -> Line:
    noun = "segment" if hidden == 1 else "segments"
    return Line(
        "cut", f"{hidden:,} more {noun}, {found:,} with a finding" if found else f"{hidden:,} more {noun}"
    )


def _groups(items: Sequence[SegmentView], size: int) -> Iterator[Sequence[SegmentView]]:
    for start in range(0, len(items), max(size, 1)):
        yield items[start : start + size]


def _span(noun: str, first: int, last: int) -> str:
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"
