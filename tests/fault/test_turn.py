"""A turn is killed at each of its steps, with each kind of memory: the next process goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from epochseal.custody.courier import Courier
from epochseal.encoding import b64decode
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import parse_checkpoint
from epochseal.format.seal_lines import EndReason, Header, TaggedLine, parse_line
from epochseal.sealing.chain import Pace
from epochseal.storage.segments import list_segments
from tests.fault.story import Host, Story, check, read_log
from tests.fault.test_sealer_faults import Faults, Killed, some


class Memory(NamedTuple):
    """What outlives the process."""

    page: Path | None
    state: Path | None


@pytest.fixture(params=["page", "page and state", "state", "nothing"])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    """A page, a state, both, or nothing."""
    with TemporaryDirectory(dir="/dev/shm") as made:  # keys are kept on no other file system
        page, state = Path(made) / "page", Path(made) / "state"
        page.mkdir(0o700)
        yield Memory(page if "page" in request.param else None, state if "state" in request.param else None)


class Signed:
    """Every checkpoint that a signature was asked for, whether it came or not."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[bytes] = []
        real = Courier.ask_signature

        def ask(courier: Courier, message: bytes) -> None:
            self.asked.append(message)
            real(courier, message)

        patch.setattr(Courier, "ask_signature", ask)


def lines(logdir: Path) -> list[TaggedLine]:
    """The tagged lines of a log that can be read, in their order."""
    found = []
    for segment in list_segments(logdir).segments:
        raw = segment.seal.read_bytes() if segment.seal is not None else b""
        for text in raw.split(b"\n")[:-1]:
            line = parse_line(text)
            if isinstance(line, TaggedLine):
                found.append(line)
    return found


def roots(logdir: Path) -> list[bytes]:
    """The root of the tree at every size."""
    tree = Frontier()
    found = [tree.root()]
    for line in lines(logdir):
        tree.append(leaf_hash(line.payload))
        found.append(tree.root())
    return found


def check_state(story: Story) -> None:
    """What is remembered is true, and no more than what is durable."""
    if story.state_dir is None:
        return
    (path,) = story.state_dir.glob("*/state")
    state = json.loads(path.read_bytes())
    assert b64decode(state["root"], "root") == roots(story.logdir)[state["size"]]


def check_calls(logdir: Path, made: int) -> None:
    """Every issue call is in an epoch line: as the one that it adopted, or as one that it gave up.

    A kill may come when a call is counted and not made yet, never the other way round.
    """
    headers = [line.body for line in lines(logdir) if isinstance(line.body, Header)]
    explained = len(headers) + sum(item.calls for header in headers for item in header.abandoned)
    assert made <= explained <= made + 1


