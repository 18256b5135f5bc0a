"""Random logs for the agreement test: written in process, or sealed by the real command."""

from __future__ import annotations

import gzip
import shutil
import signal
import subprocess
import time
from pathlib import Path
from random import Random

from epochseal.chain import Pace
from epochseal.lines import Prune, Source
from tests.integration.logs import MINUTE, Log, LogKeys, LogWriter, seal, seal_command

SOURCES = (
    Source("stdin", 0),
    Source("a b", 7, file="/var/log/a%20b"),
    Source('q"uote\\ \u202e\u007f\U0001f600\x01\n', 2**63 - 1, esc=1, nolf=1, recovered=1),
)


class _Maker:
    def __init__(self, rng: Random, path: Path, keys: LogKeys) -> None:
        self.rng, self.keys, self.path = rng, keys, path
        retention = rng.choice((0, 0, MINUTE, 2**62))
        self.pace = Pace(rng.choice((0, 1000, 10_000)), MINUTE, rng.choice((0, 60 * MINUTE)), retention)
        self.writer = LogWriter(path, keys, f"log {rng.random()}", pace=self.pace).start("genesis")

    def make(self) -> Log:
        rng = self.rng
        for _ in range(rng.randrange(14)):
            rng.choice((self.block, self.block, self.block, self.turn, self.turn, self.restart))()
        if rng.random() < 0.6:
            self.writer.end(signed=rng.random() < 0.9)
        if rng.random() < 0.25:
            self.prune()
        for path in sorted((self.path / "segments").glob("*.log"))[:-1]:
            if rng.random() < 0.15:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
                path.unlink()
        return Log(self.path, self.keys, self.writer.time + 1000)

    def block(self) -> None:
        rng = self.rng
        entries = [bytes(rng.choices(b"abc \r\x00\xff", k=rng.randrange(9))) + b"\n" for _ in range(rng.randrange(4))]
        self.writer.block(*entries, src=rng.choice(SOURCES) if entries and rng.random() < 0.3 else None)

    def turn(self) -> None:
        rng = self.rng
        self.writer.turn(rng.choice(("interval", "entries", "bytes", "segment")), signed=rng.random() < 0.9)

    def restart(self) -> None:
        """The end of one agent, clean or not, and the start of the next."""
        clean = self.rng.random() < 0.6
        if clean:
            self.writer.end(signed=self.rng.random() < 0.9)
        elif self.rng.random() < 0.5:
            self.writer.end(self.rng.choice(("segment", "entries")))
        time = self.writer.time + self.rng.choice((0, 5000, -5000))
        self.writer = LogWriter.after(self.path, self.keys, f"log {self.rng.random()}", time=time, signs=True)
        self.writer.start("reopen" if clean and self.rng.random() < 0.9 else "cold")

    def prune(self) -> None:
        """Seal a prune line in an epoch of its own, then remove what it says, or a file more or less."""
        rng, segment = self.rng, self.writer.chain.segment - 1
        if segment < 1:
            return
        segment = rng.randint(1, segment)
        head = first_header(self.path, segment + 1)
        frontier = [b64decode(item) for item in head["tree"]["frontier"]]
        root = b64encode(Tree(head["tree"]["size"], frontier).root())
        if not clean(self.path):
            self.writer.end()
        writer = LogWriter.after(self.path, self.keys, "prune", time=self.writer.time, signs=True).start("reopen")
        line = Prune(segment, head["epoch"] - 1, head["tree"]["size"], root, head["first_entry"], 1, "90d")
        self.writer = writer.prune(line)
        for path in sorted((self.path / "segments").iterdir()):
            if int(path.name[:6]) <= segment - rng.choice((0, 0, 0, 0, 1)):
                path.unlink()
