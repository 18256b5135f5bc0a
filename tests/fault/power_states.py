"""Power cuts at random: of what was not synced any sectors and names are left, and a start goes on with it.

The log's directory and the state directory lose what they lose together, or each by itself, as on one disk
or on two.

`python -m tests.fault.power_states 2000 [FIRST]` makes so many states and prints what became of them; a
smaller sample is a test (test_power_states.py). A state is a number: the same one is made again by it.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from epochseal.errors import EpochsealError
from tests.fault.lost_disk import LostDisk
from tests.fault.story import Host, Story, check, running_host

_COMMITS, _SYNCS = 14, 70


class State(NamedTuple):
    """What a power cut came to.

    Attributes:
        before: the verdict on what it left.
        link: how the next start went on.
        acknowledged: entries that had been acknowledged.
        promised: the number that the start itself acknowledged; None if it acknowledged none.
        after: the verdict when that start had sealed one more entry and closed the log.
        torn: sectors that were written and lost.
        lost: changes of names that were made and lost.
    """

    before: str
    link: str
    acknowledged: int
    promised: int | None
    after: str
    torn: int
    lost: int


def make_state(host: Host, folder: Path, number: int) -> State:
    """Make one power cut and the start behind it.

    Raises:
        AssertionError: somebody is accused, or what was acknowledged is not there, or more is acknowledged
            than is there.
    """
    chance = random.Random(number)  # a test that can be done again
    state_dir = folder / "state" if chance.random() < 0.75 else None  # most agents have one
    story = Story(host, folder / "log", None, state_dir=state_dir)
    disks = [story.logdir] if state_dir is None else [story.logdir, state_dir]
    power = LostDisk(disks, chance.randrange(_SYNCS))
    power.run(lambda: _live(story, chance))
    story.kill()
    power.leave(chance)
    seen = host.verify(story.logdir, story.clock.now)
    assert seen.verdict != "tampered", [str(problem) for problem in seen.problems]
    assert seen.entries >= len(story.acknowledged)
    done = len(story.acknowledged)

    point = story.start()
    entries = story.running.entries
    promised = None if point.link == "cold" else entries
    assert entries >= done, f"{done} were acknowledged, the start counts {entries}"
    # What a page vouches for is gone with the power: a start acknowledges what it has found, and no more.
    assert promised is None or promised <= seen.entries
    story.commit(1)
    acknowledged = story.running.entries
    story.finish()
    check(story, gapless=False)
    after = host.verify(story.logdir, story.clock.now)
    assert acknowledged <= after.entries
    return State(seen.verdict, point.link, done, promised, after.verdict, power.torn, power.lost)


def _live(story: Story, chance: random.Random) -> None:
    """What an agent does, up to the power cut."""
    story.start()
    for _ in range(_COMMITS):
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


def main(count: int, first: int) -> None:
    """Make `count` states and print what became of them."""
    found: Counter[tuple[str, str, str]] = Counter()
    failed, torn, lost, promised = 0, 0, 0, 0
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
                    torn += state.torn > 0
                    lost += state.lost > 0
                    promised += state.promised is not None
                shutil.rmtree(folder, ignore_errors=True)
    for (before, link, after), times in sorted(found.items()):
        print(f"{times:6d}  {before:10s} -> {link:8s} -> {after}")  # noqa: T201
    print(  # noqa: T201
        f"{count} states, {torn} with sectors lost, {lost} with names lost, "
        f"{promised} starts acknowledged, {failed} failed"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
