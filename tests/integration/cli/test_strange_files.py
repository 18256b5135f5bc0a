"""Every command, given everything strange: a sample of `make strange`, which tries it all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.cli import strange_matrix
from tests.integration.cli.invocations import GOOD, Invocation, leaves, plain, strange
from tests.integration.cli.strange_places import KINDS

PLACES, COMMANDS = strange(), [item for item in plain() if item.command != "demo"]
"""The demo has tests of its own, and takes a minute."""

FAILING = {"archive": 6, "witness submit": 6, "timestamp add": 6, "timestamp check": 2, "reconcile": 3}
"""Commands that do not succeed: nobody listens, no key is an authority's, the trail has no call of it."""
FAILING |= {"forget": 5, "rotate": 2, "witness serve": -signal.SIGTERM}
"""The log was copied, so that no state is that of its new place; and whoever serves is told to end."""
FAILING |= {"monitor acknowledge": 2, "monitor forget": 2}
"""There is nothing to acknowledge, and no log that is gone."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands work, each in a copy of the scenery."""
    folder = tmp_path_factory.mktemp("strange")
    strange_matrix.prepare(folder)
    return folder


def no_fault(case: strange_matrix.Case, base: Path) -> None:
    """It ends, with a status of docs/cli.md, in lines without controls or a traceback."""
    outcome = strange_matrix.outcome(case, base)
    assert not outcome.fault(), (outcome.what, outcome.fault(), outcome.said)


def test_every_command_is_here() -> None:
    """A command that is new has good words and places, or this fails; so has each argument that it needs."""
    commands = dict(leaves())
    assert list(commands) == list(GOOD)
    for name, command in commands.items():
        needed = {str(parameter.name) for parameter in command.params if parameter.required}
        assert needed <= set(GOOD[name]), name
    assert {item.command for item in PLACES} == set(GOOD)


@pytest.mark.parametrize("invocation", COMMANDS, ids=lambda item: item.name)
def test_good_words_are_good(base: Path, invocation: Invocation) -> None:
    """With them a command does its work, or fails for want of a witness or an authority."""
    if invocation.command in {"run", "witness serve"}:
        # Their standard output is closed, which they do without.
        case = list(strange_matrix.with_streams([invocation]))[1]
    else:
        kinds = ["missing\x1b[2J"]
        case = next(iter(strange_matrix.in_places([invocation], kinds)))
    outcome = strange_matrix.outcome(case, base)
    assert outcome.status == FAILING.get(invocation.command, 0), outcome.said


@pytest.mark.parametrize("place", range(len(PLACES)), ids=lambda number: PLACES[number].name)
def test_strange_files(base: Path, place: int) -> None:
    """Of each place of each command one kind, another for each place; all with EPOCHSEAL_FULL."""
    kinds = list(KINDS)
    if not os.environ.get("EPOCHSEAL_FULL"):
        # The demo is not told where it would be told whole.
        kinds = [kinds[place % 9]] if PLACES[place].command == "demo" else [kinds[place % len(kinds)]]
    for case in strange_matrix.in_places([PLACES[place]], kinds):
        no_fault(case, base)


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=lambda number: COMMANDS[number].name)
def test_closed_streams(base: Path, place: int) -> None:
    """Of each command one combination; all with EPOCHSEAL_FULL."""
    cases = list(strange_matrix.with_streams([COMMANDS[place]]))
    for case in cases if os.environ.get("EPOCHSEAL_FULL") else [cases[place % len(cases)]]:
        no_fault(case, base)


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=lambda number: COMMANDS[number].name)
def test_terminals(base: Path, place: int) -> None:
    """Of each command one kind of terminal; all with EPOCHSEAL_FULL."""
    cases = list(strange_matrix.at_terminals([COMMANDS[place]]))
    for case in cases if os.environ.get("EPOCHSEAL_FULL") else cases[place % 3 :][:1]:
        no_fault(case, base)
