"""No superseded key is left anywhere in the agent, looked at from outside while it works."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import tmpfs
from tests.memory.program import LEAKS
from tests.memory.running import Backend, Look, Watched

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
# As many commits as an epoch of the issue has: 100,000 over 50 epochs.
EPOCHS, COMMITS, LOOKS = (50, 100_000, 12) if FULL else (6, 600, 4)


@pytest.fixture(params=["memfd_secret", "locked", "file"])
def page(request: pytest.FixtureRequest) -> Iterator[tuple[str | None, tuple[str, ...], int]]:
    """The kinds of page: what to change in the agent, its options, and how many live copies may be seen."""
    if request.param == "file":
        with tmpfs() as directory:
            yield None, ("--runtime-dir", str(directory)), 1
    elif request.param == "locked":
        yield "no memfd_secret", (), 1
    else:
        yield None, (), 0


def check(look: Look, most: int, *, idle: bool) -> None:
    """Nothing superseded; what lives is in its page alone, and beside it only while it is computed with."""
    assert look.superseded == []
    for name, mappings in look.live.items():
        # For the microseconds of a call OpenSSL has the key in its context and on its stack, and wipes both.
        assert len(mappings if idle else mappings - {"[stack]", "[heap]"}) <= most, (name, mappings)


def test_under_load(
    tmp_path: Path, file_backend: Backend, page: tuple[str | None, tuple[str, ...], int]
) -> None:
    """Over epochs and commits, at random moments and at the end: no superseded key in any form."""
    change, options, most = page
    with Watched(tmp_path, file_backend, *options, change=change, epoch=COMMITS // EPOCHS) as watched:
        looks = watched.commit_with_looks(COMMITS, LOOKS, random.Random(6))
        for look in looks:
            check(look, most, idle=False)
        looks.append(watched.look())
        check(looks[-1], most, idle=True)
        # What was looked for is what there was: a key a line, and the live one where it may be.
        assert looks[-1].keys > looks[-1].lines >= COMMITS - 20 * LOOKS
        assert bool(looks[-1].live) == bool(most)
        assert bool(looks[-1].scan.refused) == (change is None)
        assert watched.agent.stop() == 0
    assert watched.said_keys() == 0


@pytest.mark.parametrize("name", ["vault", "aws", "pkcs11"])
def test_with_each_backend(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    """The libraries of the key services run in couriers: nothing of them is left in any process."""
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    with Watched(tmp_path, backend, change="no memfd_secret", epoch=COMMITS // EPOCHS) as watched:
        looks = watched.commit_with_looks(COMMITS, LOOKS if FULL else 2, random.Random(7))
        for look in looks:
            check(look, 1, idle=False)
        looks.append(watched.look())
        check(looks[-1], 1, idle=True)
        assert looks[-1].keys > looks[-1].lines >= COMMITS - 20 * LOOKS
        assert looks[-1].live
        assert watched.agent.stop() == 0
    assert watched.said_keys() == 0


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_seen(tmp_path: Path, request: pytest.FixtureRequest, leak: str) -> None:
    """With a mistake in the agent the same check fails: it can."""
    backend: Backend = request.getfixturevalue(
        "vault_backend" if leak == "hvac in the agent" else "file_backend"
    )
    with Watched(tmp_path, backend, change=leak) as watched:
        watched.commit(200)
        look = watched.look()
        assert watched.agent.stop() == 0
    if leak == "a log line":
        assert watched.said_keys() >= 5
        return
    with pytest.raises(AssertionError):
        check(look, 1, idle=True)
