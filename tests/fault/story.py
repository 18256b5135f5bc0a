"""One sealed log, driven by hand: real are sealer, files, page and key backend, the clock is a fake."""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.format.seal_lines import Block, Header, Link, SourceMark, TaggedLine, parse_line
from epochseal.keys import load_backend, parse_key_uri
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.chain import Pace
from epochseal.sealing.limits import Limits, Piece
from epochseal.sealing.login_gate import LoginGate
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.sealer import Sealer
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, Verdict, verify
from epochseal_backends.file import backend as file

ORIGIN = "example.com/faults"
START = 1_700_000_000_000


class Clock:
    """A clock that a test moves on; it never stands still, so that times differ."""

    def __init__(self) -> None:
        self.elapsed = 0
        self.ahead = 0

    def now(self) -> int:
        """Milliseconds since 1970; `ahead` of the other clock by as much as the test set it forward."""
        self.elapsed += 1
        return START + self.elapsed + self.ahead

    def monotonic(self) -> float:
        """The same clock in seconds."""
        return self.elapsed / 1000


class Host(NamedTuple):
    """What all cases share: one set of keys, one zygote and its mailbox."""

    keys: Path
    zygote: Zygote
    mailbox: SecretPage

    def verify(self, logdir: Path, now: Callable[[], int]) -> Verdict:
        """The verdict of whoever holds the epoch key and the public key."""
        for path in logdir.glob("segments/*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        uri = parse_key_uri(f"file:{self.keys / 'verifier'}")
        backend = load_backend(uri)
        return verify(
            logdir,
            Request(
                make_recoverer=lambda: backend.recoverer(uri, {}),
                checkpoint_key=backend.public_key(uri, {}),
                origin=ORIGIN,
                now=now,
            ),
        )


@contextmanager
def running_host(folder: Path) -> Iterator[Host]:
    """Keys in files, and a zygote that knows them."""
    file.generate(folder / "keys")
    uri = parse_key_uri(f"file:{folder / 'keys' / 'agent'}")
    with SecretPage() as mailbox:
        zygote = Zygote.start(uri, uri, {}, mailbox)
        yield Host(folder / "keys", zygote, mailbox)
        zygote.close()


@dataclass
class Story:
    """One log, driven by hand; `sent` and `acknowledged` are entries in their order."""

    host: Host
    logdir: Path
    runtime_dir: Path | None
    origin: str = ORIGIN
    state_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    clock: Clock = field(default_factory=Clock)
    sent: list[bytes] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    offset: int = 0
    sealer: Sealer | None = None
    gates: tuple[LoginGate, LoginGate] | None = None

    def start(self) -> RestartPoint:
        """A new process on this log, up to where it takes entries."""
        sealer = self.opened()
        point = sealer.start(self.state_dir)
        self.pump()
        assert sealer.live
        return point

    def opened(self) -> Sealer:
        """The sealer of a new process, before its start."""
        runtime = (
            PageStore.in_memory()
            if self.runtime_dir is None
            else PageStore.in_directory(self.runtime_dir, self.logdir)
        )
        calls = BackendCalls(self.host.zygote, self.clock, lambda: 0.0, self.gates)
        sealer = Sealer(
            self.logdir,
            self.origin,
            calls,
            self.host.mailbox,
            self.clock,
            runtime,
            pace=self.pace,
            limits=self.limits,
        )
        self.sealer = sealer
        return sealer

    def pump(self) -> None:
        """Have all backend calls made and answered."""
        sealer = self.running
        sealer.tick()
        while (courier := sealer.calls.fileno()) is not None:
            assert select.select([courier], [], [], 10)[0]
            sealer.take_answer()
        assert not sealer.checkpoints

    @property
    def running(self) -> Sealer:
        """The sealer of the process that runs."""
        assert self.sealer is not None
        return self.sealer

    def commit(self, *counts: int) -> None:
        """Commit so many new entries, a block each count, and take the acknowledgement."""
        pieces: list[Piece] = []
        data, entries = bytearray(), list[bytes]()
        for count in counts:
            block = [b"entry %d\n" % (len(self.sent) + len(entries) + number) for number in range(count)]
            entries += block
            size = len(b"".join(block))
            data += b"".join(block)
            self.offset += size
            pieces.append(Piece(size, count, SourceMark("stdin", self.offset)))
        self.sent += entries
        self.running.commit(memoryview(data), pieces)
        self.acknowledged += entries

    def tell(self) -> None:
        """All that happens to a log: commits, a heartbeat, an epoch's end, a segment's end, a clean close."""
        self.start()
        self.commit(2)
        self.commit(1, 3)
        self.clock.elapsed += 10_000
        self.running.tick()
        self.commit(1)
        self.running.request_next_epoch("interval")
        self.pump()
        self.commit(2)
        self.running.request_next_epoch("segment")
        self.pump()
        self.commit(1)
        self.finish()

    def finish(self) -> None:
        """Close the log cleanly."""
        self.running.close_log()
        self.pump()
        self.running.release()

    def kill(self) -> None:
        """The process is gone: what it held is closed by the kernel, nothing is tidied up."""
        if self.sealer is not None:
            self.sealer.release()
            self.sealer = None


class Sealed(NamedTuple):
    """What the seal files of a log account for."""

    content: bytes
    links: list[Link]
    recovered: int


def read_log(logdir: Path) -> Sealed:
    """Check that log and seal files fit, byte for byte, without keys and the verifier's code."""
    content, recovered, entries = b"", 0, 0
    links: list[Link] = []
    for segment in list_segments(logdir).segments:
        (log,) = segment.logs
        data, at = log.read_bytes(), 0
        assert segment.seal is not None
        raw = segment.seal.read_bytes()
        assert raw.endswith(b"\n")
        for text in raw[:-1].split(b"\n"):
            line = parse_line(text)
            body = line.body if isinstance(line, TaggedLine) else None
            if isinstance(body, Header):
                links.append(body.link)
            if not isinstance(body, Block):
                continue
            assert (body.offset, body.first_entry) == (at, entries)
            part = data[at : at + body.size]
            assert hashlib.sha256(part).digest() == body.digest
            assert part.count(b"\n") == body.entries
            at, entries = at + body.size, entries + body.entries
            recovered += body.src.recovered if body.src is not None else 0
        assert at == len(data), "bytes that nobody sealed stand in the log file"
        content += data
    return Sealed(content, links, recovered)


def check(story: Story, *, gapless: bool) -> None:
    """Nothing acknowledged is lost or doubled, nothing foreign is sealed; the verifier says what happened."""
    sealed = read_log(story.logdir)
    found = sealed.content.splitlines(keepends=True)
    assert len(set(found)) == len(found)
    assert [entry for entry in found if entry in set(story.acknowledged)] == story.acknowledged
    assert found == [entry for entry in story.sent if entry in set(found)]
    verdict = story.host.verify(story.logdir, story.clock.now)
    kinds = {problem.kind for problem in verdict.problems}
    if gapless:
        assert (verdict.verdict, kinds) == ("verified", set())
        assert set(sealed.links) <= {"genesis", "carry"}
    else:
        assert kinds <= {"cold_start", "unsealed_bytes", "torn_lines"}
        assert sealed.recovered == 0
    assert verdict.entries == len(found)
    assert verdict.closed


def go_on(story: Story) -> None:
    """A new process: it starts, seals something more, and closes."""
    story.start()
    story.commit(1)
    story.finish()


def read_files(logdir: Path) -> dict[str, bytes]:
    """All files of a log."""
    return {str(path): path.read_bytes() for path in logdir.rglob("*") if path.is_file()}
