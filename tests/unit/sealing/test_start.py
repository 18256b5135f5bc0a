"""How a start goes on, for everything that it can find: row by row, and by what must never be."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import pytest

from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import Asked, Header, Tree
from epochseal.sealing.carry_file import CarriedClose
from epochseal.sealing.decide_start import Decision, Seen, decide, page_is_stale
from epochseal.sealing.saved_state import SavedState
from epochseal.sealing.start_without_page import Found, Known
from epochseal.storage.chain_end import ChainEnd, Close
from epochseal.storage.segments import Segment
from tests.model.page_record import page_of

OURS, OTHER = bytes(32), b"\x01" * 32
SIZE = 10
"""Where the log on the disk ends, in most cases."""


def tree(size: int, name: str = "") -> Frontier:
    """A tree of this size; another name makes other leaves."""
    made = Frontier()
    made.extend(leaf_hash(b"%d %b" % (number, name.encode())) for number in range(size))
    return made


def known(size: int, *, log: bytes = OURS, name: str = "") -> Known:
    """A memory."""
    return Known(log, size, tree(size, name).root())


def saved(size: int = SIZE, *, log: bytes = OURS, closed: bool = False, refused: str = "") -> SavedState:
    """A page."""
    return page_of(size, tree(size).root(), log, closed=closed, refused=refused)


SEGMENT = Segment(1, "s", (Path("s.log"),), Path("s.seal"), None)
HEADER = Header(
    epoch=0,
    origin="o",
    log="",
    segment=1,
    link="genesis",
    key="k",
    wrapped="",
    carry="",
    asked=Asked(0, ""),
    prev="",
    tree=Tree(0, []),
    first_entry=0,
    heartbeat=0,
    interval=0,
    max_overdue=0,
    retention=0,
    abandoned=[],
    time=0,
)
Disk = Literal["empty", "begun", "remains", "open", "closed", "bare", "torn", "another", "changed", "behind"]


def found(end: ChainEnd | None, *segments: Segment, begun_only: bool = False) -> Found:
    """What lies there, nothing beside it."""
    return Found(end, segments, (), (), begun_only=begun_only, unsealed=0, checkpoint=b"", checkpoint_size=0)


def disk(kind: Disk, size: int = SIZE) -> Found:
    """What lies there; `behind` is two lines short of the rest."""
    if kind in {"empty", "begun", "remains"}:
        there = (SEGMENT,) if kind == "remains" else ()
        return found(None, *there, begun_only=kind == "begun")
    size -= 2 * (kind == "behind")
    name = "changed" if kind == "changed" else ""
    end = ChainEnd(
        segment=SEGMENT,
        header=HEADER,
        header_segment=SEGMENT,
        header_offset=0,
        header_index=0,
        log=OTHER if kind == "another" else OURS,
        tree=tree(size, name),
        last_tag=bytes(32),
        entries=0,
        interval=0,
        max_overdue=0,
        tear=5 if kind == "torn" else 0,
        bare=kind == "bare",
        roots={number: tree(number, name).root() for number in range(1, size + 1)},
    )
    if kind in {"closed", "torn"}:
        end.close = Close(size, tree(size).root(), 0)
    elif kind == "bare":
        end.close = Close(size - 1, tree(size - 1).root(), 0)
    return found(end, SEGMENT)


def seen(
    there: Found | None,
    state: Known | None = None,
    page: SavedState | None = None,
    *,
    misfit: str = "",
    carry: CarriedClose | None = None,
    kept: bool = True,
) -> Seen:
    """What a start looks at."""
    return Seen(page, misfit, kept, state, carry, there)


def carry_of(size: int, log: bytes = OURS) -> CarriedClose:
    """The carry of the close that a tree of this size ends with."""
    return CarriedClose(log, size, tree(size).root())


def short(decision: Decision) -> tuple[str, str, Known | None]:
    """The three that matter most."""
    return decision.link, decision.memory, decision.denied


# --- with a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, known(4), known(SIZE)])
def test_a_page_that_fits_is_used(state: Known | None) -> None:
    """The running epoch goes on, or the carry of a close; an older state says nothing more."""
    memory = "missing" if state is None else "agrees"
    assert short(decide(seen(None, state, saved()))) == ("running", memory, None)
    assert short(decide(seen(None, state, saved(closed=True)))) == ("carry", memory, None)
    assert decide(seen(None, state, saved())).page == "used"
    assert decide(seen(None, None, saved(), kept=False)).memory == "none"


@pytest.mark.parametrize("kind", ["open", "closed", "behind", "changed"])
def test_a_page_that_does_not_fit_is_denied_by_the_disk(kind: Disk) -> None:
    """The next epoch line says what the page knows; without a chain another log begins, and says it."""
    for state in (None, known(4)):
        decision = decide(seen(disk(kind), state, saved(), misfit="why"))
        assert short(decision) == ("cold", "contradicts", known(SIZE))
        assert (decision.page, decision.why) == ("refused", "why")
    assert decide(seen(disk("empty"), None, saved(), misfit="why")).link == "genesis"


def test_a_page_that_was_refused_stays_refused() -> None:
    """Whatever the disk looks like by the next start."""
    decision = decide(seen(disk("closed"), known(4), saved(refused="before")))
    assert (short(decision), decision.why) == (("cold", "contradicts", known(SIZE)), "before")


@pytest.mark.parametrize("state", [known(4, log=OTHER), known(SIZE, name="changed"), known(99, log=OTHER)])
def test_a_state_that_contradicts_the_page_is_the_one_that_counts(state: Known) -> None:
    """Of another log, or of another tree of the same size, even where page and disk fit."""
    assert short(decide(seen(disk("open"), state, saved()))) == ("cold", "contradicts", state)


def test_an_older_page_convicts_nobody() -> None:
    """The log went on without it, as the state says: the state alone is held against the disk."""
    assert page_is_stale(saved(4), known(SIZE))
    assert not page_is_stale(saved(SIZE), known(SIZE))
    assert not page_is_stale(saved(4), known(SIZE, log=OTHER))
    decision = decide(seen(disk("closed"), known(SIZE), saved(4), misfit="ahead", carry=carry_of(SIZE)))
    assert (short(decision), decision.page) == (("carry", "agrees", None), "stale")


# --- without a page ----------------------------------------------------------------------------------------


def test_nothing_at_all_is_a_new_log() -> None:
    """No memory and no files; or a first line that nobody has seen, remembered or not."""
    for kept in (True, False):
        decision = decide(seen(disk("empty"), kept=kept))
        assert short(decision) == ("genesis", "missing" if kept else "none", None)
        assert not decision.damaged
    assert short(decide(seen(disk("begun")))) == ("genesis", "missing", None)
    assert short(decide(seen(disk("begun"), known(1)))) == ("genesis", "agrees", None)


def test_remains_without_a_memory_are_no_log() -> None:
    """There is something, and nobody knows what it was: a person looks at it first."""
    assert decide(seen(disk("remains"))).damaged
    assert not decide(seen(disk("remains"), known(4))).damaged


@pytest.mark.parametrize("kind", ["open", "closed", "bare", "torn"])
def test_a_log_that_nothing_is_remembered_of(kind: Disk) -> None:
    """It goes on, cold, whatever carry lies about."""
    decision = decide(seen(disk(kind), carry=carry_of(SIZE)))
    assert short(decision) == ("cold", "missing", None)
    assert decision.closed is (kind in {"closed", "bare"})


def test_a_checkpoint_over_more_lines_than_there_are() -> None:
    """Without a memory it is the only trace of what is gone: it is held against our key, and denied."""
    whole = disk("closed")
    ahead = replace(whole, checkpoint=b"note", checkpoint_size=SIZE + 1)
    assert decide(seen(ahead)).ahead
    assert not decide(seen(whole)).ahead
    assert not decide(seen(ahead, known(SIZE))).ahead


@pytest.mark.parametrize("kind", ["empty", "remains", "another", "behind", "changed"])
def test_a_state_that_the_disk_does_not_bear_out(kind: Disk) -> None:
    """Gone, another log, an older copy, or changed: denied, and no carry is used."""
    decision = decide(seen(disk(kind), known(SIZE), carry=carry_of(SIZE)))
    link = "genesis" if kind in {"empty", "remains"} else "cold"
    assert short(decision) == (link, "contradicts", known(SIZE))
    assert decision.why


def test_the_carry_goes_on_behind_a_close_and_behind_bare_epochs() -> None:
    """Only if it is of this very close, and nothing stands behind it that is not remembered."""
    assert decide(seen(disk("closed"), known(SIZE), carry=carry_of(SIZE))).link == "carry"
    assert decide(seen(disk("bare"), known(SIZE), carry=carry_of(SIZE - 1))).link == "carry"
    for kind, carry in product(
        ("closed", "bare"), (None, carry_of(SIZE - 2), carry_of(SIZE, OTHER), carry_of(5))
    ):
        decision = decide(seen(disk("bare" if kind == "bare" else "closed"), known(SIZE), carry=carry))
        assert (short(decision), decision.closed) == (("cold", "agrees", None), True)


@pytest.mark.parametrize("kind", ["closed", "bare", "open"])
def test_lines_that_are_not_remembered_are_not_gone_on_with(kind: Disk) -> None:
    """They may be ours, of a kill, or a thief's: the start is a cold one."""
    decision = decide(seen(disk(kind), known(SIZE - 3), carry=carry_of(SIZE)))
    assert (short(decision), decision.closed) == (("cold", "agrees", None), False)


