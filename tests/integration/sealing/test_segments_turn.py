"""When a new segment begins: by size, by age, at SIGHUP; each time the log verifies without a warning."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from epochseal.storage.segments import list_segments
from tests.integration.agents import Place, kinds, tmpfs, wait_until, warnings


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty log, keys, and a runtime directory."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


def sizes(place: Place) -> list[int]:
    """Bytes in each segment's log file."""
    return [path.stat().st_size for item in list_segments(place.log).segments for path in item.logs]


def check(place: Place, data: bytes) -> None:
    """All of the input is there, and there is nothing to say about it."""
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
    assert place.verify("public").verdict == "verified"
    assert place.entries() == data
    assert verdict.segments == len(list_segments(place.log).segments)


def _has_segments(place: Place, count: int) -> bool:
    return len(sizes(place)) == count


def test_by_size(place: Place) -> None:
    """No segment is larger than --segment-bytes, and none but the last could have taken another entry."""
    data = b"".join(b"%06d\n" % number for number in range(1000))
    place.seal(data, "--segment-bytes", "1000B")
    assert sizes(place)[:-1] == [994] * (len(sizes(place)) - 1)
    assert 0 < sizes(place)[-1] <= 994
    check(place, data)


def test_an_entry_larger_than_a_segment(place: Place) -> None:
    """It has a segment of its own, however large it is; the log may be closed before the next one begins."""
    small, large = b"small\n", b"x" * 5000 + b"\n"
    place.seal(small + large + small + large, "--segment-bytes", "1000B")
    assert sizes(place) in ([6, 5001, 6, 5001], [6, 5001, 6, 5001, 0])
    check(place, small + large + small + large)


def test_exactly_full(place: Place) -> None:
    """A segment is filled to its last byte; the one after it may stay empty, or never begin."""
    data = b"123456789\n" * 20
    place.seal(data, "--segment-bytes", "100B")
    assert sizes(place) in ([100, 100], [100, 100, 0])
    check(place, data)


def test_by_age(place: Place) -> None:
    """A segment that is older than --segment-age ends, also while nothing is written."""
    with place.agent("--segment-age", "1s") as agent:
        agent.send(b"one\n")
        wait_until(lambda: len(sizes(place)) >= 2)
        agent.send(b"two\n")
        assert agent.end() == 0
    assert sizes(place)[0] == 4
    check(place, b"one\ntwo\n")


def test_age_counts_over_restarts(place: Place) -> None:
    """A segment does not become younger when the agent is killed and started again."""
    with place.agent("--segment-age", "4s", *place.resuming) as agent:
        agent.send(b"one\n")
        agent.kill()
    time.sleep(4)
    with place.agent("--segment-age", "4s", *place.resuming) as agent:
        began = time.monotonic()
        wait_until(lambda: len(sizes(place)) == 2)
        assert time.monotonic() - began < 3.5
        agent.send(b"two\n")
        assert agent.end() == 0
    check(place, b"one\ntwo\n")


def test_at_sighup(place: Place) -> None:
    """Each hangup ends the segment; what comes after it is in the new one."""
    with place.agent() as agent:
        for number, word in enumerate((b"one\n", b"two\n", b"three\n"), start=1):
            agent.send(word)
            agent.process.send_signal(signal.SIGHUP)
            wait_until(partial(_has_segments, place, number + 1))
        agent.send(b"four\n")
        assert agent.end() == 0
    assert sizes(place) == [4, 4, 6, 5]
    check(place, b"one\ntwo\nthree\nfour\n")


def test_hangups_without_entries_and_in_a_row(place: Place) -> None:
    """Hangups that come faster than segments turn are one; a segment without entries is a segment."""
    with place.agent() as agent:
        wait_until(lambda: place.live)
        for _ in range(20):
            agent.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(sizes(place)) >= 2)
        agent.send(b"one\n")
        assert agent.end() == 0
    assert len(sizes(place)) < 20
    check(place, b"one\n")


def test_names_follow_the_format(place: Place) -> None:
    """Numbers without a gap, and the time of the first epoch line."""
    place.seal(b"entry\n" * 25, "--segment-bytes", "60B")
    segments = list_segments(place.log).segments
    assert [item.number for item in segments] == [1, 2, 3]
    for item in segments:
        assert item.seal is not None
        first = item.seal.read_bytes().split(b"\n", 1)[0]
        assert first.startswith(b"epoch ")
        assert f'"segment":{item.number},'.encode() in first


def test_a_closed_segment_is_not_touched_again(place: Place) -> None:
    """Once the next segment has its names, the files of the one before may be shipped away."""
    with place.agent() as agent:
        agent.send(b"one\n")
        agent.process.send_signal(signal.SIGHUP)
        # A segment's log file is there before its seal file: both seals are looked for.
        wait_until(
            lambda: [item.seal is not None for item in list_segments(place.log).segments] == [True] * 2
        )
        before = [place.file(ending, 0).read_bytes() for ending in ("log", "seal")]
        agent.send(b"two\n")
        agent.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(sizes(place)) == 3)
        assert agent.end() == 0
    assert [place.file(ending, 0).read_bytes() for ending in ("log", "seal")] == before
    check(place, b"one\ntwo\n")
