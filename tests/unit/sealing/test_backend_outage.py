from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import cast

import pytest

from epochseal.errors import BackendError, Unavailable
from epochseal.journal import Journal
from epochseal.sealing.backend_outage import BackendOutage, Outlook
from epochseal.service.launch import tell_outage
from epochseal.service.log_thread import LogThread

DOWN = Unavailable("connection refused", "see whether it is up")


def test_only_changes_are_told() -> None:
    """However often a backend fails, its going, its lateness and its return are each told once."""
    told: list[tuple[Outlook, BackendError | None]] = []
    outage = BackendOutage()
    outage.tell = lambda outlook, trouble: told.append((outlook, trouble))
    for trouble, late in [
        (None, False),
        (DOWN, False),
        (DOWN, False),
        (DOWN, True),
        (DOWN, True),
        (None, False),
    ]:
        outage.look(trouble, late=late)
    assert told == [("down", DOWN), ("late", DOWN), ("up", None)]


def test_the_journal_of_a_daemon() -> None:
    """Each change is an event with its reason and what to do."""
    read, write = os.pipe()
    log = cast("LogThread", SimpleNamespace(journal=Journal(write)))
    for outlook, trouble in (("down", DOWN), ("late", DOWN), ("late", None), ("up", None)):
        LogThread._tell_outage(log, cast("Outlook", outlook), trouble)  # noqa: SLF001  # what the daemon hands to `BackendOutage`
    os.close(write)
    with os.fdopen(read) as lines:
        events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["backend_down", "overdue", "overdue", "backend_back"]
    assert (events[0]["reason"], events[0]["hint"]) == ("connection refused", "see whether it is up")
    assert events[2]["reason"] == "the backend has not answered yet"


def test_what_a_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    """A sealing command says the same on stderr, in words."""
    tell_outage("down", DOWN)
    tell_outage("late", None)
    tell_outage("up", None)
    down, late, up = capsys.readouterr().err.splitlines()
    assert down == "epochseal: connection refused: trying again; a running epoch goes on"
    assert "nothing is sealed until the backend is back" in late
    assert up == "epochseal: the backend is back"
