"""A short run of each attack; `make neighbours` takes a minute for each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fault.hostile_neighbours import ATTACKS, Neighbourhood

_SECONDS = {"idle_crowd": 0.8, "drip": 0.4}
"""Of an attack that needs a crowd first; of any other a quarter of a second."""
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def neighbourhood() -> Iterator[Neighbourhood]:
    """A daemon whose log is checked at the end."""
    with TemporaryDirectory(prefix="n") as folder:
        made = Neighbourhood(Path(folder))
        with made.daemon():
            yield made
        made.check()


@pytest.fixture(scope="module")
def undisturbed(neighbourhood: Neighbourhood) -> float:
    """The longest wait on this machine while nobody attacks."""
    return max(neighbourhood.latencies(0.5))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, attack.__name__) for kind, attacks in ATTACKS.items() for attack in attacks]
)
def test_lines_of_others_are_acknowledged(
    neighbourhood: Neighbourhood, undisturbed: float, kind: str, name: str
) -> None:
    """Within a second of what they take anyway, whatever a neighbour does.

    A busy machine may hold a line up for once; a neighbour that could would do it again and again.
    """
    attack = next(attack for attack in ATTACKS[kind] if attack.__name__ == name)
    deadline = time.monotonic() + _PATIENCE
    while max(neighbourhood.under(attack, kind, _SECONDS.get(name, 0.25))) >= undisturbed + 1.0:
        assert time.monotonic() < deadline
