"""A short run of each attack; `make neighbours` takes a minute for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fault.hostile_neighbours import ATTACKS, Neighbourhood

_SECONDS = 1.0


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
    return max(neighbourhood.latencies(_SECONDS))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, attack.__name__) for kind, attacks in ATTACKS.items() for attack in attacks]
)
def test_lines_of_others_are_acknowledged(
    neighbourhood: Neighbourhood, undisturbed: float, kind: str, name: str
) -> None:
    """Within a second of what they take anyway, whatever a neighbour does."""
    attack = next(attack for attack in ATTACKS[kind] if attack.__name__ == name)
    assert max(neighbourhood.under(attack, kind, _SECONDS)) < undisturbed + 1.0
