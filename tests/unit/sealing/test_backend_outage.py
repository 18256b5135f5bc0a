from __future__ import annotations

import json
import os

import pytest

from epochseal.errors import Denied, EpochsealError, Unavailable
from epochseal.journal import Journal
from epochseal.sealing.backend_outage import BackendOutage, Outlook
from epochseal.service.messages import outage_message, print_message, write_message

DOWN = Unavailable("connection refused", "see whether it is up")
DENIED = Denied("no sign on key x", "grant it")


def test_only_changes_are_told() -> None:
    """However often a backend fails, its going, its lateness and its return are each told once."""
    told: list[tuple[Outlook, EpochsealError | None]] = []
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


def test_a_refusal_is_no_outage() -> None:
    """What waiting does not mend is told in other words; an epoch beyond its time is late all the same."""
    told: list[Outlook] = []
    outage = BackendOutage()
    outage.tell = lambda outlook, _trouble: told.append(outlook)
    for trouble, late in [(DENIED, False), (DOWN, False), (DENIED, False), (DENIED, True), (None, False)]:
        outage.look(trouble, late=late)
    assert told == ["refused", "down", "refused", "late", "up"]


def test_the_journal_of_a_daemon() -> None:
    """Each change is an event with its reason and what to do."""
    read, write = os.pipe()
    told: list[tuple[Outlook, EpochsealError | None]] = [
        ("down", DOWN),
        ("refused", DENIED),
        ("late", DOWN),
        ("late", None),
        ("up", None),
    ]
    for outlook, trouble in told:
        write_message(Journal(write), outage_message(outlook, trouble))
    os.close(write)
    with os.fdopen(read) as lines:
        events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == [
        "backend_down",
        "backend_refused",
        "overdue",
        "overdue",
        "backend_back",
    ]
    assert (events[0]["reason"], events[0]["hint"]) == ("connection refused", "see whether it is up")
    assert (events[1]["level"], events[1]["reason"]) == ("warning", "no sign on key x")
    assert events[3]["reason"] == "the backend has not answered yet"


def test_what_a_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    """A sealing command says the same on stderr, in words."""
    print_message(outage_message("down", DOWN))
    print_message(outage_message("late", None))
    print_message(outage_message("up", None))
    down, hint, late, up = capsys.readouterr().err.splitlines()
    assert down == "epochseal: connection refused: trying again; a running epoch goes on"
    assert hint == "epochseal: hint: see whether it is up"
    assert "nothing is sealed until the backend is back" in late
    assert up == "epochseal: the backend is back"
