"""Random stories of services that write, rotate, truncate and rename, and of an agent that reads along.

A story runs in one process with a clock of its own, so it takes milliseconds. Each line is known by the
service that wrote it, a number, and when it was written. At the end each line is sealed exactly once, or
there is a gap of its service, told after the line was written and before anything later was sealed.

    python -m tests.unit.sources.tail_stories COUNT [SEED]
"""

from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TextIO

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources import follower, left_files, log_file, path_table, rotated_files, tail
from epochseal.sources.log_file import source_name
from epochseal.sources.tail import TailSource

GRACE = 0.03
BIG = 1 << 40
_SLACK = 0.05
_SCHEMES = ("numbers", "dates", "before the ending", "away", "copytruncate", "truncate", "rewrite", "remove")
_TRACELESS = ("away", "truncate", "rewrite", "remove")
_ACTS = {
    "write": 6.0,
    "rotate": 4.0,
    "late": 1.0,
    "compress": 1.0,
    "move": 0.5,
    "swap": 0.4,
    "link": 0.3,
    "step": 4.0,
    "rest": 2.0,
    "long": 1.0,
    "crash": 1.0,
    "down": 0.7,
}


class Clock:
    """Seconds that a story lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now

    def sleep(self, _seconds: float) -> None:
        """Nobody moves meanwhile."""


CLOCK = Clock()


def hurry(rest_after: float) -> None:
    """Have the modules of tailing live by the story's clock, with shorter pauses."""
    modules: tuple[ModuleType, ...] = (follower, left_files, log_file, path_table, tail, rotated_files)
    for module in modules:
        module.time = CLOCK  # type: ignore[attr-defined]  # the modules import it
    for module in (path_table, tail):
        module.SHORTEST = 0.0  # type: ignore[attr-defined]  # as above
    path_table.LONGEST = 0.001
    path_table.SCAN_EVERY = GRACE / 8
    path_table.REST_AFTER = rest_after
    follower.GRACE = GRACE


@dataclass
class Line:
    """A line that a service has finished."""

    written: float
    sealed: list[float] = field(default_factory=list)


