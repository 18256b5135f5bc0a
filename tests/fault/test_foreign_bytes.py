"""Somebody writes to a log's files while no agent runs: no restart seals it, and verify names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.restarts import FOUR, ONE, THREE, TWO, check_convicted, crash, go_on, links
from tests.integration.agents import Place, kinds, tmpfs, wait_until

FORGED = (
    b"block 3 2 1 52 10 1795428000050 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= {} "
    b"40E+E59N70mII0jKoMrHk4rUYVnXQ4M9Rn7nlAQGXPw=\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty log, keys, and a runtime directory."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


def test_foreign_entries_after_a_kill_are_set_aside(place: Place) -> None:
    """Bytes appended to the log file are kept apart and named in the verdict; the chain goes on."""
    crash(place, ONE, TWO)
    with place.file("log").open("ab") as file:
        file.write(FOUR)
    with place.agent(*place.resuming) as agent:
        agent.send(THREE)
        wait_until(lambda: links(place) == ["genesis", "carry"])
        assert agent.end() == 0
    assert f"{len(FOUR)} bytes that nobody sealed were set aside" in agent.said
    assert set(links(place)) == {"genesis", "carry"}
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict)) == ("incomplete", ["unsealed_bytes"])
    assert place.entries() == ONE + TWO + THREE
    assert place.file("unsealed", 0).read_bytes() == FOUR


def test_foreign_entries_and_an_immediate_stop(place: Place) -> None:
    """Stopped before it could leave the segment: what no kill leaves beside a page is called foreign."""
    crash(place, ONE, TWO)
    with place.file("log").open("ab") as file:
        file.write(FOUR)
    said = go_on(place)
    assert "set aside" in said
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict)) == ("tampered", ["bad_unsealed"])


def test_foreign_entries_after_a_clean_close_are_tampering(place: Place) -> None:
    """Nobody writes to a closed log: bytes that appear are kept apart, and the start says so."""
    go_on(place, ONE)
    with place.file("log").open("ab") as file:
        file.write(FOUR)
    assert place.verify().verdict == "tampered"
    check_convicted(place, go_on(place, TWO), "bad_unsealed")
    assert place.entries() == ONE + TWO


@pytest.mark.parametrize(
    "line",
    [FORGED, b"no seal line at all\n", b"note bm90IGEgbm90ZQ==\n"],
    ids=["a block", "anything", "a note"],
)
def test_a_foreign_seal_line_after_a_kill_is_tampering(place: Place, line: bytes) -> None:
    """A whole line that the agent never wrote is not cut away unseen: verify names it."""
    crash(place, ONE, TWO)
    with place.file("seal").open("ab") as file:
        file.write(line)
    go_on(place, THREE)
    assert place.verify().verdict == "tampered"
    assert place.entries() == ONE + TWO + THREE


def test_a_foreign_part_of_a_line_after_a_kill_is_never_sealed(place: Place) -> None:
    """Bytes without a newline were acknowledged to nobody: they are kept apart, and not sealed."""
    crash(place, ONE, TWO)
    with place.file("seal").open("ab") as file:
        file.write(b"block 3 2 1 5")
    said = go_on(place, THREE)
    assert "ahead of the page" in said
    check_convicted(place, said, "torn_lines")
    assert place.file("torn").read_bytes() == b"block 3 2 1 5"
    assert place.entries() == ONE + TWO + THREE
