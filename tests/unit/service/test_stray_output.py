"""What children and libraries write on standard error comes out as events: one form, all of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from epochseal.journal import Journal
from epochseal.service.stray_output import StrayOutput


def _told(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def stderr(tmp_path: Path) -> Path:
    """Where descriptor 2 goes meanwhile."""
    return tmp_path / "stderr"


def _with_stderr(path: Path) -> int:
    before = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    return before


def test_a_childs_lines_are_events(stderr: Path) -> None:
    """In order, the last one without a newline too; the journal's own events stand between them."""
    before = _with_stderr(stderr)
    try:
        journal = Journal()
        log = journal.bind(log="a")
        with StrayOutput(journal) as stray:
            log.info("started")
            subprocess.run(["sh", "-c", r"printf 'one\n\ntw\033o\n' >&2"], check=True)
            stray.take()
            os.write(2, b"rest")
        os.write(2, b'{"event":"plain again"}\n')
        log.info("closed")
    finally:
        os.dup2(before, 2)
        os.close(before)
    told = _told(stderr)
    assert [(one["event"], one.get("text")) for one in told] == [
        ("started", None),
        ("stray_output", "one"),
        ("stray_output", "tw\033o"),
        ("stray_output", "rest"),
        ("plain again", None),
        ("closed", None),
    ]
    assert told[0]["log"] == told[-1]["log"] == "a"


def test_nobody_waits_for_the_daemon(stderr: Path) -> None:
    """A child that writes more than is taken ends all the same, and memory is bounded."""
    before = _with_stderr(stderr)
    try:
        with StrayOutput(Journal()) as stray:
            subprocess.run(["sh", "-c", "head -c 3000000 /dev/zero >&2; true"], check=True, timeout=60)
            stray.take()
    finally:
        os.dup2(before, 2)
        os.close(before)
    assert stderr.stat().st_size < 1 << 20
