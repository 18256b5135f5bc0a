"""A log, its agent and somebody who may write to the disk, step by step: what can happen in each state.

A step is what is durable at once: after each of them the agent may be killed, which leaves the page, or the
machine may lose its power, which takes it. What decides how a start goes on is the real code
(decide_start.py); the rest mirrors line_writer.py, mend_disk.py and epoch_turns.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from epochseal.sealing.carry_file import CarriedClose
from epochseal.sealing.decide_start import Decision, Seen, decide, page_is_stale, state_contradicts
from epochseal.sealing.saved_state import SavedState
from tests.model.log_lines import (
    Line,
    Lines,
    as_found,
    epoch_of,
    known,
    log_id,
    opens_segment,
    read_end,
    root,
    run_of,
    without_begun,
)
from tests.model.page_record import page_of


class Page(NamedTuple):
    """What the page says: all lines, of which the last `staged` may not be on the disk yet."""

    lines: Lines
    staged: int = 0
    refused: bool = False

    @property
    def closed(self) -> bool:
        """Whether it holds the carry of a close."""
        return self.lines[-1].kind == "close"


class Made(NamedTuple):
    """What of a line its maker chooses."""

    kind: str
    link: str = ""
    denies: bool = False
    log: int = 0


class World(NamedTuple):
    """A state.

    Attributes:
        disk: the lines in the log's directory.
        checkpoint: whether the file `checkpoint` is there.
        page: None without one.
        state: the lines that the state file knows of; None without one.
        carry: the lines up to the close whose carry is kept; None without one.
        agent: the lines that the running agent has; None where none runs.
        todo: the durable steps that it is about to do.
        head: the epoch line that a start is about to make.
        starts: how many there were.
        changes: how often somebody else has written to the disk.
        stops: kills and power cuts.
        acknowledged: all lines up to the last block that was acknowledged, and not told as missing since.
        signed: the lines under each signature that was given.
        written: each line that an agent made, with all before it.
        kept: whether a page outlives its process.
        decision: of the last start.
    """

    kept: bool
    disk: Lines = ()
    checkpoint: bool = False
    page: Page | None = None
    state: Lines | None = None
    carry: Lines | None = None
    agent: Lines | None = None
    todo: tuple[str, ...] = ()
    head: Made | None = None
    starts: int = 0
    changes: int = 0
    stops: int = 0
    acknowledged: Lines = ()
    signed: frozenset[Lines] = frozenset()
    written: frozenset[Lines] = frozenset()
    decision: Decision | None = None


class Bounds(NamedTuple):
    """How far a search goes: lines on a disk, starts, kills and power cuts, changes by somebody else."""

    lines: int = 6
    starts: int = 3
    stops: int = 2
    changes: int = 1


def steps(world: World, bounds: Bounds) -> Iterator[tuple[str, World]]:
    """All that can happen next, each with its name."""
    if world.changes < bounds.changes:
        yield from _changes(world)
    if world.agent is None:
        if world.starts < bounds.starts:
            yield "start", _start(world)
        if world.page is not None:
            yield "the machine starts anew", world._replace(page=None)
        return
    if world.stops < bounds.stops:
        yield from _stops(world)
    if world.todo:
        yield world.todo[0], _do(world._replace(todo=world.todo[1:]), world.todo[0])
    else:
        yield from _deeds(world, world.agent, full=len(world.agent) >= bounds.lines)


def _deeds(world: World, agent: Lines, *, full: bool) -> Iterator[tuple[str, World]]:
    """What an agent may begin that has nothing under way."""
    if not full:
        committed = _write(world, Made("block"))
        yield "commit", committed._replace(todo=("append", "no carry", "acknowledge"))
    if agent not in world.signed:
        yield "ask for a signature", world._replace(todo=("state", "sign", "note"))
    elif not full and agent[-1].kind != "epoch":
        turned = _write(world, Made("end"), Made("epoch", "carry"))
        yield "turn", turned._replace(todo=("append", "no carry", "state"))
    closed, remembered = _write(world, Made("close")), ("append", "no carry", "state", "keep carry")
    yield "close", closed._replace(todo=(*remembered, "end"))
    yield "close, and sign", closed._replace(todo=(*remembered, "sign", "note", "end"))


def _stops(world: World) -> Iterator[tuple[str, World]]:
    stopped = world._replace(agent=None, todo=(), head=None, stops=world.stops + 1)
    for torn in _torn(stopped, world):
        yield "kill", torn if world.kept else torn._replace(page=None)
        if world.kept:
            yield "power cut", torn._replace(page=None)


def _torn(stopped: World, world: World) -> Iterator[World]:
    """As it is at this moment; and where lines are being written, with some of them there."""
    yield stopped
    if world.todo[:1] == ("append",) and world.page is not None and world.agent is not None:
        first = len(world.agent) - world.page.staged
        for count in range(1, world.page.staged):
            if len(world.disk) == first:
                yield stopped._replace(disk=world.disk + world.agent[first : first + count])


def _write(world: World, *lines: Made) -> World:
    """Make lines: they are in the page together, and the keys that made them are gone."""
    agent, written = world.agent or (), set[Lines]()
    for made in lines:
        epoch = made.kind == "epoch"
        own = made.log or next((line.log for line in reversed(agent) if line.kind == "epoch"), 0)
        tree = (own, root(agent)) if epoch else (0, b"")
        agent = (*agent, Line(made.kind, len(agent), world.starts, made.link, *tree, made.denies))
        written.add(agent)
    return world._replace(agent=agent, page=Page(agent, len(lines)), written=world.written | written)


def _do(world: World, step: str) -> World:
    agent = world.agent or ()
    if step == "begin" and world.head is not None:
        # A start without carry says that what was acknowledged last may be missing.
        kept = world.acknowledged if world.head.link == "carry" else _common(world.acknowledged, agent)
        return _write(world._replace(head=None, acknowledged=kept), world.head)
    if step == "append":
        return _append(world, agent)
    done: dict[str, dict[str, Any]] = {
        "forget": {"state": None},
        # What is damaged stays as it is; the tree is the one that its epoch line states.
        "mend": {"disk": world.disk[: len(agent)], "checkpoint": world.checkpoint and bool(agent)},
        "acknowledge": {"acknowledged": agent},
        "state": {"state": agent},
        "sign": {"signed": world.signed | {agent}},
        "note": {"checkpoint": True},
        "no carry": {"carry": world.carry if agent and opens_segment(agent, len(agent) - 1) else None},
        "keep carry": {"carry": agent},
        # A page in memory is gone with its process.
        "end": {"agent": None, "page": world.page if world.kept else None},
    }
    return world._replace(**done[step])


def _common(one: Lines, other: Lines) -> Lines:
    size = 0
    while size < min(len(one), len(other)) and one[size] == other[size]:
        size += 1
    return one[:size]


def _append(world: World, agent: Lines) -> World:
    """Write the lines behind what is on the disk, which has to be as long as the agent's chain is."""
    staged = world.page.staged if world.page is not None else 0
    if len(world.disk) != len(agent) - staged:
        # Nothing is written, and the log fails loudly: as a crash.
        return world._replace(agent=None, todo=(), head=None, page=world.page if world.kept else None)
    return world._replace(disk=world.disk + agent[len(agent) - staged :])