def test_bytes_behind_a_close_are_not_gone_on_with() -> None:
    """A closed log does not grow; behind a bare epoch a power cut may have left the beginning of a line."""
    assert decide(seen(disk("torn"), known(SIZE), carry=carry_of(SIZE))).link == "cold"
    bare = disk("bare")
    assert bare.end is not None
    bare.end.tear = 5
    assert decide(seen(bare, known(SIZE), carry=carry_of(SIZE - 1))).link == "carry"


# --- what must never be -------------------------------------------------------------------------------------

PAGES = (None, saved(4), saved(SIZE), saved(SIZE, closed=True), saved(SIZE + 5), saved(SIZE, log=OTHER))
STATES = (None, known(4), known(SIZE), known(SIZE + 2), known(SIZE, name="changed"), known(SIZE, log=OTHER))
DISKS: tuple[Disk, ...] = get_args(Disk)
CARRIES = (None, carry_of(SIZE), carry_of(SIZE - 1), carry_of(SIZE, OTHER))


def test_whatever_is_found() -> None:
    """Over every page, state, disk and carry."""
    for page, state, kind, carry, misfit in product(PAGES, STATES, DISKS, CARRIES, ("", "why")):
        there = disk(kind)
        decision = decide(seen(there, state, page, misfit=misfit, carry=carry))
        assert_never(decision, there, state, page, carry, misfit)


