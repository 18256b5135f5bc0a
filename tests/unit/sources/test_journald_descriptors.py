"""The journald source where descriptors are few: it waits, and what is kept for sealing is left alone."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epochseal.sources import journald
from epochseal.sources.journald import JournaldSource

ENTRY = b'{"__CURSOR":"s=1;i=1","MESSAGE":"hello"}\n'


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journalctl with one entry, which then waits for more."""
    path = tmp_path / "journalctl"
    path.write_bytes(b"#!/bin/sh\necho '" + ENTRY.strip() + b"'\nexec sleep 1000\n")
    path.chmod(0o755)
    monkeypatch.setattr(journald, "_PROGRAM", str(path))


def source() -> JournaldSource:
    """The source, as a log that has sealed nothing of it opens it."""
    return JournaldSource([], None, {}, block_bytes=1 << 16, max_entry_bytes=1 << 16)


def check_waits_then_reads(made: JournaldSource, clock: list[float], end: Callable[[], object]) -> None:
    """It has no child and no descriptor; a second after `end` of the shortage it reads the journal."""
    assert made.descriptors() == []
    assert made.wait_seconds() == 1.0
    made.tick()
    assert made.descriptors() == []
    clock[0] += 1.0
    made.tick()
    assert made.descriptors() == []
    end()
    clock[0] += 1.0
    made.tick()
    (descriptor,) = made.descriptors()
    while not made.has_entry:
        made.ready(descriptor)
    made.close()


@pytest.mark.usefixtures("program")
def test_a_reserved_descriptor_is_given_back(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    """The pipe of a child that was started lies in the reserve: the child goes, and is started later."""
    reserved = {True}
    asked: list[int] = []

    def is_reserved(descriptor: int) -> bool:
        asked.append(descriptor)
        return bool(reserved)

    monkeypatch.setattr(journald, "is_reserved", is_reserved)
    made = source()
    assert len(asked) == 1
    check_waits_then_reads(made, clock, reserved.clear)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_descriptor_at_all(monkeypatch: pytest.MonkeyPatch, clock: list[float], number: int) -> None:
    """No child can be started: the log goes on with its other sources, and the journal is read later."""
    real: Any = subprocess.Popen

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(number, "no descriptor")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    made = source()
    check_waits_then_reads(made, clock, lambda: monkeypatch.setattr(subprocess, "Popen", real))
