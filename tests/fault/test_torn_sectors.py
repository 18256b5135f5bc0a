"""A power cut in the middle of a write: of what was not synced, any sectors may be zero, or none be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import pytest

from epochseal.storage.durable import AppendFile
from tests.fault.samples import FULL
from tests.fault.story import Host, Story, check, go_on, read_log
from tests.fault.test_sealer_faults import Killed

SECTOR = 512


class PowerCut:
    """Ends the process before one sync, counted from 0, and remembers which bytes were at stake.

    Attributes:
        syncs: how many there were.
        path: the file.
        start: where the bytes begin that are not on the disk.
    """

    def __init__(self, victim: int) -> None:
        self._victim, self.syncs = victim, 0
        self.path, self.start = Path(), 0
        self._synced: dict[int, int] = {}

    def run(self, logdir: Path, act: Callable[[], object]) -> bool:
        """Do something; whether the power was cut in it."""
        with pytest.MonkeyPatch.context() as patch:
            real_open, real_sync = AppendFile.open, AppendFile.sync
            sizes = {path: path.stat().st_size for path in logdir.rglob("*.*")}

            def opened(path: Path, *, create: bool) -> AppendFile:
                file = real_open(path, create=create)
                self._synced[id(file)] = file.length
                return file

            def sync(file: AppendFile) -> None:
                if self.syncs == self._victim:
                    self.path = file.path
                    self.start = self._synced.get(id(file), sizes.get(file.path, 0))
                    raise Killed
                self.syncs += 1
                real_sync(file)
                self._synced[id(file)] = file.length

            patch.setattr(AppendFile, "open", opened)
            patch.setattr(AppendFile, "sync", sync)
            try:
                act()
            except Killed:
                return True
        return False

    def leftovers(self) -> Iterator[bytes]:
        """What the disk may hold of the bytes at stake."""
        data = self.path.read_bytes()[self.start :]
        yield b""
        first = SECTOR - self.start % SECTOR
        cuts = [0, *range(first, len(data), SECTOR), len(data)]
        parts = [data[begin:stop] for begin, stop in pairwise(cuts)]
        # Every way to lose the first ones, and all that is behind them or nothing of it.
        holes = min(4 if FULL else 1, len(parts))
        for lost in product((True, False), repeat=holes):
            for rest in {True, False} if len(parts) > holes else {False}:
                kept = [*lost, *[rest] * (len(parts) - holes)]
                yield b"".join(
                    bytes(len(part)) if gone else part for gone, part in zip(kept, parts, strict=True)
                )


def make(host: Host, folder: Path) -> Story:
    """A log that is remembered by a state alone."""
    return Story(host, folder / "log", None, state_dir=folder / "state")


def begin(story: Story) -> None:
    """A start, and a commit."""
    story.start()
    story.commit(1)


def turns(story: Story) -> None:
    """Commits, a turn in the same files, one into new files."""
    story.commit(1, 30)
    story.running.request_next_epoch("interval")
    story.pump()
    story.running.request_next_epoch("segment")
    story.pump()
    story.commit(1)


def close_and_go_on(story: Story) -> None:
    """A close, and a start behind it with a commit."""
    story.finish()
    story.start()
    story.commit(1)


def cut(host: Host, folder: Path, before: Callable[[Story], object], act: Callable[[Story], object]) -> int:
    """Cut the power at each sync of a story (or each second one) and leave every part; how many there are."""
    victim = 0
    while True:
        left = 0
        while True:
            story = make(host, folder / f"{victim}-{left}")
            before(story)
            power = PowerCut(victim)
            if not power.run(story.logdir, partial(act, story)):
                story.kill()
                return victim
            story.kill()
            content = power.path.read_bytes()[: power.start]
            parts = list(power.leftovers())
            power.path.write_bytes(content + parts[left])
            judge(story, content + parts[left])
            left += 1
            if left == len(parts):
                break
        victim += 1 if FULL else 2


def judge(story: Story, content: bytes) -> None:
    """Nothing acknowledged is lost, nobody is accused, and what is not ours to judge is kept."""
    verdict = story.host.verify(story.logdir, story.clock.now)
    assert verdict.verdict != "tampered", [str(problem) for problem in verdict.problems]
    carried = bool(list((story.logdir.parent / "state").glob("*/carry")))
    carried = carried and not content.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b"block ")
    go_on(story)
    check(story, gapless=False)
    # Behind a close that is remembered no power cut makes a cold start, before a line is whole again.
    assert not carried or "cold" not in read_log(story.logdir).links
    torn = b"".join(path.read_bytes() for path in sorted((story.logdir / "segments").glob("*.torn")))
    aside = b"".join(path.read_bytes() for path in sorted((story.logdir / "segments").glob("*.unsealed")))
    # What was set aside is what the power cut left, byte for byte.
    assert torn in content
    assert aside in content + b"".join(story.sent)


def test_commits_and_turns(host: Host, directory: Path) -> None:
    """In any write of a commit, of a turn in the same files and of one into new ones."""
    assert cut(host, directory, begin, turns) >= 9


def test_the_first_start(host: Host, directory: Path) -> None:
    """In any write up to the first entry."""
    assert cut(host, directory, lambda _: None, begin) >= 2


def test_a_close_and_the_start_behind_it(host: Host, directory: Path) -> None:
    """In any write from the closing line to the first commit behind it."""
    assert cut(host, directory, begin, close_and_go_on) >= 5
