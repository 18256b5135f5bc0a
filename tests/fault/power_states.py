"""Power cuts at random: of what was not synced any sectors are left, and a start goes on with it.

`python -m tests.fault.power_states 2000 [FIRST]` makes so many states and prints what became of them; a
smaller sample is a test (test_power_states.py). A state is a number: the same one is made again by it.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from epochseal.errors import EpochsealError
from tests.fault.story import Host, Story, check, running_host
from tests.fault.test_torn_sectors import SECTOR, PowerCut

_SYNCS = 14


class State(NamedTuple):
    """What a power cut came to.

    Attributes:
        before: the verdict on what it left.
        link: how the next start went on.
        acknowledged: entries that had been acknowledged.
        promised: the number that the start itself acknowledged; None if it acknowledged none.
        after: the verdict when that start had sealed one more entry and closed the log.
        middle: some line or sector was lost before one that was not.
    """

    before: str
    link: str
    acknowledged: int
    promised: int | None
    after: str
    middle: bool


def make_state(host: Host, folder: Path, number: int) -> State:
    """Make one power cut and the start behind it.

    Raises:
        AssertionError: somebody is accused, or what was acknowledged is not there, or more is acknowledged
            than is there.
    """
    chance = random.Random(number)  # a test that can be done again
    state_dir = folder / "state" if chance.random() < 0.75 else None  # most agents have one
    story = Story(host, folder / "log", None, state_dir=state_dir)
    power = PowerCut(chance.randrange(_SYNCS))
    power.run(story.logdir, lambda: _live(story, chance))
    story.kill()
    middle = power.path != Path() and _tear(power, chance)
    seen = host.verify(story.logdir, story.clock.now)
    assert seen.verdict != "tampered", [str(problem) for problem in seen.problems]
    assert seen.entries >= len(story.acknowledged)
    done = len(story.acknowledged)

    point = story.start()
    entries = story.running.entries
    promised = None if point.link == "cold" else entries
    assert entries >= done, f"{done} were acknowledged, the start counts {entries}"
    story.commit(1)
    acknowledged = story.running.entries
    story.finish()
    check(story, gapless=False)
    after = host.verify(story.logdir, story.clock.now)
    assert acknowledged <= after.entries
    return State(seen.verdict, point.link, done, promised, after.verdict, middle)


def _live(story: Story, chance: random.Random) -> None:
    """What an agent does, up to the power cut."""
    story.start()
    for _ in range(_SYNCS):
        # Many small blocks: several lines in one write, which lie in several sectors.
        story.commit(*(chance.choice((1, 2, 30)) for _ in range(chance.randrange(1, 17))))
        act = chance.random()
        if act < 0.2:  # a turn in the same files, into new ones, or a close and a start
            story.running.request_next_epoch("interval")
            story.pump()
        elif act < 0.35:
            story.running.request_next_epoch("segment")
            story.pump()
        elif act < 0.5:
            story.finish()
            story.start()


def _tear(power: PowerCut, chance: random.Random) -> bool:
    """Leave any of the sectors that were not synced; whether one was lost before one that was not."""
    content = power.path.read_bytes()
    kept, data = content[: power.start], content[power.start :]
    cuts = [0, *range(SECTOR - power.start % SECTOR, len(data), SECTOR), len(data)]
    parts = [data[begin:stop] for begin, stop in pairwise(cuts)]
    share = chance.choice((0.2, 0.5, 0.8))
    written = [chance.random() < share for _ in parts]
    length = len(data) if chance.random() < 0.7 else chance.randrange(len(data) + 1)
    left = b"".join(part if there else bytes(len(part)) for part, there in zip(parts, written, strict=True))
    power.path.write_bytes(kept + left[:length])
    return any(not one and other for one, other in pairwise(written))


def main(count: int, first: int) -> None:
    """Make `count` states and print what became of them."""
    found: Counter[tuple[str, str, str]] = Counter()
    failed, middle, promised = 0, 0, 0
    with TemporaryDirectory(dir="/dev/shm") as made:  # a sync costs nothing there
        base = Path(made)
        with running_host(base) as host:
            for number in range(first, first + count):
                folder = base / str(number)
                try:
                    state = make_state(host, folder, number)
                except (AssertionError, EpochsealError) as exc:
                    failed += 1
                    print(f"state {number}: {str(exc)[:300]}")  # noqa: T201  # it is a program
                else:
                    found[state.before, state.link, state.after] += 1
                    middle += state.middle
                    promised += state.promised is not None
                shutil.rmtree(folder, ignore_errors=True)
    for (before, link, after), times in sorted(found.items()):
        print(f"{times:6d}  {before:10s} -> {link:8s} -> {after}")  # noqa: T201
    print(f"{count} states, {middle} torn in the middle, {promised} starts acknowledged, {failed} failed")  # noqa: T201
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