@pytest.mark.parametrize("reason", ["interval", "segment"])
def test_a_kill_at_every_step_of_a_turn(
    host: Host, directory: Path, memory: Memory, reason: EndReason, monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    """Nothing acknowledged is lost, nothing unknown is signed; with a page there is no gap at all."""
    signed = Signed(monkeypatch)
    counted = _story(host, directory / "counted", memory)
    steps = _turn(counted, reason, Faults())
    assert steps.count("publish") >= 2  # `sign`, and `end` with `epoch`
    assert steps.count("rename") == (2 if reason == "segment" else 0)
    counted.kill()
    # A kill behind a step is one before the next.
    for victim, mode in [case for case in some(steps, here) if case[1] != "done"]:
        story = _story(host, directory / f"{victim}-{mode}", memory)
        signed.asked.clear()
        with pytest.raises(Killed):
            _turn(story, reason, Faults(victim, mode))
        made = story.running.calls.made["issue"]
        story.kill()
        verdict = story.host.verify(story.logdir, story.clock.now)
        assert verdict.verdict in {"verified", "incomplete"}, (victim, mode, verdict.problems)
        check_state(story)
        story.start()
        check_state(story)
        story.commit(1)
        # What the killed process asked for is explained by the next epoch line.
        story.running.request_next_epoch("interval")
        story.pump()
        made += story.running.calls.made["issue"]
        check_state(story)
        story.commit(1)
        story.finish()
        check(story, gapless=memory.page is not None)
        check_state(story)
        if memory.page is not None:
            check_calls(story.logdir, made)
        found = roots(story.logdir)
        for message in signed.asked:
            checkpoint = parse_checkpoint(message.decode())
            assert checkpoint.root == found[checkpoint.size], (victim, mode)


def test_a_secret_does_not_outlive_its_process(host: Host, directory: Path, memory: Memory) -> None:
    """One that waits is not used by the next process: with a page the same epoch announces another one."""
    story = _story(host, directory / "log", memory)
    with pytest.raises(Killed):
        _turn(story, "interval", Faults(_first_note(host, directory, memory), "done"))
    story.kill()
    story.start()
    story.commit(1)
    story.running.request_next_epoch("interval")
    story.pump()
    story.finish()
    check(story, gapless=memory.page is not None)
    headers = [line.body for line in lines(story.logdir) if isinstance(line.body, Header)]
    assert len(headers) == (2 if memory.page is not None else 3)
    if memory.page is not None:
        assert [item.calls for item in headers[1].abandoned] == [1]


def test_a_longer_epoch_is_vouched_for_at_once(host: Host, directory: Path, memory: Memory) -> None:
    """Behind an epoch line that promises less than the one before stands a `sign` line, before any entry."""
    story = _story(host, directory / "log", memory)
    story.start()
    story.commit(1)
    story.finish()
    for factor in (2, 3):
        story.pace = Pace(interval=factor * Pace().interval)
        story.start()
        story.commit(1)
        story.finish()
    kinds = [line.payload.split(b" ")[0] for line in lines(story.logdir)]
    assert kinds == [b"epoch", b"block", b"end"] + 2 * [b"epoch", b"sign", b"block", b"end"]
    story.start()
    story.commit(1)
    if memory.page is None:
        story.finish()
    else:
        story.kill()
        story.pace = Pace(interval=4 * Pace().interval)
        story.start()
        story.running.request_next_epoch("interval")
        story.pump()
        story.commit(1)
        story.finish()
        kinds = [line.payload.split(b" ")[0] for line in lines(story.logdir)]
        assert kinds[-5:] == [b"end", b"epoch", b"sign", b"block", b"end"]
    check(story, gapless=memory != Memory(None, None))


def test_a_commit_that_is_late_is_recovered_behind_the_turn(host: Host, directory: Path) -> None:
    """The page vouches for it after days; its line states no time that its epoch does not allow."""
    with TemporaryDirectory(dir="/dev/shm") as made:  # keys are kept on no other file system
        story = Story(host, directory / "log", Path(made), state_dir=directory / "state")
        story.start()
        story.commit(1)
        with Faults(3).active() as faults, pytest.raises(Killed):
            story.commit(3)
        assert faults.trace == ["publish", "append", "sync", "publish"]
        story.kill()
        story.clock.elapsed += 3 * (Pace().interval + Pace().max_overdue)
        point = story.start()
        assert (point.link, sum(block.entries for block in point.pending)) == ("running", 3)
        assert story.running.counters.recovered_entries == 3
        story.acknowledged = list(story.sent)
        story.commit(2)
        story.finish()
        kinds = [line.payload.split(b" ")[0] for line in lines(story.logdir)]
        assert kinds == [b"epoch", b"block", b"sign", b"end", b"epoch", b"block", b"block", b"end"]
        check(story, gapless=True)
        assert read_log(story.logdir).recovered == 1


def test_a_late_commit_survives_a_stop_and_a_kill(host: Host, directory: Path) -> None:
    """While no next epoch can begin the page keeps it, whatever line is sealed and however it stops."""
    with TemporaryDirectory(dir="/dev/shm") as made:  # keys are kept on no other file system
        story = Story(host, directory / "log", Path(made), state_dir=directory / "state")
        story.start()
        story.commit(1)
        with Faults(3).active(), pytest.raises(Killed):
            story.commit(3)
        story.kill()
        story.clock.elapsed += 2 * (Pace().interval + Pace().max_overdue)
        # Killed behind the announcement; then stopped before anything is asked for.
        with Faults(5, "done").active() as faults, pytest.raises(Killed):
            story.start()
        assert faults.trace.count("append") == 1
        story.kill()
        sealer = story.opened()
        assert sealer.start(story.state_dir).link == "running"
        sealer.close_log()
        sealer.release()
        story.start()
        story.acknowledged = list(story.sent)
        story.finish()
        check(story, gapless=True)
        assert read_log(story.logdir).recovered == 1


def _story(host: Host, logdir: Path, memory: Memory) -> Story:
    state = memory.state / logdir.name if memory.state is not None else None
    return Story(host, logdir, memory.page, state_dir=state)


def _first_note(host: Host, directory: Path, memory: Memory) -> int:
    """The step of a turn that makes the note over the announcement durable."""
    story = _story(host, directory / "counted", memory)
    steps = _turn(story, "interval", Faults())
    story.kill()
    return steps.index("replace") - 1


def _turn(story: Story, reason: EndReason, faults: Faults) -> list[str]:
    """Start, seal two entries, then turn and seal one more while `faults` are active; their steps."""
    story.start()
    story.commit(2)
    with faults.active():
        story.running.request_next_epoch(reason)
        story.pump()
        story.commit(1)
    return faults.trace
