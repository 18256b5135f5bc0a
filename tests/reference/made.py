"""Random logs for the agreement test, as honest writers and dishonest ones make them, from the page alone."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.reference.keys import ORIGIN, Keys, hashed, text
from tests.reference.maker import MINUTE, Json, Maker, Pace, headers
from tests.reference.notes import parse_line
from tests.reference.trust import Pins, log_id_of, root_of
from tests.reference.verifier import append_leaf

SOURCES: tuple[Json, ...] = (
    {"name": "stdin", "offset": 0},
    {"name": "", "offset": 7, "file": "/var/log/a%20b"},
    {"name": "x", "offset": 2**63 - 1, "esc": 1, "nolf": 1, "recovered": 1, "gap": 1},
    {"name": "y", "offset": 9, "gap": 1, "skipped": 2**63 - 1},
)
REASONS = ("interval", "entries", "bytes", "segment")


@dataclass(frozen=True)
class MadeLog:
    """A log, the keys that made it, the moment (ms) at which it is verified, what can be remembered of it.

    `log` is its id, `roots` are those at all sizes that are signed, `starts` the leaves of its epoch lines.
    """

    path: Path
    keys: Keys
    now: int
    log: str
    roots: dict[int, bytes]
    starts: list[bytes]


def remember(path: Path, keys: Keys, now: int) -> MadeLog:
    """What the files of an undamaged log say."""
    seals = sorted((path / "segments").glob("*.seal"))
    raws = [raw for seal in seals for raw in seal.read_bytes().split(b"\n") if raw and raw[:5] != b"note "]
    lines = [parse_line(raw) for raw in raws]
    size, frontier = (lines[0]["index"], [*lines[0]["frontier"]]) if lines else (0, [])
    log = (log_id_of(lines[0]) if size == 0 else lines[0]["log"]) if lines else text(bytes(32))
    roots = {size: root_of(frontier)}
    for line in lines:
        append_leaf(frontier, size, line["leaf"])
        size += 1
        if line["kind"] in {"epoch", "sign"} or line.get("reason") == "close":
            roots[size] = root_of(frontier)
    return MadeLog(path, keys, now, log, roots, [line["leaf"] for line in lines if line["kind"] == "epoch"])


def random_pins(rng: Random, log: MadeLog) -> Pins:
    """A memory of a log at some moment, or one that is not quite of this log."""
    odd = rng.random() < 0.2
    size = rng.choice([size for size in log.roots if size])  # a memory has seen a checkpoint
    promises = [(MINUTE, rng.choice((0, 5)), log.now - rng.choice((0, MINUTE, 3 * MINUTE)))]
    return Pins(
        ORIGIN if rng.random() < 0.95 else "log.example/other",
        text(bytes(32)) if odd and rng.random() < 0.3 else log.log,
        log.keys.checkpoint.public_key(),
        size + (9 if odd and rng.random() < 0.3 else 0),
        bytes(32) if odd and rng.random() < 0.3 else log.roots[size],
        {log.keys.key_id} if rng.random() < 0.9 else {"file:another"},
        {leaf for leaf in log.starts if rng.random() < 0.4},
        promises=promises if rng.random() < 0.2 else [],
    )


def make_random_log(rng: Random, path: Path, keys: Keys) -> MadeLog:
    """A log of up to 14 steps, closed or not, whole or pruned, some of its segments compressed."""
    return _Story(rng, path, keys).make()


class _Story:
    def __init__(self, rng: Random, path: Path, keys: Keys) -> None:
        self.rng, self.path, self.keys = rng, path, keys
        self.pace = Pace(
            rng.choice((0, 1000, 10_000)),
            MINUTE,
            rng.choice((0, 60 * MINUTE)),
            rng.choice((0, 0, MINUTE, 2**62)),
        )
        self.log = Maker(path, keys, f"log {rng.random()}", pace=self.pace)
        self.is_closed = False
        self.honest = rng.random() < 0.7
        denies = (hashed("another id"), 3, hashed("its root")) if rng.random() < 0.02 else None
        self.log.begin("genesis", denies=denies)

    def make(self) -> MadeLog:
        """Take the steps."""
        rng = self.rng
        steps = [self._block, self._block, self._block, self._turn, self._turn, self._restart, self._sign]
        for _ in range(rng.randrange(14)):
            rng.choice(steps if self.honest else [*steps, self._turn_badly, self._note, self._thief])()
        if rng.random() < 0.6 and not self.is_closed:
            self._close()
        if rng.random() < 0.25:
            self._prune()
        for file in sorted((self.path / "segments").glob("*.log"))[: None if self.is_closed else -1]:
            if rng.random() < 0.15:
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
                file.unlink()
        return remember(self.path, self.keys, self.log.time + 1000)

    def _block(self) -> None:
        rng = self.rng
        entries = [
            bytes(rng.choices(b"abc \r\x00\xff", k=rng.randrange(9))) + b"\n" for _ in range(rng.randrange(4))
        ]
        self._open()
        self.log.time += rng.choice((0, 0, 0, 0, 9_000, 30_000 if self.honest else MINUTE))
        self.log.block(*entries, source=rng.choice(SOURCES) if rng.random() < 0.3 else None)

    def _sign(self) -> None:
        """Without an announcement, or with one that comes to nothing."""
        self._open()
        self.log.sign(self.log.ask() if self.rng.random() < 0.5 else None)
        if self.rng.random() < 0.8:
            self.log.note()

    def _turn(self) -> None:
        self._open()
        size = self.log.sign(self.log.ask()).size
        for _ in range(self.rng.randrange(2)):
            self.log.block(b"while it waits\n")
        if self.rng.random() < (1 if self.honest else 0.6):
            self.log.note(size=size)
        reason = self.rng.choice(REASONS)
        self.log.end(reason).begin("carry", segment=reason == "segment")

    def _turn_badly(self) -> None:
        """Without an announcement, or to another secret, or for another epoch."""
        self._open()
        way = self.rng.randrange(3)
        if way:
            self.log.sign(self.log.ask()).note()
        secret = self.log.ask() if way < 2 else None
        self.log.end(self.rng.choice(REASONS)).begin(
            "carry", secret, segment=self.rng.random() < 0.5, signed=False
        )

    def _note(self) -> None:
        """A checkpoint where none is signed, or once more."""
        self._open()
        self.log.note(size=self.rng.choice((self.log.size, max(self.log.size - 1, 1))))

    def _thief(self) -> None:
        """From here on somebody without the credential, or again with it."""
        self.log.signs = not self.log.signs or self.rng.random() < 0.3

    def _close(self) -> None:
        self._open()
        self.log.close(signed=self.rng.random() < 0.9)
        self.is_closed = True

    def _open(self) -> None:
        """A log that is closed is gone on with first."""
        if self.is_closed:
            self._continue("carry" if self.rng.random() < 0.9 else "cold")

    def _restart(self) -> None:
        """The end of one process, clean or not, and the start of the next."""
        if not self.is_closed and self.rng.random() < 0.7:
            self._close()
        self._continue("carry" if self.is_closed and self.rng.random() < 0.8 else "cold")

    def _continue(self, link: str) -> None:
        rng, size = self.rng, self.log.size
        late = self.is_closed and not self._has_note(size)
        self.log.time += rng.choice((0, 5000, -5000))
        denies = (self.log.log, max(size - 1, 1), hashed("its root"))
        denied = link == "cold" and rng.random() < (0.03 if self.honest else 0.15)
        signs = rng.random() < (0.95 if self.honest else 0.7)
        for _ in range(rng.choice((1, 1, 1, 1, 2))):  # the first of two stays bare, or empty
            self.log.begin(link, signed=False, denies=denies if denied else None)
            if late and rng.random() < 0.8:
                self.log.note(size=size)
            late = False
            if signs:
                self.log.note()
        self.is_closed = False

    def _has_note(self, size: int) -> bool:
        checkpoint = self.path / "checkpoint"
        return checkpoint.exists() and checkpoint.read_bytes().split(b"\n")[1] == b"%d" % size

    def _prune(self) -> None:
        """Seal a prune line in an epoch of its own, then remove what it says, or one segment less."""
        rng = self.rng
        if not self.is_closed:
            self._close()
        self._continue("carry")
        segment = rng.randint(0, self.log.segment - 1)
        head = next(head for head in headers(self.path) if head["segment"] == segment + 1)
        self.log.prune(head, segment)
        if rng.random() < 0.8:
            self._close()
        kept = segment - rng.choice((0, 0, 0, 0, 1))
        for path in sorted((self.path / "segments").iterdir()):
            if int(path.name[:6]) <= kept and (int(path.name[:6]) < kept or rng.random() < 0.9):
                path.unlink()
