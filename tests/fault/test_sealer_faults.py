"""Every durable step of a sealer fails in turn; whatever is left, a new one goes on, and the verifier agrees.

Real are the files, the page, the key backend and its couriers; only the clock is a fake. Each case drives one story
(`Story`), lets one step fail (`Faults`), throws the sealer away as a kill would, and starts again on what it left.
"""

from __future__ import annotations

import hashlib
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from epochseal import checkpoints
from epochseal.calls import BackendCalls
from epochseal.chain import Pace
from epochseal.courier import Zygote
from epochseal.durable import AppendFile, DurabilityError
from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.keys import load_backend, parse_key_uri
from epochseal.limits import Limits, Piece
from epochseal.lines import Block, Header, Source, TaggedLine, parse_line
from epochseal.memory import SecretPage
from epochseal.pages import RatchetPage
from epochseal.restart import Finding
from epochseal.runtime import Runtime
from epochseal.sealer import Sealer
from epochseal.segments import list_segments
from epochseal.verifier import Request, Verdict, verify
from epochseal_backends import file

ORIGIN = "example.com/faults"
START = 1_700_000_000_000
MODES = ("not done", "half done", "done")
STEPS = ("append", "sync", "truncate", "replace", "publish")


class Killed(BaseException):
    """The process ends here: nothing that it would do about an error is done."""


class Clock:
    """A clock that a test moves on; it never stands still, so that times differ."""

    def __init__(self) -> None:
        self.elapsed = 0

    def now(self) -> int:
        """Milliseconds since 1970."""
        self.elapsed += 1
        return START + self.elapsed

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


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Keys in files, and a zygote that knows them."""
    keys = tmp_path_factory.mktemp("host") / "keys"
    file.generate(keys)
    uri = parse_key_uri(f"file:{keys / 'agent'}")
    with SecretPage() as mailbox:
        zygote = Zygote.start(uri, uri, {}, mailbox)
        yield Host(keys, zygote, mailbox)
        zygote.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for logs where a sync costs nothing: there are hundreds of them."""
    with TemporaryDirectory(dir="/dev/shm") as made:  # a test's own directory
        yield Path(made)