class Agent:
    """A source, driven as the loop does; only what is sealed outlives it."""

    def __init__(self, glob: Path, story: Story, block: int) -> None:
        self._glob, self._story, self._block = glob, story, block
        self._positions: dict[str, SourceMark] = {}
        self._source: TailSource | None = None
        self.starts = 0
        self.has_looked = False

    def start(self) -> None:
        """Begin, or go on."""
        if self._source is None:
            self.starts += 1
            self.has_looked = False
            self._source = TailSource(
                [str(self._glob)], self._positions, block_bytes=self._block, max_entry_bytes=BIG
            )

    def knows(self, path: Path) -> bool:
        """Whether the chain has a position of a path."""
        mark = self._positions.get(source_name(str(path)))
        return mark is not None and mark.file != ""

    def has_sealed_of(self, path: Path) -> bool:
        """Whether the chain knows content of the file that stands at a path."""
        mark = self._positions.get(source_name(str(path)))
        inode = str(path.stat().st_ino)
        return mark is not None and mark.offset > 0 and mark.file.split("-")[1:2] == [inode]

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._source is not None

    def stop(self) -> None:
        """End at once, as a crash does."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def run(self, seconds: float) -> None:
        """Go on for a while; when nothing happens the pauses get longer, as those of the loop do."""
        end, pause = CLOCK.now + seconds, 0.002
        while CLOCK.now < end:
            CLOCK.now += min(pause, max(end - CLOCK.now, 0.001))
            busy = self._source is not None and self._step(self._source)
            pause = 0.002 if busy else min(2 * pause, 1.1 * GRACE)

    def _step(self, source: TailSource) -> bool:
        """One round of the loop; whether anything was sealed."""
        source.tick()
        self.has_looked = True
        self._story.is_traceless = False
        busy = source.has_entry
        while source.has_entry:
            taken: list[Piece] = []
            while len(taken) < 16 and (piece := source.cut_piece(BIG, BIG, BIG)) is not None:
                taken.append(piece)
            data, place = bytes(source.piece_bytes()), 0
            source.done(0)
            for piece in taken:
                self._story.sealed(piece.src, data[place : place + piece.size])
                place += piece.size
                self._positions[piece.src.name] = SourceMark(piece.src.name, piece.src.offset, piece.src.file)
        return busy


class Service:
    """Writes lines to one path, and has habits."""

    def __init__(self, name: str, path: Path, story: Story) -> None:
        self.name, self.path, self._story, self._rng = name, path, story, story.rng
        self._count = 0
        self._rotations = 0
        # By inode: the start of the agent that had it open when it was rotated.
        self._rotated_in: dict[int, int] = {}
        self.scheme = self._rng.choice(_SCHEMES)
        self.copies = self._rng.choice((1, 2, 5))

    def write(self, path: Path | None = None) -> None:
        """Some lines, at once or in two parts."""
        path = path or self.path
        first = self._count
        self._count += self._rng.randrange(1, 5)
        numbers = range(first, self._count)
        data = b"".join(
            b"%s %d %s\n" % (self.name.encode(), number, b"x" * self._rng.choice((0, 9, 70, 400)))
            for number in numbers
        )
        for number in numbers:
            self._story.lines[self.name][number] = Line(CLOCK.now)
        with path.open("ab", buffering=0) as file:
            cut = self._rng.randrange(len(data))
            file.write(data[:cut])
            if self._rng.random() < 0.3:
                self._story.agent.run(0.002)
            file.write(data[cut:])

    def rotate(self) -> None:
        """By its scheme."""
        is_known = self._story.agent.knows(self.path)
        if not is_known and self.scheme in _TRACELESS:
            self._story.will_lose_trace()
        if not self.path.exists() or self.path.stat().st_nlink > 1:
            self.write()
            return
        self._rotations += 1
        if self._story.agent.has_looked:
            # A file that was rotated before the agent looked was never open, or only by chance.
            self._rotated_in[self.path.stat().st_ino] = self._story.agent.starts
        {
            "numbers": self._number,
            "dates": lambda: self.path.rename(self._named(f"{self.path.name}-202611{self._rotations:04d}")),
            "before the ending": lambda: self.path.rename(
                self._named(f"{self.path.stem}-202611{self._rotations:04d}.log")
            ),
            "away": lambda: self.path.rename(self._story.away / f"{self.name}-{self._rotations}"),
            "copytruncate": self._copytruncate,
            "truncate": lambda: os.truncate(self.path, 0),
            "rewrite": self._rewrite,
            "remove": self.path.unlink,
        }[self.scheme]()
        truncated = self.scheme in ("copytruncate", "truncate", "rewrite")
        if truncated or not is_known or self._rng.random() < 0.7:
            # Where nothing stands at a path that is not known, nobody asks for what was rotated away from it.
            self.write()
        if truncated:
            # Of a file that was empty at the last look nobody can tell that it was truncated before the next.
            self._story.agent.run(0.004)

    def _named(self, name: str) -> Path:
        return self.path.with_name(name)

    def _number(self) -> None:
        for age in range(self.copies, 0, -1):
            for ending in ("", ".gz"):
                older = self._named(f"{self.path.name}.{age}{ending}")
                if older.exists():
                    if age == self.copies:
                        older.unlink()
                    else:
                        older.rename(self._named(f"{self.path.name}.{age + 1}{ending}"))
        self.path.rename(self._named(f"{self.path.name}.1"))

    def _copytruncate(self) -> None:
        shutil.copy(self.path, self._named(f"{self.path.name}.{self._rotations}"))
        if self._rng.random() < 0.3:
            self.write()
        os.truncate(self.path, 0)

    def _rewrite(self) -> None:
        self.path.write_bytes(b"")

    def rotated(self) -> list[Path]:
        """What its rotations left."""
        stem = self.path.stem
        return sorted(
            path
            for path in self.path.parent.iterdir()
            if path != self.path and path.name.startswith((f"{stem}.", f"{stem}-"))
        )

    def write_late(self) -> None:
        """It has a rotated file open still; only the agent that left that file watches it."""
        agent = self._story.agent
        if not agent.is_up:
            return
        plain = [
            path
            for path in self.rotated()
            if path.suffix != ".gz" and self._rotated_in.get(path.stat().st_ino) == agent.starts
        ]
        if plain and self.scheme in ("numbers", "dates"):
            self.write(max(plain, key=lambda path: path.stat().st_mtime_ns))
            self._story.agent.run(0.004)

    def compress(self) -> None:
        """A rotated file; a compressor keeps the old one until the new one is whole."""
        plain = [path for path in self.rotated() if path.suffix != ".gz"]
        if plain and self.scheme != "before the ending":
            path = self._rng.choice(plain)
            half = self._story.away / "half.gz"
            half.write_bytes(gzip.compress(path.read_bytes()))
            half.rename(path.with_name(path.name + ".gz"))
            path.unlink()

    def move(self) -> None:
        """It goes on under another name."""
        if self.path.exists() and not self.rotated() and self.path.stat().st_nlink == 1:
            new = self.path.with_name(f"{self.name}m{self._story.number()}.log")
            if self._rng.random() < 0.3:
                self._pass_through(new)
            self.path.rename(new)
            self.path = new
            self._be_seen()

    def swap(self) -> None:
        """Its file is away for a moment, and another one in its place."""
        if self.path.exists() and self.path.stat().st_nlink == 1:
            aside = self._story.away / "aside"
            self.path.rename(aside)
            self._pass_through(self.path)
            aside.rename(self.path)
            self._be_seen()

    def _be_seen(self) -> None:
        """Of a file that comes to a path and is truncated before the next look there nothing is known."""
        if self.scheme in ("copytruncate", "truncate", "rewrite"):
            self._story.agent.run(0.004)

    def _pass_through(self, path: Path) -> None:
        """A file comes to a path, and goes: to a rotated name, or without a trace."""
        self._story.will_lose_trace()
        self.write(path)
        if self.scheme == "dates" and self._rng.random() < 0.5:
            self._rotations += 1
            path.rename(self._named(f"{path.name}-202611{self._rotations:04d}"))
        else:
            path.unlink()
        self._story.is_traceless = True

    def link(self) -> None:
        """Its file gets a second name in the glob, or loses the first one."""
        if self.path.exists() and self.scheme == "numbers" and not self.rotated():
            with suppress(FileExistsError):
                new = self.path.with_name(f"{self.name}h.log")
                os.link(self.path, new)
                if self._rng.random() < 0.5:
                    self.path.unlink()
                    self.path = new


class Story:
    """One run."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.lines: dict[str, dict[int, Line]] = defaultdict(dict)
        self.gaps: dict[str, list[float]] = defaultdict(list)
        self.acts: list[str] = []
        # Whether a file went of which only the agent that is up can know.
        self.is_traceless = False
        self._numbers = 0
        self.away = folder / "away"
        logs = folder / "logs"
        for made in (self.away, logs):
            made.mkdir()
        self.agent = Agent(logs / "*.log", self, self.rng.choice((256, 1 << 16)))
        count = self.rng.choice((1, 1, 2, 3))
        self.services = [Service(name, logs / f"{name}.log", self) for name in "abc"[:count]]

    def number(self) -> int:
        """A new one each time."""
        self._numbers += 1
        return self._numbers

    def sealed(self, src: SourceMark, data: bytes) -> None:
        """A block: its lines, and whether it is flagged."""
        service = Path(src.name.removeprefix("tail:")).name[0]
        if src.gap:
            self.gaps[service].append(CLOCK.now)
        for line in data.splitlines():
            match line.split(b" "):
                case [name, number, *_] if number.isdigit() and name.decode() in self.lines:
                    if (known := self.lines[name.decode()].get(int(number))) is not None:
                        known.sealed.append(CLOCK.now)

    def run(self) -> None:
        """All of it."""
        self.agent.start()
        self.agent.run(0.01)
        for service in self.services:
            service.write()
        self.agent.run(0.02)
        for _ in range(self.rng.randrange(8, 40)):
            self._act()
        self.agent.start()
        self.agent.run(10 * GRACE)
        # What waits behind an empty successor is read when that has something.
        for service in self.services:
            service.write()
        self.agent.run(20 * GRACE)
        self.agent.stop()

    def _act(self) -> None:
        service = self.rng.choice(self.services)
        chosen = self.rng.choices(list(_ACTS), list(_ACTS.values()))[0]
        self.acts.append(f"{chosen} {service.name}")
        {
            "write": service.write,
            "rotate": service.rotate,
            "late": service.write_late,
            "compress": service.compress,
            "move": service.move,
            "swap": service.swap,
            "link": service.link,
            "step": lambda: self.agent.run(0.002),
            "rest": lambda: self.agent.run(GRACE),
            "long": lambda: self.agent.run(4 * GRACE),
            "crash": self._crash,
            "down": self._leave,
        }[chosen]()

    def _crash(self) -> None:
        self._seal_something()
        self.agent.stop()
        self.agent.start()

    def will_lose_trace(self) -> None:
        """A file of a path that nothing is known of is about to go without a trace.

        That it was there only an agent can tell that is up, and looks before it ends.
        """
        self.agent.start()
        if not self.agent.has_looked:
            self.agent.run(0.004)
        self.is_traceless = True

    def _seal_something(self) -> None:
        """A file of which nothing is sealed yet has no content by which a truncation could be known."""
        for service in self.services:
            if self.agent.is_up and service.scheme in ("copytruncate", "truncate", "rewrite"):
                service.write()
                self.agent.run(0.006)
                for _ in range(50):
                    # It may wait for another one that stood there.
                    if not self.agent.has_sealed_of(service.path):
                        self.agent.run(0.002)
        if self.is_traceless:
            self.agent.run(0.004)

    def _leave(self) -> None:
        """Down for some acts, or up again."""
        if self.rng.random() < 0.6:
            self._seal_something()
            self.agent.stop()
        else:
            self.agent.start()

    def silent(self) -> list[str]:
        """Every line that was lost, or sealed twice, without a gap in its place."""
        found = []
        for name, lines in self.lines.items():
            for number, line in lines.items():
                if len(line.sealed) == 1:
                    continue
                later = [min(item.sealed) for other, item in lines.items() if other > number and item.sealed]
                until = max(line.sealed) if line.sealed else min(later, default=CLOCK.now)
                until = max(until, line.written + 10 * GRACE)
                if not any(line.written <= gap <= until + _SLACK for gap in self.gaps[name]):
                    found.append(f"{name} {number} written {line.written:.3f} sealed {line.sealed}")
        return found


