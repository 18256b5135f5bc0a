"""A sample of random power cuts; `make power-states` makes thousands (power_states.py)."""

from __future__ import annotations

from pathlib import Path

from tests.fault.power_states import make_state
from tests.fault.story import Host

SAMPLE = 16


def test_a_power_cut_loses_and_accuses_nobody(host: Host, directory: Path) -> None:
    """Whatever sectors are left: nothing acknowledged is lost, none accused, no more acknowledged than is."""
    states = [make_state(host, directory / str(number), number) for number in range(SAMPLE)]
    # The sample has what it is for: sectors and names that were lost, starts by a carry, and cold ones.
    assert sum(state.torn > 0 for state in states) > SAMPLE // 10
    assert sum(state.lost > 0 for state in states) > SAMPLE // 10
    assert {"cold", "carry"} <= {state.link for state in states}