@pytest.fixture(params=["in memory", "on tmpfs"])
def runtime_dir(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Where the ratchet's page is: gone with the process, or not."""
    if request.param == "in memory":
        yield None
        return
    with TemporaryDirectory(dir="/dev/shm") as directory:  # keys are kept on no other file system
        yield Path(directory)


@dataclass
class Story:
    """One log, driven by hand; `sent` and `acknowledged` are entries in their order."""

    host: Host
    logdir: Path
    runtime_dir: Path | None
    clock: Clock = field(default_factory=Clock)
    sent: list[bytes] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    offset: int = 0
    sealer: Sealer | None = None

    def start(self) -> Finding:
        """A new process on this log, up to where it takes entries."""
        runtime = (
            Runtime.in_memory()
            if self.runtime_dir is None
            else Runtime.in_directory(self.runtime_dir, self.logdir)
        )
        calls = BackendCalls(self.host.zygote, self.clock, lambda: 0.0)
        sealer = Sealer(
            self.logdir, ORIGIN, calls, self.host.mailbox, self.clock, runtime, pace=Pace(), limits=Limits()
        )  # fmt: skip  # one call
        self.sealer = sealer
        finding = sealer.start()
        self.pump()
        assert sealer.live
        return finding

    def pump(self) -> None:
        """Have all backend calls made and answered."""
        sealer = self.running
        sealer.tick()
        while (courier := sealer.calls.fileno()) is not None:
            assert select.select([courier], [], [], 10)[0]
            sealer.answer()
        assert sealer.unsigned == 0

    @property
    def running(self) -> Sealer:
        """The sealer of the process that runs."""
        assert self.sealer is not None
        return self.sealer

    def commit(self, *counts: int) -> None:
        """Commit so many new entries, a block each count, and take the acknowledgement."""
        pieces, data, entries = [], bytearray(), []
        for count in counts:
            block = [b"entry %d\n" % (len(self.sent) + len(entries) + number) for number in range(count)]
            entries += block
            size = len(b"".join(block))
            data += b"".join(block)
            self.offset += size
            pieces.append(Piece(size, count, Source("stdin", self.offset)))
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
        self.running.end_epoch("interval")
        self.pump()
        self.commit(2)
        self.running.end_epoch("segment")
        self.pump()
        self.commit(1)
        self.finish()

    def finish(self) -> None:
        """Close the log cleanly."""
        self.running.end()
        self.pump()
        self.running.close()

    def kill(self) -> None:
        """The process is gone: what it held is closed by the kernel, nothing is tidied up."""
        if self.sealer is not None:
            self.sealer.close()
            self.sealer = None


class Faults:
    """Counts the durable steps, and fails one of them.

    Args:
        victim: the number of the step, from 0; -1 for none.
        mode: whether it fails before, half-way through or after what it does.
        error: what is raised.
    """

    def __init__(self, victim: int = -1, mode: str = "not done", error: type[BaseException] = Killed) -> None:
        self.victim, self.mode, self.error = victim, mode, error
        self.trace: list[str] = []

    @contextmanager
    def active(self) -> Iterator[Faults]:
        """Put them between the sealer and its durable steps."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("append", "sync", "truncate"):
                patch.setattr(AppendFile, name, self._wrap(name, getattr(AppendFile, name)))
            patch.setattr(RatchetPage, "publish", self._wrap("publish", RatchetPage.publish))
            patch.setattr(checkpoints, "replace_file", self._wrap("replace", checkpoints.replace_file))
            yield self

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:  # noqa: ANN401  # stands for five functions
            return self._step(name, partial(real, *args), real, args)

        return step

    def _step(self, name: str, do: Callable[[], Any], real: Callable[..., Any], args: tuple[Any, ...]) -> Any:  # noqa: ANN401  # as above
        number = len(self.trace)
        self.trace.append(name)
        if number != self.victim:
            return do()
        if self.mode == "done":
            do()
        elif self.mode == "half done" and name == "append":
            file_, data = args
            real(file_, data[: len(data) // 2])
        raise self.error("injected")


def steps_of(story: Callable[[], object]) -> list[str]:
    """The durable steps that a story takes when none fails."""
    with Faults().active() as faults:
        story()
    return faults.trace


def cases(steps: list[str]) -> list[tuple[int, str]]:
    """Every step in every way in which it can fail."""
    return [
        (number, mode)
        for number, name in enumerate(steps)
        for mode in MODES
        if name == "append" or mode != "half done"
    ]


class Sealed(NamedTuple):
    """What the seal files of a log account for."""

    content: bytes
    links: list[str]
    recovered: int


def read_log(logdir: Path) -> Sealed:
    """Check by hand that log and seal files fit, byte for byte; without keys, and without the verifier's code."""
    content, links, recovered, entries = b"", [], 0, 0
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
    """Nothing acknowledged is lost or doubled, nothing foreign is sealed, and the verifier says what happened."""
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
        assert kinds <= {"cold_start", "unsealed_bytes"}
        assert sealed.recovered == 0
    assert verdict.entries == len(found)
    assert verdict.closed


def go_on(story: Story) -> None:
    """A new process: it starts, seals something more, and closes."""
    story.start()
    story.commit(1)
    story.finish()


def test_the_story_itself_is_sealed(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Without a fault the log verifies, and the story reaches every kind of durable step but the cut."""
    story = Story(host, directory / "log", runtime_dir)
    steps = steps_of(story.tell)
    assert set(steps) == set(STEPS) - {"truncate"}
    assert story.acknowledged == story.sent
    check(story, gapless=True)


def test_a_fault_at_every_step(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Each step fails before, half-way or after: nothing more is sealed then, and a new start loses nothing."""
    steps = steps_of(Story(host, directory / "counted", runtime_dir).tell)
    for victim, mode in cases(steps):
        story = Story(host, directory / f"{victim}-{mode}", runtime_dir)
        # A write that an error cuts short is taken back; only a kill leaves a half of it.
        error = Killed if mode == "half done" else DurabilityError
        with Faults(victim, mode, error).active(), pytest.raises(error, match="injected"):
            story.tell()
        before = read_files(story.logdir)
        assert not story.running.live
        with pytest.raises(StorageError):
            story.commit(1)
        story.running.end()
        assert read_files(story.logdir) == before
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)


def test_foreign_bytes_are_set_aside(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Lines that somebody appended while no agent ran are kept apart, and are sealed by no restart."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(2)
    story.kill()
    (log,) = story.logdir.glob("segments/*.log")
    with log.open("ab") as target:
        target.write(b"entry 7\nforeign")
    finding = story.start()
    assert finding.set_aside == len(b"entry 7\nforeign")
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).links == ["genesis", "cold" if runtime_dir is None else "carry"]
    assert (log.with_suffix(".unsealed")).read_bytes() == b"entry 7\nforeign"
    check(story, gapless=False)
    verdict = story.host.verify(story.logdir, story.clock.now)
    assert verdict.verdict == "incomplete"


def test_an_interrupted_commit_is_completed(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """With a page, entries of which a kill left a part are sealed whole, and marked; without, they are set aside."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    with _torn_append(1), pytest.raises(Killed):
        story.commit(4, 2)
    story.kill()
    finding = story.start()
    story.finish()
    sealed = read_log(story.logdir)
    if runtime_dir is None:
        assert finding.set_aside == len(b"".join(story.sent[1:])) // 2
        assert (sealed.content, sealed.recovered) == (story.sent[0], 0)
    else:
        assert finding.set_aside == 0
        assert (sealed.content, sealed.recovered) == (b"".join(story.sent), 2)
        assert sealed.links == ["genesis"]


def test_a_file_that_changes_behind_the_sealer_is_refused(
    host: Host, directory: Path, runtime_dir: Path | None
) -> None:
    """Bytes that appear between two commits end the sealing before anything is appended behind them."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    (log,) = story.logdir.glob("segments/*.log")
    with log.open("ab") as target:
        target.write(b"foreign\n")
    before = read_files(story.logdir)
    with pytest.raises(StorageError, match="grew behind our back"):
        story.commit(1)
    assert read_files(story.logdir) == before
    story.kill()


def test_a_clean_close_and_a_new_start(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """The next start links by the carry that the page kept, or says that it opened the log again."""
    story = Story(host, directory / "log", runtime_dir)
    go_on(story)
    finding = story.start()
    assert (finding.link, finding.running) == ("reopen" if runtime_dir is None else "carry", False)
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).links == ["genesis", finding.link]
    assert story.host.verify(story.logdir, story.clock.now).verdict == "verified"


def test_a_mistyped_origin_costs_no_page(
    host: Host, directory: Path, runtime_dir: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start under another name is refused, and the next one under the right name goes on as if it had not been."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    story.kill()
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "ORIGIN", "example.com/other")
        with pytest.raises(ConfigError, match="is the log of 'example.com/faults'"):
            story.start()
    story.kill()
    assert story.start().running == (runtime_dir is not None)
    story.finish()
    check(story, gapless=runtime_dir is not None)


def test_a_second_sealer_is_refused(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """While one holds the directory another is turned away, without touching the first one's page."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    second = Story(host, directory / "log", runtime_dir)
    with pytest.raises(LogBusy):
        second.start()
    second.kill()
    story.commit(1)
    story.finish()
    check(story, gapless=True)


def test_restarts_do_not_stretch_an_epoch(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """The time that an epoch ran before a restart counts: it ends when its interval is over."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    for _ in range(3):
        story.commit(1)
        story.kill()
        story.clock.elapsed += 120_000
        story.start()
    story.finish()
    links = read_log(story.logdir).links
    assert links == (["genesis", "cold", "cold", "cold"] if runtime_dir is None else ["genesis", "carry"])


def read_files(logdir: Path) -> dict[str, bytes]:
    """All files of a log."""
    return {str(path): path.read_bytes() for path in logdir.rglob("*") if path.is_file()}


@pytest.mark.parametrize("torn", ["log", "seal"])
def test_a_fault_at_every_step_of_a_recovery(
    host: Host, directory: Path, runtime_dir: Path | None, torn: str
) -> None:
    """A process is killed in mid-write, the next one at any step of mending that: the third goes on without loss."""
    mended: set[str] = set()
    victim, mode = -1, "not done"
    for victim, mode in [(-1, "not done"), *cases(["append"] * 14)]:
        story = Story(host, directory / f"{victim}-{mode}", runtime_dir)
        story.start()
        story.commit(2)
        # Within a commit: the entries are the first thing appended, the line the second.
        with _torn_append(1 if torn == "log" else 2), pytest.raises(Killed):
            story.commit(3)
        story.kill()
        with Faults(victim, mode).active() as faults, suppress(Killed):
            story.start()
        mended |= set(faults.trace)
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)
    assert "truncate" in mended or (runtime_dir is not None)


@contextmanager
def _torn_append(number: int) -> Iterator[None]:
    calls = 0
    real = AppendFile.append

    def append(self: AppendFile, data: Any) -> None:  # noqa: ANN401  # any of the three kinds of bytes
        nonlocal calls
        calls += 1
        if calls == number:
            real(self, data[: len(data) // 2])
            raise Killed("injected")
        real(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AppendFile, "append", append)
        yield
