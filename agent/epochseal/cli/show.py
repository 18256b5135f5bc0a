"""How verdicts look: JSON for programs, a few plain lines for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from epochseal.cli.console import Styled, flush_output, print_json, print_line

if TYPE_CHECKING:
    from epochseal.verifier import Problem, Verdict
    from epochseal.verifier.verdict import RotationView

_COLORS = {
    "verified": "green",
    "tampered": "red",
    "incomplete": "yellow",
    "untrusted": "yellow",
    "empty": "yellow",
    "warning": "yellow",
}
_MEMORY = {"known": "known before", "new": "seen for the first time", "none": "not remembered"}
_SHOWN = 50
_Line: TypeAlias = tuple[str | Styled, ...]


def show_verdict(logdir: Path, verdict: Verdict, *, as_json: bool) -> None:
    """Print a verdict on stdout, as soon as it is there."""
    if as_json:
        print_json(verdict)
    else:
        _show_lines(logdir, verdict)
    flush_output()


def _show_lines(logdir: Path, verdict: Verdict) -> None:
    print_line(Styled(verdict.verdict.upper(), f"{_COLORS[verdict.verdict]} bold"), f"  {logdir}")
    if verdict.verdict == "empty":
        # What else is said of a verdict is about entries, and there are none.
        print_line("  nothing to verify: no sealed log is here")
        _show_list(verdict.problems, _text_of_problem)
        return
    _show_facts(verdict)
    _show_list(verdict.problems, _text_of_problem)
    _show_list(verdict.warnings, _text_of_warning)
    for text in verdict.not_shown:
        print_line(f"  the log alone cannot show {text}")


def _show_facts(verdict: Verdict) -> None:
    print_line(f"  origin       {verdict.origin}")
    print_line(f"  log          {verdict.log}  ({_MEMORY[verdict.memory]})")
    print_line(
        f"  entries      {verdict.entries:,} in {_count(verdict.epochs, 'epoch')}, "
        f"{_count(verdict.segments, 'segment')}"
    )
    print_line(f"  signed       {verdict.signed_entries:,} entries are under a signed checkpoint")
    if verdict.witnessed_by:
        names = ", ".join(verdict.witnessed_by)
        print_line(f"  witnessed    {verdict.witnessed_entries:,} entries, by {names}")
    state = "closed" if verdict.closed else "open"
    print_line(f"  last sealed  {verdict.last_sealed} ({state})")
    for item in verdict.rotations[-_SHOWN:]:
        _show_rotation(item)
    print_line(f"  tree         {verdict.tree_size:,} lines, root {verdict.root}")


def _show_rotation(item: RotationView) -> None:
    why = f"{item.why} ({item.ticket})" if item.ticket else item.why
    kind = f"{item.key} key" + (", compromised" if item.compromised else "")
    state = "" if item.endorsed else ", not endorsed"
    print_line(f"  rotated      {kind}{state}: {item.time}, line {item.line}, by {item.who}: {why}")
    print_line(f"               {item.old} -> {item.new}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _show_list(items: list[Problem], text_of: Callable[[Problem], list[_Line]]) -> None:
    for item in items[:_SHOWN]:
        for line in text_of(item):
            print_line(*line)
    if len(items) > _SHOWN:
        print_line(f"  … and {len(items) - _SHOWN:,} more (--json has all)")


def _text_of_problem(problem: Problem) -> list[_Line]:
    from epochseal.verifier import KINDS

    kind = KINDS[problem.kind]
    entries = f"{problem.first_entry:,}" + (
        f" to {problem.last_entry:,}" if problem.last_entry != problem.first_entry else ""
    )
    lines = f"{problem.first_line}" + (
        f"-{problem.last_line}" if problem.last_line != problem.first_line else ""
    )
    where = f"entry {entries} · segment {problem.segment}, line {lines} · epoch {problem.epoch}"
    return [(_grade(kind.grade), kind.says), (f"      {where}",), (f"      {problem.detail}",)]


def _text_of_warning(problem: Problem) -> list[_Line]:
    from epochseal.verifier import KINDS

    kind = KINDS[problem.kind]
    return [(_grade(kind.grade), f"{kind.says} ({problem.detail})")]


def _grade(grade: str) -> Styled:
    return Styled(f"  {grade}: ", _COLORS[grade])
