"""How a start goes on, from what it found and what is remembered: no file is touched here.

Authority flows along the carry. A start goes on with a chain only if what lies there is exactly what the page
or the state say; what they do not know of is never signed as our own. Of two memories of one log the one with
the greater size is the newer one, and only that one is held against the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from epochseal.sealing.carry_file import CarriedClose
from epochseal.sealing.restart_point import GoingOn
from epochseal.sealing.saved_state import SavedState
from epochseal.sealing.start_without_page import Found, Known
from epochseal.storage.chain_end import ChainEnd


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a start looks at.

    Attributes:
        saved: what the page holds; None without a page.
        misfit: why the disk is not what the page says; empty if it is.
        kept: whether a state is kept at all.
        state: what it says; None if it is missing.
        carry: what the carry file belongs to; None without a whole one.
        found: the disk; None where it was not read, since the page fits.
    """

    saved: SavedState | None
    misfit: str
    kept: bool
    state: Known | None
    carry: CarriedClose | None
    found: Found | None


@dataclass(frozen=True, slots=True)
class Decision:
    """How the log goes on.

    Attributes:
        link: as in `RestartPoint`.
        memory: as there.
        page: what becomes of the page.
        denied: what the next epoch line denies.
        why: what contradicts the disk, for a person.
        closed: the last thing before a cold start was a clean close.
        ahead: the file `checkpoint` is over more lines than there are, and no memory says more.
        damaged: there is something, but neither a chain nor a memory: no start.
    """

    link: GoingOn
    memory: Literal["none", "missing", "agrees", "contradicts"]
    page: Literal["none", "used", "stale", "refused"] = "none"
    denied: Known | None = None
    why: str = ""
    closed: bool = False
    ahead: bool = False
    damaged: bool = False


def page_is_stale(saved: SavedState, state: Known | None) -> bool:
    """Whether the log went on without this page, as the state says."""
    return state is not None and state.log == saved.log and state.size > saved.size


def state_contradicts(saved: SavedState, state: Known) -> bool:
    """Whether page and state are of two logs, or of two trees of one size."""
    return state.log != saved.log or (state.size == saved.size and state.root != saved.root)


def decide(seen: Seen) -> Decision:
    """Apply the rules in their order: the page, unless it is stale; then the state; then what is there."""
    saved, state = seen.saved, seen.state
    if saved is None or page_is_stale(saved, state):
        return _decide_without_page(seen, "none" if saved is None else "stale")
    if saved.refused or seen.misfit:
        page = Known(saved.log, saved.size, saved.root)
        return _convict(seen, page, saved.refused or seen.misfit, "refused")
    if state is not None and state_contradicts(saved, state):
        # Page and disk fit, so it is the other memory that they do not bear out.
        return _convict(seen, state, "what is remembered is of another log than the page", "refused")
    memory: Literal["none", "missing", "agrees"] = (
        "none" if not seen.kept else "agrees" if state else "missing"
    )
    return Decision("carry" if saved.closed else "running", memory, "used")


_Page = Literal["none", "used", "stale", "refused"]


def _decide_without_page(seen: Seen, page: _Page) -> Decision:
    state, found = seen.state, seen.found
    end = found.end if found is not None else None
    if state is None or found is None:
        return _decide_without_memory(seen, page)
    if end is None and found.begun_only:
        return Decision("genesis", "agrees", page)
    if end is None or (why := _contradiction(end, state)):
        return _convict(
            seen, state, why if end is not None else "the log that is remembered is not there", page
        )
    # Behind a bare epoch a power cut may have left the beginning of a commit; behind a close nothing may be.
    close = end.close if end.tree.size == state.size and (end.bare or not found.foreign) else None
    if close is not None and seen.carry == CarriedClose(end.log, close.size, close.root):
        return Decision("carry", "agrees", page)
    return Decision("cold", "agrees", page, closed=close is not None)


def _contradiction(end: ChainEnd, state: Known) -> str:
    """Why what lies there is not what is remembered; empty if it is."""
    if end.log != state.log:
        return "the log that lies there is another one"
    if end.tree.size < state.size:
        return f"it is an older copy: it has {end.tree.size} lines, {state.size} are remembered"
    return "" if end.roots.get(state.size) == state.root else f"it was changed before line {state.size}"


def _decide_without_memory(seen: Seen, page: _Page) -> Decision:
    found = seen.found
    memory: Literal["none", "missing"] = "missing" if seen.kept else "none"
    if found is None or found.end is None:
        remains = found is not None and bool(found.segments or found.strange or found.checkpoint)
        return Decision("genesis", memory, page, damaged=remains)
    return Decision(
        "cold",
        memory,
        page,
        closed=found.end.close is not None and not found.foreign,
        ahead=found.checkpoint_size > found.end.tree.size,
    )


def _convict(seen: Seen, denied: Known, why: str, page: _Page) -> Decision:
    """Go on with what lies there, but say that it is not what is remembered."""
    chain = seen.found is not None and seen.found.end is not None
    return Decision("cold" if chain else "genesis", "contradicts", page, denied, why)