@dataclass
class Count:
    """What came of stories."""

    stories: int = 0
    lines: int = 0
    gaps: int = 0
    lost: int = 0
    twice: int = 0
    silent: dict[int, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.stories} stories, {self.lines} lines, {self.gaps} gaps told; {self.lost} lines lost and "
            f"{self.twice} sealed twice behind a gap; in silence: {len(self.silent)} stories"
        )


def tell(seeds: range, folder: Path) -> Count:
    """Run stories in a folder of a file system without other writers."""
    count = Count()
    for seed in seeds:
        hurry(0.0 if seed % 2 else 60.0)
        own = Path(tempfile.mkdtemp(dir=folder))
        story = Story(seed, own)
        try:
            story.run()
        finally:
            story.agent.stop()
            shutil.rmtree(own)
        lines = [line for known in story.lines.values() for line in known.values()]
        count.stories += 1
        count.lines += len(lines)
        count.gaps += sum(map(len, story.gaps.values()))
        count.lost += sum(not line.sealed for line in lines)
        count.twice += sum(len(line.sealed) > 1 for line in lines)
        if silent := story.silent():
            count.silent[seed] = silent
    return count


def main(words: list[str], out: TextIO) -> int:
    """Tell so many stories, from a seed on; the status is 1 if a line was lost in silence."""
    number, first = int(words[0]), int(words[1]) if len(words) > 1 else 0
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        count = tell(range(first, first + number), Path(folder))
    out.write(f"{count}\n")
    out.writelines(
        f"  seed {seed}: {len(silent)}: {silent[0]}\n" for seed, silent in list(count.silent.items())[:20]
    )
    return 1 if count.silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
