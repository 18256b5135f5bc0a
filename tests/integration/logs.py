"""Logs for attack tests: fixed keys, and a writer with the steps that these tests are told in.

Everything is a function of names and numbers, so that the same call always writes the same bytes. The writer
shares no code with the agent (tests/reference/maker.py); it has no durability and no backend calls: those are
tested elsewhere, with the real agent.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from epochseal.encoding import b64decode
from epochseal.format.merkle import Frontier
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Link, SourceMark
from epochseal.keys import PublicKey, Recoverer, load_backend, parse_key_uri
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, Verdict, verify
from tests.reference.keys import Keys, signed_note
from tests.reference.maker import Json, Maker, Pace, dump, headers
from tests.reference.notes import sha
from tests.reference.trust import root_of
from tests.reference.verifier import append_leaf
from tests.warm_program import run

ORIGIN = "log.example/attacks"
START = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms: when the writer's logs begin."""
MINUTE = 60_000
Mode = Literal["keys", "public"]
MODES: tuple[Mode, ...] = ("keys", "public")


class LogKeys(Keys):
    """Key pairs made of a sentence, in the folders of the file backend: they protect nothing."""

    def __init__(self, directory: Path, sentence: str = "test keys that protect nothing") -> None:
        super().__init__(directory, sentence)
        self.public = PublicKey("ed25519", self.checkpoint.public_key().public_bytes_raw())

    def vkey(self, origin: str = ORIGIN) -> str:
        """The checkpoint key as text."""
        return super().vkey(origin)

    def recoverer(self) -> Recoverer:
        """What a verifier has."""
        uri = parse_key_uri(f"file:{self.directory / 'verifier'}")
        return load_backend(uri).recoverer(uri, {})

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """A signed note over a checkpoint."""
        return sign_by(checkpoint, self)


def sign_by(checkpoint: Checkpoint, *signers: LogKeys) -> bytes:
    """A signed note over a checkpoint, by several keys."""
    return signed_note(checkpoint.origin, checkpoint.size, checkpoint.root, *signers)


class LogWriter(Maker):
    """Writes a log line by line; time goes on by 100 ms a line.

    `signs` False is an attacker who has the public wrapping key alone; `after` continues a log from what
    stands on disk, without its carry.
    """

    keys: LogKeys

    def __init__(
        self, logdir: Path, keys: LogKeys, name: str = "log", *, time: int = START, pace: Pace | None = None
    ) -> None:
        super().__init__(logdir, keys, name, time=time, pace=pace or Pace(max_overdue=60 * MINUTE))
        self.origin = ORIGIN

    @classmethod
    def after(cls, logdir: Path, keys: LogKeys, name: str, *, time: int, signs: bool) -> LogWriter:
        """Whoever continues the log in `logdir` from the files alone."""
        writer = cls(logdir, keys, name, time=time)
        writer.signs = signs
        for seal in sorted((logdir / "segments").glob("*.seal")):
            writer.stem, writer.offset = seal.stem, 0
            for raw in seal.read_bytes().splitlines():
                if not raw.startswith(b"note "):
                    writer._pass(raw)
        last = headers(logdir)[-1]
        writer.epoch, writer.segment = int(str(last["epoch"])), int(str(last["segment"]))
        return writer

    def _pass(self, raw: bytes) -> None:
        """Take a line of somebody else, as it stands there."""
        payload, _, tag = raw.rpartition(b" ")
        words = payload.split(b" ")
        if words[0] == b"epoch":
            head = json.loads(payload.split(b" ", 2)[2])
            self.run = self.size if head["link"] != "carry" else self.run
        elif words[0] == b"block":
            self.entries += int(words[3])
            self.offset += int(words[5])
        leaf = sha(b"\x00", payload)
        append_leaf(self.frontier, self.size, leaf)
        self.size += 1
        self.roots[self.size] = root_of(self.frontier)
        if self.size == 1:
            self.log = sha(b"epochseal/v1/log", leaf)
        self.tag = b64decode(tag, "tag")

    @property
    def logdir(self) -> Path:
        """The directory of the log."""
        return self.path

    @property
    def tree(self) -> Frontier:
        """The tree over all lines."""
        return Frontier(self.size, self.frontier)

    @property
    def signed(self) -> int:
        """The size that was signed last."""
        return int((self.path / "checkpoint").read_bytes().split(b"\n")[1])

    def start(self, link: Link, *, segment: bool = True) -> LogWriter:
        """Begin an epoch, in a segment of its own unless told otherwise."""
        self.begin(link, segment=segment)
        return self

    def turn(self, reason: str = "entries", *, signed: bool = True) -> LogWriter:
        """End the running epoch and begin the next, as an agent does: announced, signed, ended, begun."""
        super().turn(reason, signed=signed)
        return self

    def block(
        self, *entries: bytes, source: Json | None = None, time: int = -1, src: SourceMark | None = None
    ) -> LogWriter:
        """Seal entries (each with its newline); none is the heartbeat."""
        if src is not None:
            source = json.loads(msgspec.json.encode(src))
        super().block(*entries, source=source, time=time)
        return self

    def end(self, reason: str = "close", *, run: int = -1, signed: bool = True) -> LogWriter:
        """End the epoch; `close` ends the log, with the note over it."""
        super().end(reason, run=run)
        if reason == "close":
            self.announced = None
            if signed:
                self.note()
        return self

    def close(self, *, signed: bool = True) -> LogWriter:
        """A clean close."""
        return self.end(signed=signed)

    def rotate(
        self, key: str, old: Keys, new: Keys, *, compromised: bool = False, from_size: int = -1
    ) -> LogWriter:
        """Record that `new` replaces `old`; who issues and signs is up to the caller."""
        pair = (old.key_id, new.key_id) if key == "epoch" else (old.vkey(self.origin), new.vkey(self.origin))
        body: Json = {"key": key, "old": pair[0], "new": pair[1]}
        body |= {"from_size": self.size if from_size < 0 else min(from_size, self.size), "who": "alice"}
        body |= {"why": "a test", "time": self._tick(), "ticket": "T-1"}
        self.line("rotate", dump(body | ({"compromised": 1} if compromised else {})))
        return self

    def hand_over(self, old: Keys, new: Keys, *, compromised: bool = False, from_size: int = -1) -> LogWriter:
        """Change the checkpoint key and close the log, as `epochseal rotate` does."""
        self.rotate("checkpoint", old, new, compromised=compromised, from_size=from_size)
        self.end(signed=False)
        self.signer = new
        self.note(*(() if compromised else (old,)))
        return self


