"""No superseded key is left anywhere in the agent, looked at from outside while it works."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.agents import tmpfs, wait_until
from tests.memory.log_keys import headers
from tests.memory.program import DROPPED, GIVEN_UP, LEAKS, OPEN
from tests.memory.protection import PAGE
from tests.memory.running import Backend, Look, Watched

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
# As many commits as an epoch of the issue has: 100,000 over 50 epochs.
EPOCHS, COMMITS, LOOKS = (50, 100_000, 12) if FULL else (6, 600, 3)
_PAGES = ("memfd_secret", "locked")


@contextmanager
def page_of(kind: str) -> Iterator[tuple[str | None, tuple[str, ...], int]]:
    """One kind of page: what to change in the agent, its options, and how many live copies may be seen."""
    if kind == "file":
        with tmpfs() as directory:
            # The mailbox, which is in no file, can be looked into as well.
            yield "no memfd_secret,recorded", ("--runtime-dir", str(directory)), 1
    elif kind == "locked":
        yield "no memfd_secret,recorded", (), 1
    else:
        yield None, (), 0


def check(look: Look, agent: int, most: int) -> None:
    """Nothing superseded; what lives is in its page alone, and beside it only while it is computed with.

    Beside the key of the running epoch there may be the secret of the next one, which waits for a signature.
    """
    assert look.superseded == []
    assert look.gaps == []
    # For the microseconds of a call OpenSSL has a key in its context and on its stack, and wipes both.
    live, waiting = (
        [hit for hit in hits if hit.mapping not in {"[heap]", "[stack]"}]
        for hits in (look.live, look.waiting)
    )
    assert {hit.pid for hit in (*look.live, *look.waiting)} <= {agent}
    assert len({hit.key for hit in look.live}) <= 1
    # Before a commit's bytes are written a page in a file notes them beside the same key, in its other slot.
    noted = 2 if all(hit.mapping.endswith(".page") for hit in live) else 1
    assert len(live) <= noted * most, look.live
    assert len({hit.key for hit in look.waiting}) <= 1
    # On its way from the mailbox to the work area it is in both.
    assert len(waiting) <= 2 * most, look.waiting
    assert all(PAGE.fullmatch(hit.mapping) for hit in (*live, *waiting)), (look.live, look.waiting)


def check_at_rest(look: Look, agent: int, most: int) -> None:
    """Nothing is computed and no courier lives: each live copy counts, wherever it is."""
    check(look, agent, most)
    assert look.couriers == 0
    assert look.in_flight == []
    assert len(look.live) == most, look.live
    assert {hit.form for hit in look.live} <= {"raw"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("file", "file"), *((name, kind) for name in ("file", "vault", "aws", "pkcs11") for kind in _PAGES)],
)
def test_under_load(tmp_path: Path, request: pytest.FixtureRequest, name: str, kind: str) -> None:
    """Over epochs and commits, at random moments and at the end: no superseded key in any form."""
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    with (
        page_of(kind) as (change, options, most),
        Watched(tmp_path, backend, *options, change=change, epoch=COMMITS // EPOCHS) as watched,
    ):
        looks = watched.commit_with_looks(COMMITS, LOOKS, random.Random(f"{name} {kind}"))
        for look in looks:
            check(look, watched.pid, most)
        last = watched.look_at_rest()
        check_at_rest(last, watched.pid, most)
        # Right behind an epoch line, before a block has used the work area again.
        watched.turn()
        check_at_rest(watched.look_at_rest(), watched.pid, most)
        # What was looked for is what there was: a key a line, and the live one where it may be.
        assert last.keys > last.lines >= COMMITS - 20 * LOOKS
        assert bool(last.scan.refused) == (kind == "memfd_secret")
        assert watched.agent.stop() == 0
    assert watched.said_keys() == 0


@pytest.mark.parametrize("kind", ["locked", "file"])
def test_commits_of_many_blocks(tmp_path: Path, file_backend: Backend, kind: str) -> None:
    """Within a commit the keys of its blocks go through the work area, and none stays there."""
    with (
        page_of(kind) as (change, options, most),
        Watched(tmp_path, file_backend, *options, "--block-bytes", "1B", change=change) as watched,
    ):
        for _ in range(8):
            watched.agent.send(*[b"an entry of a burst\n"] * 12)
        check_at_rest(watched.look_at_rest(), watched.pid, most)
        assert watched.agent.stop() == 0


def test_a_python_without_openssls_functions(tmp_path: Path, file_backend: Backend) -> None:
    """Where a library must make an object of each key, that object is wiped: the same check holds."""
    with Watched(tmp_path, file_backend, change="no memfd_secret,OpenSSL hidden") as watched:
        watched.commit(200)
        check_at_rest(watched.look_at_rest(), watched.pid, 1)
        assert watched.agent.stop() == 0


def test_a_secret_that_never_became_an_epoch(tmp_path: Path, file_backend: Backend) -> None:
    """A courier dies between mailbox and answer, and another asks again: the first one's secret is gone."""
    with Watched(tmp_path, file_backend, change="no memfd_secret,recorded,dying") as watched:
        # The second call of an epoch waits for a moment, in which the epoch before goes on.
        while watched.epochs() < 5:
            watched.commit(20)
        check_at_rest(watched.look_at_rest(), watched.pid, 1)
        keys = watched.keys()
        assert watched.agent.stop() == 0
    # One in two calls was in vain, and the secret of each was looked for.
    lost = [key.epoch for key in keys if key.name.startswith("issued secret ")]
    assert lost == list(range(watched.epochs()))
    assert len(watched.record.read_text(encoding="utf-8").splitlines()) == 2 * len(lost)
    assert [sum(call.calls for call in header.abandoned) for header in headers(watched.logdir)] == [1] * 5


