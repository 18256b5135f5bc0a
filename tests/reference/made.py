"""Random logs for the agreement test: written in process, or sealed by the real command."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any

from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import EndReason, Prune, SourceMark, encode_note_line
from epochseal.sealing.chain import Pace
from tests.integration.logs import MINUTE, Log, LogKeys, LogWriter, seal, seal_command
from tests.reference.verifier import root_of

SOURCES = (
    SourceMark("stdin", 0),
    SourceMark("", 7, file="/var/log/a%20b"),
    SourceMark('q"uote \\ \u202e\u007f\U0001f600\x01\n\ufeff', 2**63 - 1, esc=1, nolf=1, recovered=1),
)
REASONS: tuple[EndReason, ...] = ("interval", "entries", "bytes", "segment")


class _Writer(LogWriter):
    def prune(self, body: Prune) -> LogWriter:
        """Seal a prune line."""
        return self._line(self.chain.record(body, self._key, self._next))

    def turn_late(self) -> bytes:
        """Go on in a new segment before the end of this one is signed; the line of the late note."""
        context, asked = self.chain.next_context(), self.chain.asked()
        self.end("segment", signed=False)
        tree = self.chain.tree
        line = encode_note_line(self.keys.sign(Checkpoint(self.chain.origin, tree.size, tree.root())))
        self._start("carry", context, asked, segment=True, signed=False)
        self._append("seal", line)
        self.sign()
        return line


def write_random_log(rng: Random, path: Path, keys: LogKeys) -> Log:
    """A log of up to 14 steps, closed or not, whole or pruned, some of its segments compressed."""
    return _Maker(rng, path, keys).make()


class _Maker:
    def __init__(self, rng: Random, path: Path, keys: LogKeys) -> None:
        self.rng, self.keys, self.path = rng, keys, path
        retention = rng.choice((0, 0, MINUTE, 2**62))
        self.pace = Pace(rng.choice((0, 1000, 10_000)), MINUTE, rng.choice((0, 60 * MINUTE)), retention)
        self.writer = _Writer(path, keys, f"log {rng.random()}", pace=self.pace)
        self.writer.start("genesis")
        self.closed = False

    def make(self) -> Log:
        """Take the steps."""
        rng = self.rng
        for _ in range(rng.randrange(14)):
            rng.choice((self._block, self._block, self._block, self._turn, self._turn, self._restart))()
        if rng.random() < 0.6:
            self._close()
        if rng.random() < 0.25:
            self._prune()
        for path in sorted((self.path / "segments").glob("*.log"))[: None if self.closed else -1]:
            if rng.random() < 0.15:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
                path.unlink()
        return Log(self.path, self.keys, self.writer.time + 1000)

    def _block(self) -> None:
        rng = self.rng
        entries = [
            bytes(rng.choices(b"abc \r\x00\xff", k=rng.randrange(9))) + b"\n" for _ in range(rng.randrange(4))
        ]
        self.writer.block(*entries, src=rng.choice(SOURCES) if entries and rng.random() < 0.3 else None)

    def _turn(self) -> None:
        self.writer.turn(self.rng.choice(REASONS), signed=self.rng.random() < 0.9)

    def _close(self) -> None:
        self.writer.end(signed=self.rng.random() < 0.9)
        self.closed = True

    def _restart(self) -> None:
        """The end of one agent, clean or not, and the start of the next."""
        way = self.rng.choice(("closed", "closed", "ended", "killed"))
        if way == "closed":
            self._close()
        elif way == "ended":
            self.writer.end(self.rng.choice(REASONS))
        self._continue("reopen" if way == "closed" and self.rng.random() < 0.9 else "cold")

    def _continue(self, link: str) -> None:
        when = self.writer.time + self.rng.choice((0, 5000, -5000))
        writer = _Writer.after(self.path, self.keys, f"log {self.rng.random()}", time=when, signs=True)
        assert isinstance(writer, _Writer)
        self.writer, self.closed = writer, False
        self.writer.start("reopen" if link == "reopen" else "cold")

    def _prune(self) -> None:
        """Seal a prune line in an epoch of its own, then remove what it says, or one segment less."""
        rng = self.rng
        segment = rng.randint(0, self.writer.chain.segment - 1)
        if not self.closed:
            self._close()
        self._continue("reopen")
        head = _first_header(self.path, segment + 1)
        tree = head["tree"]
        root = base64.b64encode(root_of([base64.b64decode(item) for item in tree["frontier"]])).decode()
        self.writer.prune(
            Prune(segment, max(head["epoch"] - 1, 0), tree["size"], root, head["first_entry"], 1, "90d")
        )
        self._close()
        kept = segment - rng.choice((0, 0, 0, 0, 1))
        for path in sorted((self.path / "segments").iterdir()):
            if int(path.name[:6]) <= kept and (int(path.name[:6]) < kept or rng.random() < 0.9):
                path.unlink()


def _first_header(path: Path, segment: int) -> dict[str, Any]:
    (seal_file,) = (path / "segments").glob(f"{segment:06}-*.seal")
    return dict(json.loads(seal_file.read_bytes().split(b"\n")[0].split(b" ", 2)[2].rsplit(b" ", 1)[0]))


def late_note(path: Path, keys: LogKeys) -> Log:
    """A pruned log whose first segment holds the signature of the end of the one that has expired."""
    writer = _Writer(path, keys)
    writer.start("genesis").block(b"expired\n")
    note = writer.turn_late()
    tree = _first_header(path, 2)["tree"]
    root = root_of([base64.b64decode(item) for item in tree["frontier"]])
    writer.prune(Prune(1, 0, tree["size"], base64.b64encode(root).decode(), 1, 8, "90d")).end()
    assert note in writer.path("seal").read_bytes()
    for file in (path / "segments").glob("000001-*"):
        file.unlink()
    return Log(path, keys, writer.time + 1000)


def seal_random_log(rng: Random, path: Path, keys: LogKeys) -> Log:
    """One to three runs of `epochseal seal` with random sizes, each closed or killed."""
    for _ in range(rng.randint(1, 3)):
        options = [f"--epoch-max-entries={rng.randint(1, 30)}", f"--block-bytes={rng.randint(20, 400)}B"]
        options.append(f"--segment-bytes={rng.randint(100, 3000)}B")
        data = b"".join(
            rng.randbytes(rng.randrange(30)).replace(b"\n", b"") + b"\n" for _ in range(rng.randint(0, 60))
        )
        if rng.random() < 0.6:
            seal(path, keys, data + rng.choice((b"", b"no newline")), *options)
            continue
        command = [*seal_command(path, keys), *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as agent:
            assert agent.stdin
            agent.stdin.write(data)
            agent.stdin.flush()
            while not (path / "checkpoint").exists():  # the first of the two signed starts is enough
                time.sleep(0.05)
            time.sleep(rng.random())
            agent.send_signal(signal.SIGKILL)
    return Log(path, keys, time.time_ns() // 1_000_000)
