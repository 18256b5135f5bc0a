"""The start of an agent, searched through: whatever happens to it or to the disk, its promises are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from epochseal.sealing.decide_start import Decision, Seen, decide
from tests.model import world
from tests.model.search import BrokenError, search
from tests.model.world import Bounds, World

HONEST, CHANGED = Bounds(lines=2, starts=3, stops=2, changes=0), Bounds(lines=2, starts=2, stops=1, changes=1)


@pytest.mark.parametrize("kept", [True, False], ids=["page in a file", "page in memory"])
@pytest.mark.parametrize("bounds", [HONEST, CHANGED], ids=["crashes", "changes"])
def test_every_state_keeps_the_promises(bounds: Bounds, kept: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Nothing is signed that no agent wrote, nothing acknowledged is lost, no honest disk is denied."""
    count = search(bounds, kept=kept)
    assert count.states > 1000
    assert count.signatures > 100
    assert {"genesis", "cold", "carry"} <= count.starts.keys()
    assert ("running" in count.starts) == kept
    assert any("denies" in how for how in count.starts) == bool(bounds.changes)


def _forgetful(seen: Seen) -> Decision:
    """What is remembered is not held against the disk."""
    return decide(replace(seen, state=None))


def _trustful(seen: Seen) -> Decision:
    """A page that does not fit is used."""
    return decide(replace(seen, misfit=""))


def _lavish(seen: Seen) -> Decision:
    """Behind what looks like a close the carry is used, whatever close it is of."""
    made = decide(seen)
    return replace(made, link="carry") if made.closed and made.denied is None else made


@pytest.mark.parametrize("mistake", [_forgetful, _trustful, _lavish])
def test_a_mistake_in_the_decision_is_found(mistake: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search fails: it can."""
    monkeypatch.setattr(world, "decide", mistake)
    with pytest.raises(BrokenError):
        search(CHANGED, kept=True)


@pytest.mark.parametrize(
    ("step", "kept"), [("state", True), ("state", False), ("forget", True), ("append", True)]
)
def test_a_step_that_is_left_out_is_found(step: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001  # as above
    """So each of them is there for a reason."""
    real = world._do  # noqa: SLF001  # the place where steps are done

    def do(before: World, name: str) -> World:
        return before if name == step else real(before, name)

    monkeypatch.setattr(world, "_do", do)
    with pytest.raises(BrokenError):
        search(CHANGED if step == "state" else HONEST, kept=kept)
