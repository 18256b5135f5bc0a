from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise

import pytest

from epochseal.errors import ConfigError, EpochsealError
from epochseal.format.seal_lines import SourceMark
from epochseal.journal import Journal
from epochseal.sealing.limits import Piece
from epochseal.service import failures, guarded_source
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.source_figures import LAGGING_BYTES, state_of
from epochseal.sources.stream import StreamSource

BIG = 1 << 40


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of what is tested here."""
    made = Clock()
    monkeypatch.setattr(guarded_source, "time", made)
    monkeypatch.setattr(failures, "time", made)
    return made


class Faulty(StreamSource):
    """A pipe's lines, until a call fails."""

    def __init__(self, at: str, error: Exception, position: SourceMark | None = None) -> None:
        read, self._feed = os.pipe()
        os.set_blocking(read, False)
        os.write(self._feed, b"one\ntwo\n")
        super().__init__(read, "faulty", block_bytes=4, max_entry_bytes=100)
        self.read()
        self._position = position

        def fail(*_: object) -> None:
            raise error

        if at:
            setattr(self, at, fail)

    def positions(self) -> list[SourceMark]:
        """A resumable source has one."""
        return [self._position] if self._position is not None else []

    def close(self) -> None:
        """The pipe's other end too."""
        super().close()
        os.close(self._feed)


class Told:
    """A journal whose events can be read."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.journal = Journal(write)

    def events(self) -> list[str]:
        """Names of the events since the last call."""
        try:
            data = os.read(self._read, 1 << 16)
        except BlockingIOError:
            return []
        return [json.loads(line)["event"] for line in data.splitlines()]


def _drive(source: GuardedSource) -> list[SourceMark]:
    """A round of the loop; what was sealed."""
    source.tick()
    for descriptor in source.descriptors():
        source.ready(descriptor)
    marks: list[SourceMark] = []
    while source.has_entry and (piece := source.cut_piece(BIG, BIG, BIG)) is not None:
        marks.append(piece.src)
        assert len(source.piece_bytes()) == piece.size
        source.done(0)
    return marks


def _opening(*sources: Callable[[], StreamSource]) -> Callable[[], StreamSource]:
    left = iter(sources)

    def open_source() -> StreamSource:
        return next(left)()

    return open_source


def _failure(source: GuardedSource) -> Exception | None:
    return source.failure


def _ended(source: GuardedSource) -> bool:
    return source.ended


@pytest.mark.parametrize("at", ["ready", "tick", "descriptors"])
@pytest.mark.parametrize(
    "error", [EpochsealError("gone"), ValueError("a fault of ours")], ids=["ours", "fault"]
)
def test_it_is_opened_again(clock: Clock, at: str, error: Exception) -> None:
    """Whatever fails, and wherever: a gap stands in the chain, and after a second it goes on."""
    told = Told()
    source = GuardedSource(
        "kind", _opening(lambda: Faulty(at, error), lambda: Faulty("", error)), told.journal
    )
    marks = _drive(source)
    assert SourceMark("faulty", 0, gap=1) in marks
    assert _failure(source) is error
    assert told.events() == ["source_failed"]
    assert not _ended(source)
    assert source.wait_seconds() == 1.0
    clock.now += 1.0
    marks = _drive(source)
    assert _failure(source) is None
    assert [mark.offset for mark in marks] == [4, 8]
    assert told.events() == ["source_back"]
    source.close()


def test_pieces_that_are_being_sealed_are_sealed(clock: Clock) -> None:
    """A failure between two pieces of one commit waits for its end: their bytes can still be read."""
    inner = Faulty("", ValueError())
    source = GuardedSource("kind", lambda: inner, Told().journal)
    assert source.cut_piece(BIG, BIG, BIG) is not None

    def fail(*_: object) -> None:
        raise ValueError

    inner.cut_piece = fail  # type: ignore[method-assign, assignment]  # what fails here
    assert source.cut_piece(BIG, BIG, BIG) is None
    assert bytes(source.piece_bytes()) == b"one\n"
    assert _failure(source) is None
    source.done(0)
    assert isinstance(_failure(source), ValueError)
    assert clock.now + source.wait_seconds() == 1001.0


def test_it_is_tried_again_less_and_less_often(clock: Clock) -> None:
    """After 1, 2, 4 … 60 seconds; the journal is told at once, and every minute."""
    told, tries = Told(), []

    def open_source() -> StreamSource:
        tries.append(clock.now)
        raise EpochsealError("not yet")

    source = GuardedSource("kind", open_source, told.journal)
    while clock.now < 1400:
        clock.now += 0.5
        source.tick()
    assert [late - early for early, late in pairwise(tries)][:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    events = told.events()
    assert events[0] == "source_failed"
    assert events[1:] == ["source_closed"] * 6
    assert source.name == "kind"
    source.finish()
    assert _ended(source)


@pytest.mark.parametrize("once", [False, True])
def test_what_a_person_has_to_mend_stays_closed(clock: Clock, *, once: bool) -> None:
    """A setting, or a stream that opens once: it ends with a gap, at the position that it is resumed from."""
    error = EpochsealError("broken") if once else ConfigError("too long")
    at = SourceMark("faulty", 17, "cursor")
    source = GuardedSource("kind", _opening(lambda: Faulty("ready", error, at)), Told().journal, once=once)
    assert source.cut_piece(BIG, BIG, BIG) is not None
    source.done(0)
    source.ready(0)
    assert not _ended(source)
    assert _drive(source) == [SourceMark("faulty", 17, "cursor", gap=1)]
    assert _ended(source)
    clock.now += 1000
    source.tick()
    assert _failure(source) is error


def test_a_wrong_setting_is_refused_at_the_start() -> None:
    """It is not opened, and nothing is begun."""

    def open_source() -> StreamSource:
        raise ConfigError("no such mode")

    with pytest.raises(ConfigError):
        GuardedSource("kind", open_source, Told().journal)


def test_gaps_and_skipped_bytes_are_counted() -> None:
    """Of every source, by what its pieces say; an entry that was taken has its time."""
    source = Faulty("", EpochsealError(""))
    guarded = GuardedSource("faulty", lambda: source, Told().journal)
    assert guarded.figures.total.last_read == 0
    assert guarded.cut_piece(9, BIG, BIG) is not None
    assert guarded.figures.total.last_read > 0
    guarded.done(0)
    guarded.figures.took(Piece(0, 0, SourceMark("faulty", 90, gap=1, skipped=82)))
    guarded.figures.took(Piece(0, 0, SourceMark("faulty", 90, gap=1)))
    assert (guarded.figures.total.gaps, guarded.figures.total.skipped) == (2, 82)
    guarded.close()


def test_the_state_of_a_source_in_a_word() -> None:
    """Lagging is one with more than it may have; trouble comes first."""
    assert [state_of("", 0), state_of("", LAGGING_BYTES + 1), state_of("gone", BIG)] == [
        "open",
        "lagging",
        "unreadable",
    ]