def _changes(world: World) -> Iterator[tuple[str, World]]:
    """What somebody who has the disk and no key can do to it."""
    disk, changed = world.disk, world._replace(changes=world.changes + 1)
    for size in range(len(disk)):
        yield f"cut to {size}", changed._replace(disk=disk[:size])
        for kind in ("block", "garbage", "close"):
            other = disk[size]._replace(kind=kind, start=0, link="", log=0, tree=b"")
            yield (
                f"line {size} becomes {kind}",
                changed._replace(disk=(*disk[:size], other, *disk[size + 1 :])),
            )
    for kind in ("block", "garbage", "close"):
        yield f"append {kind}", changed._replace(disk=(*disk, Line(kind, len(disk), 0)))
    if disk:
        yield "delete all", changed._replace(disk=(), checkpoint=False)
        own = disk[-1]._replace(kind="epoch", at=len(disk), start=0, link="cold", log=1, tree=root(disk))
        yield "append epoch", changed._replace(disk=(*disk, own))
    for old in sorted(world.written):
        if old != disk:
            yield f"bring back {len(old)} lines", changed._replace(disk=old)


def _start(world: World) -> World:
    """A start up to its decision, and what it writes at once; the rest is to do."""
    world = world._replace(starts=world.starts + 1)
    page, state = world.page, known(world.state) if world.state is not None else None
    saved = _saved(page) if page is not None else None
    misfit = ""
    if page is not None and saved is not None and not saved.refused and not page_is_stale(saved, state):
        misfit = "" if _fits(page, world.disk) else "it does not fit"
        if not misfit and (state is None or not state_contradicts(saved, state)):
            seen = Seen(saved, "", kept=True, state=state, carry=None, found=None)
            return _go_on(world._replace(decision=decide(seen)), page)
    disk, begun = without_begun(world.disk, world.state, checkpoint=world.checkpoint)
    end = read_end(disk, len(world.state or ()) or max(map(len, world.signed), default=0))
    found = as_found(disk, end, world.state, begun=begun)
    carry = CarriedClose(log_id(world.carry), len(world.carry), root(world.carry)) if world.carry else None
    decision = decide(Seen(saved, misfit, kept=True, state=state, carry=carry, found=found))
    world = world._replace(decision=decision)
    if decision.damaged:
        return world
    if page is not None:
        world = world._replace(page=page._replace(refused=True) if decision.page == "refused" else None)
    mending = ("forget", "mend") if begun else ("mend",)
    return _begin(world, end.lines if end is not None else (), decision, mending)


