"""What a verification found: problems with their ranges, and the one verdict that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from epochseal.exit_statuses import EMPTY, INCOMPLETE, TAMPERED, UNTRUSTED, VERIFIED
from epochseal.verifier.kinds import PROBLEMS

VerdictName = Literal["verified", "tampered", "incomplete", "untrusted", "empty"]

EXIT_STATUS: dict[VerdictName, int] = {
    "verified": VERIFIED,
    "tampered": TAMPERED,
    "incomplete": INCOMPLETE,
    "untrusted": UNTRUSTED,
    "empty": EMPTY,
}
GRAVEST_FIRST: tuple[VerdictName, ...] = ("tampered", "untrusted", "incomplete", "empty", "verified")

LIMIT_OPEN = "that nothing follows its end: the log is open"
LIMIT_CLOSED = (
    "that nothing followed its clean close: only a trust file, a witness or the backend's trail can"
)
LIMIT_ANEW = (
    "that it was not made anew from the first line on by whoever holds the agent's credential: its id does, "
    "to whom it was told before"
)


class Problem(msgspec.Struct, frozen=True):
    """One finding and the range that it concerns.

    Entries are numbered from 0 over the whole log, lines from 1 in the segment's log file; both ends belong
    to the range. Where no entry is concerned, both are the place at which the next one would stand. Segment 0
    is none.
    """

    kind: str
    segment: int
    epoch: int
    first_entry: int
    last_entry: int
    first_line: int
    last_line: int
    detail: str


class RotationView(msgspec.Struct, frozen=True):
    """A change of a key as its rotate line tells it: key ids of epoch keys, vkeys of checkpoint keys.

    `line` is the index in the tree, `entry` the number of the next entry there. `endorsed`: of a checkpoint
    key, the signatures of 13.6 are there; of an epoch key, always.
    """

    key: Literal["epoch", "checkpoint"]
    line: int
    segment: int
    epoch: int
    entry: int
    old: str
    new: str
    from_size: int
    compromised: bool
    endorsed: bool
    who: str
    why: str
    ticket: str
    time: str


class Verdict(msgspec.Struct):
    """What `epochseal verify --json` prints for one log (docs/verify.md).

    `log` is the log's id in base64, empty if no epoch line was read. `memory` is for whoever keeps one to
    fill in: whether this log was remembered before, is from now on, or nothing is.
    """

    verdict: VerdictName
    origin: str
    entries: int
    bytes: int
    epochs: int
    segments: int
    log: str
    signed_entries: int
    tree_size: int
    root: str
    last_sealed: str
    closed: bool
    mode: Literal["keys", "public"]
    memory: Literal["known", "new", "none"]
    problems: list[Problem]
    warnings: list[Problem]
    not_shown: list[str]
    witnessed_entries: int = 0
    witnessed_by: list[str] = []
    checkpoint_key: str = ""
    """The vkey that signs now, as far as the named key leads; empty if none was named."""
    rotations: list[RotationView] = []

    @property
    def exit_status(self) -> int:
        """The status that docs/verify.md gives."""
        return EXIT_STATUS[self.verdict]


def gravest(names: Iterable[VerdictName]) -> VerdictName:
    """Of several verdicts the one that counts: tampered, untrusted, incomplete, empty, verified."""
    return min(names, key=GRAVEST_FIRST.index)


def verdict_of(problems: Iterable[Problem], *, checked: bool) -> VerdictName:
    """The verdict that follows from the gravest problem; never verified if nothing was checked."""
    found = {PROBLEMS[problem.kind].grade for problem in problems}
    clean: VerdictName = "verified" if checked else "empty"
    return next((name for name in GRAVEST_FIRST if name in found), clean)


def withdraw(verdict: Verdict, kind: str, detail: str) -> None:
    """Add a problem with the whole log to a verdict that was given already."""
    last = max(verdict.entries - 1, 0)
    verdict.problems.append(Problem(kind, 0, 0, 0, last, 1, last + 1, detail))
    verdict.verdict = verdict_of(verdict.problems, checked=verdict.verdict != "empty")
