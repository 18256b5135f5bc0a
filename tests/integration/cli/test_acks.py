"""`seal --acks`: a number on stdout means that so many entries are durable and provable, and not before."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import Place, kinds, tmpfs


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty log, keys, and a runtime directory."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


def test_the_number_at_the_start_says_where_to_go_on(place: Place) -> None:
    """A new log begins with 0; a later start with what is durable, whether it was closed or killed before."""
    with place.agent(*place.resuming) as agent:
        assert agent.acknowledged == 0
        agent.send(b"a\n", b"b\n")
        assert agent.end() == 0
    with place.agent(*place.resuming) as agent:
        assert agent.acknowledged == 2
        agent.send(b"c\n")
        agent.kill()
    with place.agent(*place.resuming) as agent:
        assert agent.acknowledged == 3


def test_what_is_acknowledged_survives_a_kill_at_that_very_moment(place: Place) -> None:
    """The number was read, the agent killed at once: the entries verify."""
    for number in range(3):
        with place.agent(*place.resuming) as agent:
            agent.send(b"entry %d\n" % number)
            agent.kill()
        verdict = place.verify()
        assert (verdict.verdict, verdict.entries) == ("verified", number + 1)


def test_numbers_grow_and_end_with_all(place: Place) -> None:
    """Over many epochs and segments the numbers only grow, and the last one is the number of entries."""
    words = place.sealing("seal", "--acks", "--epoch-max-entries", "100", "--segment-bytes", "2KiB")
    done = place.run(*words[1:], data=b"an entry\n" * 1000)
    numbers = [int(line) for line in done.stdout.splitlines()]
    assert (numbers[0], numbers[-1]) == (0, 1000)
    assert numbers == sorted(set(numbers))
    assert place.verify().entries == 1000


def test_an_unfinished_entry_is_not_acknowledged(place: Place) -> None:
    """Bytes without a newline are no entry yet; at the end of the input they are, and count."""
    with place.agent() as agent:
        agent.send(b"whole\n")
        agent.write(b"unfin")
        time.sleep(0.3)
        assert place.entries() == b"whole\n"
        agent.write(b"ished\nno newline")
        agent.wait_for(2)
        assert place.entries() == b"whole\nunfinished\n"
        assert agent.end() == 0
        agent.wait_for(3)
    assert place.entries() == b"whole\nunfinished\nno newline\n"


def test_without_the_option_stdout_stays_empty(place: Place) -> None:
    """Nothing is printed that nobody asked for."""
    assert place.run(*place.sealing("seal")[1:], data=b"entry\n").stdout == b""


def test_a_reader_that_goes_away_ends_the_sealing(place: Place) -> None:
    """Nobody reads the acknowledgements any more: the log is closed, and the exit status says so."""
    process = subprocess.Popen(
        place.sealing("seal", "--acks"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    process.stdin.write(b"entry\n")
    process.stdin.flush()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 6
    assert b"Traceback" not in said
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), verdict.closed) == ("verified", [], True)
    assert place.entries() == b"entry\n"


def test_nothing_is_acknowledged_after_a_write_failed(place: Place) -> None:
    """Somebody makes the log file longer behind the agent: it stops with 6 and acknowledges nothing more."""
    with place.agent() as agent:
        agent.send(b"entry\n")
        with place.file("log").open("ab") as file:
            file.write(b"foreign\n")
        agent.write(b"later\n")
        assert agent.process.stdout is not None
        assert os.read(agent.process.stdout.fileno(), 100) == b""
        assert agent.process.wait(60) == 6
        assert "behind our back" in agent.said
    assert place.entries() == b"entry\nforeign\n"