def test_a_secret_of_a_call_that_failed(tmp_path: Path, file_backend: Backend) -> None:
    """Each courier of epoch 1 dies before it answers: between two tries the mailbox is empty."""
    with Watched(tmp_path, file_backend, change="no memfd_secret,recorded,dead", epoch=1000) as watched:
        watched.commit(50)
        os.kill(watched.pid, signal.SIGHUP)
        wait_until(lambda: watched.record.read_bytes().count(b"\n") > 3)  # one of epoch 0
        # The agent may be held still just before it hears of a courier's end.
        wait_until(lambda: len(watched.look_at_rest().live) == 1)
        watched.commit(5)
        assert watched.look_at_rest().superseded == []
        assert watched.epochs() == 1


@pytest.mark.parametrize("mistake", ["", f",{DROPPED}"])
@pytest.mark.parametrize("kind", ["locked", "file"])
def test_a_secret_that_waits_in_vain(tmp_path: Path, file_backend: Backend, kind: str, mistake: str) -> None:
    """Its announcement is not signed: until it is given up it is beside the live key, in the page, once."""
    with page_of(kind) as (change, options, most):
        unsigned = f"{change},unsigned,hurried{mistake}"
        with Watched(tmp_path, file_backend, *options, change=unsigned) as watched:
            watched.commit(45)
            wait_until(lambda: watched.record.read_bytes().count(b"\n") > 1)
            looks: list[Look] = []

            def waits_alone() -> bool:
                looks.append(watched.look())
                return len(looks[-1].waiting) == 1 and not looks[-1].in_flight

            wait_until(waits_alone)
            look = looks[-1]
            check(look, watched.pid, most)
            assert [(hit.form, hit.pid) for hit in look.waiting] == [("raw", watched.pid)]
            assert len(look.live) == most
            # The running epoch goes on, and the signer is asked for as long as it takes: for no other secret.
            os.kill(watched.pid, signal.SIGUSR1)
            until = time.monotonic() + 180.0
            while GIVEN_UP not in watched.agent.said:
                assert time.monotonic() < until
                watched.commit(1)
                time.sleep(0.02)
            assert bool(watched.look().waiting) == bool(mistake)
            assert watched.record.read_bytes().count(b"\n") == 2
            assert watched.epochs() == 1


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_seen(tmp_path: Path, request: pytest.FixtureRequest, leak: str) -> None:
    """With a mistake in the agent the same check fails: it can."""
    backend: Backend = request.getfixturevalue(
        "vault_backend" if leak == "hvac in the agent" else "file_backend"
    )
    with Watched(tmp_path, backend, change=f"no memfd_secret,{leak}") as watched:
        watched.commit(200)
        look = watched.look_at_rest()
        agent = watched.pid
        assert watched.agent.stop() == 0
    if leak == "a log line":
        assert watched.said_keys() >= 5
        return
    with pytest.raises(AssertionError):
        check(look, agent, 1)
    assert look.superseded


@pytest.mark.parametrize("change", OPEN)
def test_a_missing_protection_is_seen(tmp_path: Path, file_backend: Backend, change: str) -> None:
    """A start that leaves process or page open fails the check, though no key is left anywhere."""
    with Watched(tmp_path, file_backend, change=change) as watched:
        watched.commit(50)
        look = watched.look_at_rest()
        assert watched.agent.stop() == 0
    assert look.superseded == []
    assert look.gaps
