"""What a verification found: problems with their ranges, and the one verdict that follows from them."""

from __future__ import annotations

from typing import Literal

import msgspec

Name = Literal["verified", "tampered", "incomplete", "untrusted", "empty"]

EXIT_STATUS: dict[Name, int] = {"verified": 0, "tampered": 1, "incomplete": 3, "untrusted": 4, "empty": 5}
_ORDER: tuple[Name, ...] = ("tampered", "untrusted", "incomplete")

KINDS: dict[str, tuple[Name, str]] = {
    "entries_altered": ("tampered", "stored entries differ from those that were sealed"),
    "entries_inserted": ("tampered", "bytes stand between sealed entries"),
    "entries_missing": ("tampered", "sealed entries are not in the log file"),
    "foreign_bytes": ("tampered", "bytes follow the last sealed entry of a closed segment"),
    "line_altered": ("tampered", "a seal line was changed, or was not made with this log's key"),
    "line_missing": ("tampered", "seal lines were removed"),
    "line_misplaced": ("tampered", "a seal line stands where it was not written: repeated or out of order"),
    "counters": ("tampered", "a seal line does not go on where the one before it ended"),
    "epoch_missing": ("tampered", "whole epochs were removed"),
    "epoch_misplaced": ("tampered", "an epoch stands where it was not written: repeated or out of order"),
    "end_missing": ("tampered", "an epoch that another one follows was cut off"),
    "link_broken": ("tampered", "an epoch does not belong to the one before it"),
    "tree_broken": ("tampered", "the Merkle tree of an epoch differs from what the next one states"),
    "segment_missing": ("tampered", "a segment between others was removed"),
    "segment_duplicate": ("tampered", "a segment is there more than once"),
    "segment_incomplete": ("tampered", "one file of a segment's pair is missing, or empty"),
    "segment_renamed": ("tampered", "a segment does not have its own name"),
    "foreign_log": ("tampered", "an epoch of another log stands in this one"),
    "key_refused": (
        "tampered",
        "the backend says that an epoch secret was not made by this key for this place",
    ),
    "checkpoint_bad": ("tampered", "a checkpoint is damaged, or its signature does not hold"),
    "checkpoint_mismatch": ("tampered", "a signed checkpoint is over other lines than those present"),
    "checkpoint_ahead": ("tampered", "a signed checkpoint covers more lines than are present"),
    "bad_unsealed": ("tampered", "bytes were added after the log had been closed"),
    "prune_broken": ("tampered", "what a prune line says of expired segments does not fit what is left"),
    "rolled_back": ("tampered", "the log is behind what the trust file has seen"),
    "forked": ("tampered", "the log is not the one that the trust file has seen: its history was rewritten"),
    "log_replaced": ("tampered", "another log of the same origin stands in the place of the pinned one"),
    "start_unsigned": ("untrusted", "an epoch that nothing carries into has no signed start"),
    "not_witnessed": ("untrusted", "no signed checkpoint bears the cosignatures that the policy asks for"),
    "unknown_key": ("untrusted", "a key that was not named made this"),
    "key_retired": ("untrusted", "an epoch key that the log had replaced issued this"),
    "key_compromised": ("untrusted", "nothing vouches for this but a key that the log calls compromised"),
    "wrong_origin": ("untrusted", "the log is of another origin than the one asked for"),
    "cold_start": (
        "incomplete",
        "the agent was stopped without closing the log: entries after the last one may be lost",
    ),
    "prefix_missing": ("incomplete", "the log does not begin at its beginning, and no retention explains it"),
    "open_end": ("incomplete", "the log is neither closed nor alive"),
    "next_epoch_missing": ("incomplete", "an epoch ended for another one to follow, and none does"),
    "torn_line": ("incomplete", "the last seal line is unfinished"),
    "unsealed_bytes": ("incomplete", "bytes that nobody sealed were set aside"),
    "future_time": ("incomplete", "the log ends in the future"),
    "unsigned_tail": ("incomplete", "the end of the log has waited too long for its signed checkpoint"),
    "close_unsigned": ("incomplete", "a clean close has no signed checkpoint"),
    "unwitnessed_tail": ("incomplete", "the end of the log has waited too long for its witnesses"),
    "trust_expired": (
        "incomplete",
        "what the trust file has seen has expired: nothing is left to hold it against",
    ),
    "reopen_strict": ("incomplete", "the log was closed and opened again"),
    "rotation_strict": ("incomplete", "the epoch key changed, and no rotate line says so"),
}

WARNINGS: dict[str, str] = {
    "reopen": (
        "the log was closed and opened again: what may have stood between is not shown by the log alone"
    ),
    "clock_back": "the clock went back",
    "source_gap": "the agent says that entries of a source may be missing: it could not read them in time",
    "public_only": (
        "no epoch key was given: whoever held the signing credential could have rewritten this history and "
        "signed it again; a trust file or a witness would show that"
    ),
    "checkpoint_missing": "the file `checkpoint` is missing; the checkpoints in the seal files were used",
    "foreign_file": "a file that belongs to no segment",
    "cold_accepted": "a cold start that the trust file accepts",
    "rotation_unrecorded": "the epoch key changed, and no rotate line says so",
    "rotation_unfinished": "a change of the checkpoint key was recorded, and not endorsed: it did not happen",
    "pruned": "earlier segments have expired by the log's own retention",
}

LIMIT_OPEN = "that nothing follows its end: the log is open"
LIMIT_CLOSED = (
    "that nothing followed its clean close: only a trust file, a witness or the backend's trail can"
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
    """What `epochseal verify --json` prints for one log (docs/verify.md)."""

    verdict: Name
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
        """The status of design and docs/verify.md: 0, 1, 3, 4 or 5."""
        return EXIT_STATUS[self.verdict]


def name_of(problems: list[Problem], *, checked: bool) -> Name:
    """The verdict: tampered before untrusted before incomplete; never verified if nothing was checked."""
    found = {KINDS[problem.kind][0] for problem in problems}
    for name in _ORDER:
        if name in found:
            return name
    return "verified" if checked else "empty"


def withdraw(verdict: Verdict, kind: str, detail: str) -> None:
    """Add a problem with the whole log to a verdict that was given already."""
    last = max(verdict.entries - 1, 0)
    verdict.problems.append(Problem(kind, 0, 0, 0, last, 1, last + 1, detail))
    verdict.verdict = name_of(verdict.problems, checked=verdict.verdict != "empty")
