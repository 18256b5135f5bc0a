"""From verdicts and their logs to one HTML page that needs nothing but itself: no script, no network."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from epochseal.evidence.overview import CheckpointKeyView, EpochKeyView, read_overview
from epochseal.report.excerpts import Excerpt, read_excerpts
from epochseal.report.formatting import count, page_environment, resource, sentence
from epochseal.report.timeline import MAX_BARS, Timeline, draw, short_time
from epochseal.storage.segments import log_name
from epochseal.verifier import KINDS, Problem, Verdict
from epochseal.verifier.verdict import GRAVEST_FIRST, gravest
from epochseal.version import __version__

MAX_PROBLEMS = 40
"""Findings that a page shows for each log; the rest is counted."""
MAX_EXCERPTS = 12
"""Findings with entries of the log around them."""
MAX_WARNINGS = 20

_MAX_KEYS = 20
_TOP = 4
_HEADLINES = {
    "verified": "Everything that is here is what was sealed, in order and without a gap.",
    "tampered": "Somebody changed the files of this log.",
    "incomplete": "What is here is genuine, but something is missing or may be missing.",
    "untrusted": "It fits together, but nothing shows that the right keys made it.",
    "empty": "Nothing was checked: no sealed log is here.",
}

_MEMORY = {
    "known": "held against what the verifier remembers of it",
    "new": "seen for the first time: compare the id with the one that its owner tells you",
    "none": "held against no memory",
}
_RANKS: dict[str, int] = {name: place for place, name in enumerate(GRAVEST_FIRST)}


@dataclass(frozen=True, slots=True)
class Subject:
    """One log that was verified, and the words of the command that did it."""

    logdir: Path
    verdict: Verdict
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A problem or a warning in words."""

    grade: str
    title: str
    where: str
    entries: str
    detail: str
    advice: str
    excerpt: Excerpt | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """All that the page says of one log."""

    name: str
    verdict: Verdict
    headline: str
    summary: str
    findings: tuple[ProblemView, ...]
    top: tuple[ProblemView, ...]
    hidden: int
    warnings: tuple[ProblemView, ...]
    hidden_warnings: int
    timeline: Timeline
    epoch_keys: tuple[EpochKeyView, ...]
    signers: tuple[CheckpointKeyView, ...]
    hidden_keys: int
    tree_size: int
    signed_size: int
    memory: str
    command: tuple[str, ...]


def render_report(subjects: Sequence[Subject], now: int) -> bytes:
    """The page about these logs, in UTF-8; `now` in ms. Its size does not grow with the logs.

    Raises:
        StorageError: a file of a log cannot be read.
    """
    chapters = [_chapter(item) for item in subjects]
    style = resource("style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = page_environment()
    environment.filters.update(count=count, entry_text=_entry_text, short_time=short_time)
    page = environment.from_string(resource("page.html.jinja")).render(
        chapters=chapters,
        gravest=gravest(item.verdict.verdict for item in chapters),
        style=style,
        style_digest=digest,
        made=datetime.fromtimestamp(now // 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        version=__version__,
    )
    return page.encode("utf-8")


def _chapter(subject: Subject) -> Chapter:
    verdict = subject.verdict
    view = read_overview(subject.logdir, shown_epochs=MAX_BARS // 2)
    shown = sorted(verdict.problems, key=lambda item: _RANKS[KINDS[item.kind].grade])[:MAX_PROBLEMS]
    excerpts = read_excerpts(subject.logdir, shown[:MAX_EXCERPTS])
    findings = tuple(_in_words(item, excerpts.get(item)) for item in shown)
    warnings = tuple(_in_words(item) for item in verdict.warnings[:MAX_WARNINGS])
    keys, signers = view.epoch_keys, view.checkpoint_keys
    return Chapter(
        name=log_name(subject.logdir),
        verdict=verdict,
        headline=_headline(verdict),
        summary=_summary(verdict),
        findings=findings,
        top=findings[:_TOP],
        hidden=len(verdict.problems) - len(findings),
        warnings=warnings,
        hidden_warnings=len(verdict.warnings) - len(warnings),
        timeline=draw(view, verdict),
        epoch_keys=tuple(keys[:_MAX_KEYS]),
        signers=tuple(signers[:_MAX_KEYS]),
        hidden_keys=max(len(keys) - _MAX_KEYS, 0) + max(len(signers) - _MAX_KEYS, 0),
        tree_size=view.tree_size,
        signed_size=view.signed_size,
        memory=_MEMORY[verdict.memory],
        command=subject.command,
    )


def _headline(verdict: Verdict) -> str:
    if verdict.verdict == "verified" and verdict.mode == "public":
        return "Everything that is here is what the log's key signed, in order and without a gap."
    return _HEADLINES[verdict.verdict]


def _summary(verdict: Verdict) -> str:
    if verdict.verdict == "empty":
        return "A verdict needs at least one epoch line that can be read."
    counts: Counter[str] = Counter(KINDS[item.kind].grade for item in verdict.problems)
    if not counts:
        return f"{count(verdict.entries, 'entry')} checked, {verdict.signed_entries:,} of them signed for."
    total = count(len(verdict.problems), "finding")
    kinds = ", ".join(f"{counts[name]:,} {name}" for name in GRAVEST_FIRST if counts[name])
    return f"{total}{f' ({kinds})' if len(counts) > 1 else ''} in {count(verdict.entries, 'entry')}."


def _in_words(item: Problem, excerpt: Excerpt | None = None) -> ProblemView:
    kind = KINDS[item.kind]
    where = []
    if item.segment:
        lines = _range("line", item.first_line, item.last_line)
        where = [f"segment {item.segment}, {lines}", f"epoch {item.epoch}"]
    return ProblemView(
        grade=kind.grade,
        title=sentence(kind.says),
        where=" · ".join(where),
        entries=_range("entry", item.first_entry, item.last_entry),
        detail=item.detail,
        advice=f"{sentence(kind.advice)}{'' if kind.advice.endswith('?') else '.'}",
        excerpt=excerpt,
    )


def _range(noun: str, first: int, last: int) -> str:
    if first == last:
        return f"{noun} {first:,}"
    return f"{noun.removesuffix('y')}{'ies' if noun.endswith('y') else 's'} {first:,} to {last:,}"


def _entry_text(pieces: Sequence[str]) -> list[tuple[bool, str]]:
    return [(place % 2 == 1, text) for place, text in enumerate(pieces) if text]
