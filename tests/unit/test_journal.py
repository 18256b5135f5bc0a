from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from epochseal.errors import Unavailable
from epochseal.journal import Journal


class Pipe:
    """Where a journal writes to."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()

    def raw(self) -> bytes:
        """What was written since the last call."""
        return os.read(self._read, 1 << 16)

    def events(self) -> list[dict[str, Any]]:
        """The same as objects."""
        return [json.loads(line) for line in self.raw().splitlines()]

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self.fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe to read a journal from."""
    made = Pipe()
    yield made
    made.close()


def test_an_event_is_one_line_of_fields(pipe: Pipe) -> None:
    """Time, level and event come first, then what the journal is bound to, then the event's own fields."""
    Journal(pipe.fd).bind(log="app").warning("stalled", seconds=1.5, segment=3, ok=True)
    (event,) = pipe.events()
    moment = datetime.fromisoformat(event.pop("time"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert list(event) == ["level", "event", "log", "seconds", "segment", "ok"]
    assert list(event.values()) == ["warning", "stalled", "app", 1.5, 3, True]


def test_nothing_in_a_field_can_make_a_second_line(pipe: Pipe) -> None:
    """Newlines, escape sequences, U+2028 and broken names come out as plain ASCII on one line."""
    evil = "a\nb\r\x1b[2J\u2028\udcff"
    Journal(pipe.fd).info("seen", path=evil)
    raw = pipe.raw()
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"\n")
    assert all(32 <= byte < 127 for byte in raw[:-1])
    assert json.loads(raw)["path"] == evil


def test_an_error_of_ours_tells_its_message_and_a_foreign_one_only_its_type(pipe: Pipe) -> None:
    """What a library's error says could quote a secret: it does not reach the journal."""
    journal = Journal(pipe.fd)
    journal.error("call_failed", Unavailable("the backend is down", "start it"), kind="issue")
    journal.error("call_failed", ValueError("token s.SECRET is bad"))
    ours, foreign = pipe.events()
    assert (ours["error"], ours["message"], ours["hint"], ours["kind"]) == (
        "Unavailable",
        "the backend is down",
        "start it",
        "issue",
    )
    assert (foreign["error"], "message" in foreign) == ("ValueError", False)


def test_a_journal_that_nobody_reads_ends_nothing() -> None:
    """A closed descriptor is put up with."""
    read, write = os.pipe()
    os.close(read)
    Journal(write).info("told")
    os.close(write)
    Journal(write).info("told")
