"""How verdicts look: JSON for programs, a few plain lines for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_json

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


def show_verdict(logdir: Path, verdict: Verdict, *, as_json: bool) -> None:
    """Print a verdict on stdout."""
    if as_json:
        print_json(verdict)
        return
    click.secho(verdict.verdict.upper(), fg=_COLORS[verdict.verdict], bold=True, nl=False)
    click.echo(f"  {logdir}")
    if verdict.verdict == "empty":
        click.echo("  nothing to verify: no sealed log is here")
    else:
        _show_facts(verdict)
    _show_list(verdict.problems, _text_of_problem)
    _show_list(verdict.warnings, _text_of_warning)
    for text in verdict.not_shown:
        click.echo(f"  the log alone cannot show {text}")


def _show_facts(verdict: Verdict) -> None:
    click.echo(f"  origin       {verdict.origin}")
    click.echo(f"  log          {verdict.log}  ({_MEMORY[verdict.memory]})")
    click.echo(
        f"  entries      {verdict.entries:,} in {_count(verdict.epochs, 'epoch')}, "
        f"{_count(verdict.segments, 'segment')}"
    )
    click.echo(f"  signed       {verdict.signed_entries:,} entries are under a signed checkpoint")
    if verdict.witnessed_by:
        names = ", ".join(verdict.witnessed_by)
        click.echo(f"  witnessed    {verdict.witnessed_entries:,} entries, by {names}")
    state = "closed" if verdict.closed else "open"
    click.echo(f"  last sealed  {verdict.last_sealed} ({state})")
    for item in verdict.rotations[-_SHOWN:]:
        _show_rotation(item)
    click.echo(f"  tree         {verdict.tree_size:,} lines, root {verdict.root}")


def _show_rotation(item: RotationView) -> None:
    # Text from a log, so that it cannot steer a terminal.
    who, why, ticket = (ascii(text)[1:-1] for text in (item.who, item.why, item.ticket))
    why += f" ({ticket})" if ticket else ""
    kind = f"{item.key} key" + (", compromised" if item.compromised else "")
    state = "" if item.endorsed else ", not endorsed"
    click.echo(f"  rotated      {kind}{state}: {item.time}, line {item.line}, by {who}: {why}")
    click.echo(f"               {item.old} -> {item.new}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _show_list(items: list[Problem], text_of: Callable[[Problem], str]) -> None:
    for item in items[:_SHOWN]:
        click.echo(text_of(item))
    if len(items) > _SHOWN:
        click.echo(f"  … and {len(items) - _SHOWN:,} more (--json has all)")


def _text_of_problem(problem: Problem) -> str:
    from epochseal.verifier import KINDS

    kind = KINDS[problem.kind]
    entries = f"{problem.first_entry:,}" + (
        f" to {problem.last_entry:,}" if problem.last_entry != problem.first_entry else ""
    )
    lines = f"{problem.first_line}" + (
        f"-{problem.last_line}" if problem.last_line != problem.first_line else ""
    )
    where = f"entry {entries} · segment {problem.segment}, line {lines} · epoch {problem.epoch}"
    return (
        click.style(f"  {kind.grade}: ", fg=_COLORS[kind.grade])
        + f"{kind.says}\n      {where}\n      {problem.detail}"
    )


def _text_of_warning(problem: Problem) -> str:
    from epochseal.verifier import KINDS

    kind = KINDS[problem.kind]
    return click.style(f"  {kind.grade}: ", fg=_COLORS[kind.grade]) + f"{kind.says} ({problem.detail})"