def assert_never(
    decision: Decision,
    there: Found,
    state: Known | None,
    page: SavedState | None,
    carry: CarriedClose | None,
    misfit: str,
) -> None:
    """The rules that hold whatever was found."""
    stale = page is not None and page_is_stale(page, state)
    # Who denies goes on with no chain.
    if decision.denied is not None:
        assert decision.link in {"cold", "genesis"}
        assert decision.memory == "contradicts"
        assert decision.why
    # A chain goes on only by a page that fits and is not the older memory, or a carry of this very close.
    if decision.link == "running":
        assert page is not None
        assert not any((stale, misfit, page.refused, page.closed))
    if decision.link == "carry" and decision.page != "used":
        assert there.end is not None
        assert there.end.close is not None
        assert state is not None
        assert carry is not None
        assert (state.log, state.size, state.root) == (
            there.end.log,
            there.end.tree.size,
            there.end.tree.root(),
        )
        assert (carry.log, carry.size, carry.root) == (
            there.end.log,
            there.end.close.size,
            there.end.close.root,
        )
    if decision.page == "used":
        assert not stale
        assert state is None or (state.log == OURS or page is None or state.log == page.log)
    # Nobody is convicted whose memories bear the disk out.
    fits = page is None or stale or not (misfit or page.refused)
    agrees = state is None or (
        there.end is not None and there.end.log == state.log and there.end.roots.get(state.size) == state.root
    )
    together = page is None or state is None or stale or state.log == page.log
    together = together and (
        page is None or state is None or state.size != page.size or state.root == page.root
    )
    if fits and agrees and together:
        assert decision.denied is None
    # An older memory than the newest one is denied by nobody.
    if decision.denied is not None and page is not None and state is not None and page.log == state.log:
        assert decision.denied.size == max(page.size, state.size)