def _begin(world: World, lines: Lines, decision: Decision, mending: tuple[str, ...] = ()) -> World:
    """Have the epoch line of a start written behind what lies there, once that is mended."""
    log = world.starts if decision.link == "genesis" else 0
    head = Made("epoch", decision.link, decision.denied is not None, log)
    signed = ("state", "sign", "note") if decision.link != "carry" else ()
    return world._replace(agent=lines, head=head, todo=(*mending, "begin", "append", *signed))


def _go_on(world: World, page: Page) -> World:
    """Go on where the page is: what it has and the disk has not is written."""
    disk = world.disk[: len(page.lines) - page.staged] + page.lines[len(page.lines) - page.staged :]
    resumed = world._replace(agent=page.lines, disk=disk)
    if page.closed:
        return _begin(resumed, page.lines, Decision("carry", "agrees"))._replace(decision=world.decision)
    head = page.lines[-1]
    if head.kind == "epoch" and head.link != "carry" and page.lines not in world.signed:
        return resumed._replace(todo=("state", "sign", "note"))
    return resumed._replace(todo=("state",))


def _fits(page: Page, disk: Lines) -> bool:
    """Whether the lines of the running epoch are those of the page; earlier ones are not read."""
    first, settled = epoch_of(page.lines), len(page.lines) - page.staged
    if not settled <= len(disk) <= len(page.lines):
        return False
    return disk[min(first, settled) :] == page.lines[min(first, settled) : len(disk)]


def _saved(page: Page) -> SavedState:
    lines = page.lines
    return page_of(
        len(lines),
        root(lines),
        log_id(lines),
        epoch_index=epoch_of(lines),
        run=run_of(lines),
        closed=page.closed,
        refused="refused" if page.refused else "",
    )
