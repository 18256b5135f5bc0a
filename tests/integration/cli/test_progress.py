"""The progress bar of `epochseal verify`: on stderr, where that is a terminal, and nowhere else."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.agents import PROGRAM, Place
from tests.integration.logs import ORIGIN


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A closed log of some size."""
    place = Place(tmp_path, tmp_path)
    place.seal(b"an entry of the log\n" * 200_000, "--segment-bytes", "500KiB")
    return place


def verify(place: Place, *options: str) -> tuple[bytes, bytes]:
    """Run `verify` with stderr at a terminal; stdout and what the terminal was sent."""
    terminal, stderr = pty.openpty()
    words = [PROGRAM, "verify", str(place.log), *place.verifier_keys, *options]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, env=environment) as process:
        os.close(stderr)
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # how a terminal without a program ends
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(terminal)
    assert process.returncode == 0
    return printed, shown


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_bytes_rate_and_time_left(place: Place, jobs: str) -> None:
    """The bar ends with all bytes and bytes a second; stdout has the verdict alone."""
    printed, shown = verify(place, "--jobs", jobs)
    assert printed.startswith(b"VERIFIED")
    assert b"4.0/4.0 MB" in shown
    # Two processes may end in the same millisecond: that is gigabytes a second.
    assert re.search(rb"[MG]B/s", shown)
    assert b"0:00:00" in shown


def test_with_json_too(place: Place) -> None:
    """The object on stdout stays what it is."""
    printed, shown = verify(place, "--json")
    assert json.loads(printed)["verdict"] == "verified"
    assert b"MB/s" in shown


def test_not_without_a_terminal(place: Place) -> None:
    """A program that reads our stderr gets no bar, and rich is not even loaded."""
    script = (
        "import sys; from epochseal.cli import program\n"
        "try: program.main()\n"
        "finally: assert 'rich' not in sys.modules"
    )
    python = str(Path(PROGRAM).parent / "python")
    words = [python, "-c", script, "verify", str(place.log), *place.verifier_keys]
    subprocess.run(words, capture_output=True, check=True)
    done = subprocess.run(words, capture_output=True, check=False)
    # That the place was looked at is remembered, and said in one line.
    said = f" lines of {ORIGIN} seen at {place.log}\n".encode()
    assert done.returncode == 0
    assert re.fullmatch(rb"epochseal: remembered: \d+" + re.escape(said), done.stderr)
