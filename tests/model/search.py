"""Searches all states within bounds: `python -m tests.model.search [LINES STARTS STOPS CHANGES]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from epochseal.sealing.decide_start import Decision
from tests.model.log_lines import Lines, log_id, run_of
from tests.model.world import Bounds, World, steps

LARGE = (Bounds(5, 3, 2, 0), Bounds(4, 2, 1, 1), Bounds(2, 3, 2, 1), Bounds(2, 2, 1, 2))


class BrokenError(Exception):
    """A state that must not be; the steps that lead to it."""


@dataclass(slots=True)
class Count:
    """What a search saw: states, steps, signatures, and how starts went on."""

    states: int = 0
    steps: int = 0
    signatures: int = 0
    starts: dict[str, int] = field(default_factory=dict)


def search(bounds: Bounds, *, kept: bool) -> Count:
    """Look at each state that can be reached.

    Args:
        bounds: how far.
        kept: whether the page outlives its process.

    Raises:
        BrokenError: something that is promised does not hold in one of them.
    """
    first = World(kept)
    count, came, ahead = Count(), {first: ("", first)}, [first]
    while ahead:
        before, ahead = ahead, []
        for world in before:
            count.states += 1
            for name, after in steps(world, bounds):
                count.steps += 1
                _count(count, name, after)
                for promise in _broken(name, world, after):
                    raise BrokenError("\n".join([promise, *_way(came, world), name, str(after)]))
                if after not in came:
                    came[after] = (name, world)
                    ahead.append(after)
    return count


def _count(count: Count, name: str, world: World) -> None:
    count.signatures += name == "sign"
    if name == "start" and world.decision is not None:
        made = world.decision
        how = made.link + (", denies" if made.denied else "") + (", damaged" if made.damaged else "")
        count.starts[how] = count.starts.get(how, 0) + 1


def _way(came: dict[World, tuple[str, World]], world: World) -> list[str]:
    names: list[str] = []
    while (step := came[world])[0]:
        names.append(step[0])
        world = step[1]
    return names[::-1]


def _broken(name: str, before: World, world: World) -> Iterator[str]:
    """What is promised of a step, and does not hold behind it."""
    if name == "sign" and world.agent is not None:
        yield from _of_signature(world.agent, before)
    if name == "start":
        yield from _of_start(before, world)
    if not world.changes and world.disk[: len(world.acknowledged)] != world.acknowledged:
        yield "an acknowledged entry is lost, though nobody touched the disk"


def _of_signature(lines: Lines, world: World) -> Iterator[str]:
    for vouched in _of_run(lines):
        if vouched not in world.written:
            yield f"a signature vouches for line {len(vouched) - 1}, which no agent wrote there"
    for other in world.signed:
        shorter, longer = sorted((lines, other), key=len)
        if longer[: len(shorter)] == shorter:
            continue
        if shorter[run_of(shorter)] == longer[run_of(longer)]:
            yield "one run was signed in two ways"
        elif len(shorter) == len(longer) and log_id(shorter) == log_id(longer) and not _denied(lines, other):
            yield "one size was signed with two roots, and neither log says so"


def _of_run(lines: Lines) -> Iterator[Lines]:
    """Each line of the last run, with all before it."""
    return (lines[:size] for size in range(run_of(lines) + 1, len(lines) + 1))


def _denied(*logs: Lines) -> bool:
    return any(line.denies for lines in logs for line in lines)


def _of_start(before: World, world: World) -> Iterator[str]:
    made, agent = world.decision, world.agent or ()
    if made is None:
        return
    if made.link in {"running", "carry"}:
        if agent[: len(world.acknowledged)] != world.acknowledged:
            yield "it goes on without an entry that was acknowledged"
        if not agent or any(lines not in world.written for lines in _of_run(agent)):
            yield "it goes on in a run that has lines of somebody else"
    elif not made.denied and not made.damaged and before.state is not None:
        begun = made.link == "genesis" and len(before.state) == 1
        if not begun and agent[: len(before.state)] != before.state:
            yield "it contradicts what is remembered, and does not say so"
    if not world.changes:
        if agent[: len(world.acknowledged)] != world.acknowledged:
            yield "it gives up an entry that was acknowledged, though nobody touched the disk"
        yield from _of_honest_start(before, made)


def _of_honest_start(before: World, made: Decision) -> Iterator[str]:
    if made.denied or made.damaged or made.page == "refused":
        yield "it says that an honest disk was changed"
    if before.page is not None and made.link not in {"running", "carry"}:
        yield "it does not go on, though the page is there"
    closed = before.carry is not None and before.carry == before.state == _without_begun(before.disk)
    if closed and made.link not in {"running", "carry"}:
        yield "it does not go on, though the log was closed"


def _without_begun(disk: Lines) -> Lines:
    while disk and disk[-1].link == "carry":
        disk = disk[:-1]
    return disk


def main() -> None:
    """Search, with the page in a file and without: within these bounds, or within all that take minutes."""
    given = [Bounds(*map(int, sys.argv[1:]))] if sys.argv[1:] else LARGE
    for bounds in given:
        for kept in (True, False):
            print(f"page in a file: {kept}; {bounds}: {search(bounds, kept=kept)}", flush=True)  # noqa: T201  # a program


if __name__ == "__main__":
    main()
