from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.sealing.source_positions import read_positions
from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.sources.tailing import TailAgent

LINES = 30_000 if os.environ.get("EPOCHSEAL_FULL") == "1" else 6_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A log with keys and a runtime directory."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


class Service(threading.Thread):
    """Writes numbered lines in ragged pieces, and renames its own file now and then."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__()
        self._path, self._rng, self.written = path, random.Random(seed), bytearray()

    def begin(self) -> None:
        """Write the first one: what was rotated before an agent's first look is not its to seal."""
        self._write(0)

    def run(self) -> None:
        """Write all others."""
        for number in range(1, LINES):
            if number % 1500 == 1499:
                for age in range(LINES // 1500, 0, -1):
                    older = self._path.with_name(f"{self._path.name}.{age}")
                    if older.exists():
                        older.rename(self._path.with_name(f"{self._path.name}.{age + 1}"))
                self._path.rename(self._path.with_name(f"{self._path.name}.1"))
            self._write(number)
            if number % 20 == 0:
                time.sleep(0.01)

    def _write(self, number: int) -> None:
        line = b"%s %06d %b\n" % (self._path.name.encode(), number, b"x" * self._rng.randrange(60))
        cut = self._rng.randrange(len(line))
        with self._path.open("ab", buffering=0) as file:
            file.write(line[:cut])
            file.write(line[cut:])
        self.written += line


def test_two_rotated_files_through_kills(place: Place, tmp_path: Path) -> None:
    """Services write and rotate, the agent is killed again and again: each file is sealed whole, once."""
    folder = tmp_path / "var"
    folder.mkdir()
    services = [Service(folder / name, seed) for seed, name in enumerate(("a.log", "b.log"))]
    rng = random.Random(3)
    with TailAgent(place.log, place.keys.directory, place.runtime, [folder / "*.log"]) as agent:
        for service in services:
            service.begin()
        agent.wait_for(lambda sealed: b"a.log" in sealed and b"b.log" in sealed)
        for service in services:
            service.start()
        while any(service.is_alive() for service in services):
            before = len(agent.sealed())
            agent.wait_for(lambda sealed, before=before: len(sealed) > before)  # type: ignore[misc]  # mypy sees no default
            time.sleep(rng.random() / 4)
            agent.kill()
            agent.start()
        total = sum(len(service.written) for service in services)
        sealed = agent.wait_for(lambda sealed: len(sealed) >= total)
        agent.stop()
    for name, service in zip((b"a.log", b"b.log"), services, strict=True):
        own = [line for line in sealed.splitlines(keepends=True) if line.startswith(name)]
        assert b"".join(own) == service.written
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
    assert verdict.segments > 5


def test_an_idle_file_keeps_its_position_when_segments_expire(place: Place, tmp_path: Path) -> None:
    """Its entries stand in the first segment only; the position is stated in each, so that can be removed."""
    idle, busy = tmp_path / "idle.log", tmp_path / "busy.log"
    idle.write_bytes(b"idle\n")
    busy.touch()
    paths = [idle, busy]
    with TailAgent(place.log, place.keys.directory, place.runtime, paths) as agent:
        agent.wait_for(lambda sealed: b"idle\n" in sealed)
        for _ in range(4):
            with busy.open("ab") as file:
                file.write((b"x" * 999 + b"\n") * 110)
            size = busy.stat().st_size
            agent.wait_for(lambda sealed, size=size: len(sealed) == size + 5)  # type: ignore[misc]  # as above
        agent.stop()
        first = min((place.log / "segments").glob("*.seal"))
        positions = read_positions(place.log)
        for path in (first, first.with_suffix(".log")):
            path.unlink()
        assert read_positions(place.log) == positions
        assert sum(src.offset == 5 for src in positions.values()) == 1
        agent.start()
        with idle.open("ab") as file:
            file.write(b"idle again\n")
        sealed = agent.wait_for(lambda sealed: b"idle again\n" in sealed)
        agent.stop()
    assert b"idle\n" not in sealed


def test_a_file_is_sealed_soon(place: Place, tmp_path: Path) -> None:
    """From the write to the seal on disk: well below a second, even after silence."""
    path = tmp_path / "app.log"
    path.touch()
    with TailAgent(place.log, place.keys.directory, place.runtime, [path]) as agent:
        agent.wait_for(lambda _: any((place.log / "segments").glob("*.seal")))
        time.sleep(1.5)
        took = []
        for number in range(5):
            with path.open("ab") as file:
                file.write(b"%d\n" % number)
            began = time.monotonic()
            agent.wait_for(lambda sealed, number=number: sealed.endswith(b"%d\n" % number))  # type: ignore[misc]  # as above
            took.append(time.monotonic() - began)
        agent.stop()
    assert statistics.median(took) < 0.5