def entry(number: int) -> bytes:
    """Entry `number` of the logs here: 23 bytes."""
    return b"entry %04d, as sealed.\n" % number


@dataclass(frozen=True)
class Log:
    """A log to attack: its directory, its keys, and the moment (ms) at which it is verified."""

    path: Path
    keys: LogKeys
    now: int

    def files(self, ending: str) -> list[Path]:
        """The segments' files with this ending, in order."""
        return sorted((self.path / "segments").glob(f"*.{ending}"))

    def verify(
        self, mode: Mode, *, strict: bool = False, jobs: int = 1, later: int = 0, keyed: bool = True
    ) -> Verdict:
        """The verdict of one mode; `keyed` False names no checkpoint key."""
        for path in (self.path / "segments").glob("*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        request = Request(
            make_recoverer=self.keys.recoverer if mode == "keys" else None,
            checkpoint_key=self.keys.public if keyed else None,
            strict=strict,
            jobs=jobs,
            now=lambda: self.now + later,
        )
        return verify(self.path, request)


def write_log(path: Path, keys: LogKeys, name: str = "log", *, time: int = START) -> Log:
    """The log that is attacked: 35 entries, 3 a block, 6 an epoch, 12 a segment; closed.

    | segment | epoch | blocks of entries |
    |---|---|---|
    | 1 | 0, 1 | 0-2 3-5, 6-8 9-11 |
    | 2 | 2, 3 | 12-14 15-17, 18-20 21-23 |
    | 3 | 4, 5 | 24-26 27-29, 30-32 33-34 |
    """
    writer = LogWriter(path, keys, name, time=time).start("genesis")
    for first in range(0, 35, 3):
        writer.block(*map(entry, range(first, min(first + 3, 35))))
        if first % 6 == 3 and first < 33:
            writer.turn("segment" if first % 12 == 9 else "entries")
    writer.end()
    return Log(path, keys, writer.time + 1000)


def seal(path: Path, keys: LogKeys, data: bytes, *options: str, origin: str = ORIGIN) -> None:
    """Seal `data` with the real command."""
    run([*seal_command(path, keys, origin)[1:], *options], data=data).check_returncode()


def seal_command(path: Path, keys: LogKeys, origin: str = ORIGIN) -> list[str]:
    """The command that seals its standard input into `path`."""
    agent = f"file:{keys.directory / 'agent'}"
    program = str(Path(sys.executable).parent / "epochseal")
    return [program, "seal", str(path), "--origin", origin, "--epoch-key", agent, "--checkpoint-key", agent]


def sealed_log(path: Path, keys: LogKeys) -> Log:
    """The log of `write_log`, sealed by the real agent."""
    sizes = ("--block-bytes", "69B", "--epoch-max-entries", "6", "--segment-bytes", "276B")
    seal(path, keys, b"".join(map(entry, range(35))), *sizes)
    tail = read_chain_end(list_segments(path).segments)
    assert tail is not None
    return Log(path, keys, tail.header.time + 2000)
