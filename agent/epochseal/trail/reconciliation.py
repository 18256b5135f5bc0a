"""What holding a log against a trail found, and the one verdict that follows from it."""

from __future__ import annotations

from typing import Literal

import msgspec

from epochseal.exit_statuses import EMPTY, INCOMPLETE, TAMPERED, VERIFIED

Outcome = Literal["clean", "contradiction", "incomplete", "empty"]

EXIT_STATUS: dict[Outcome, int] = {
    "clean": VERIFIED,
    "contradiction": TAMPERED,
    "incomplete": INCOMPLETE,
    "empty": EMPTY,
}

KINDS: dict[str, tuple[Outcome, str]] = {
    "issued_not_sealed": (
        "contradiction",
        "a secret was issued for this log, and the log has no such epoch: it was rolled back or forked",
    ),
    "sealed_not_issued": ("contradiction", "the backend never issued the secret of this epoch: it is forged"),
    "other_prev": (
        "contradiction",
        "the secret of this epoch was issued at another tag than the epoch line says",
    ),
    "other_secret": (
        "contradiction",
        "the backend gave another secret than the epoch line holds: it is forged",
    ),
    "signed_not_sealed": (
        "contradiction",
        "a tree of this origin was signed that the log does not have: it was rolled back or forked",
    ),
    "wrapped_by_hand": (
        "contradiction",
        "a secret of the caller's own choice was wrapped: no epoch needs that",
    ),
    "key_exported": ("contradiction", "the key was handed out: who has it needs the backend no more"),
    "recovered_by_agent": ("contradiction", "a caller that has secrets issued has recovered some as well"),
    "recovered_by_stranger": ("contradiction", "secrets were recovered by a caller that may not"),
    "trail_altered": ("contradiction", "a file of the trail is not what its signed digest says"),
    "order_unclear": (
        "incomplete",
        "whether something else was signed between two calls is not shown by the trail",
    ),
    "issued_unlisted": (
        "incomplete",
        (
            "a secret was issued for an epoch that began without the carry, and is not in its list: a power "
            "cut may have taken it from there, or somebody else asked"
        ),
    ),
    "signed_unclear": (
        "incomplete",
        "a tree was signed that the log does not have; another log of the same origin may",
    ),
    "not_covered": ("incomplete", "the trail does not reach over the time of this epoch"),
    "trail_silent": (
        "incomplete",
        "the trail has no issue call of this log's key at all: events are excluded",
    ),
    "hidden_context": (
        "incomplete",
        "the trail shows only HMACs of contexts, and these could not be compared",
    ),
    "damaged_epoch": ("incomplete", "epoch lines of the log cannot be read"),
    "trail_gap": ("incomplete", "the trail itself is not whole"),
}

NOTES: dict[str, str] = {
    "abandoned": "issue calls that came to nothing, as the log says itself",
    "signed_twice": "one tree of the log was signed more than once: an agent without an answer asks again",
    "not_adopted": "the latest issue call is not in the log yet",
    "recovered": "secrets were recovered",
    "denied": "calls were refused",
    "issuers": "more than one caller had secrets issued for this log",
    "other_log": "secrets were issued for a log with this origin and another id",
    "key_changed": "a key's configuration, versions or permissions were changed",
    "trail_changed": "what the trail records was changed: calls may be missing from then on",
    "expired": "calls of epochs that have expired from the log",
    "doubled": "events that stand in more than one file were counted once",
}


class TrailFinding(msgspec.Struct, frozen=True):
    """One finding; `epoch` is -1 where it is about none, `time` 0 where it has none, else ms since 1970."""

    kind: str
    epoch: int
    time: int
    who: str
    detail: str


class Reconciliation(msgspec.Struct):
    """What `epochseal reconcile --json` prints (docs/reconcile.md).

    Attributes:
        epochs: epoch lines of the log; `matched` of them have exactly their call in the trail.
        calls: issue calls of this log in the trail that were served.
        first, last: the time that the trail covers, in ms.
    """

    verdict: Outcome
    origin: str
    log: str
    epochs: int
    matched: int
    calls: int
    files: int
    first: int
    last: int
    problems: list[TrailFinding]
    notes: list[TrailFinding]

    @property
    def exit_status(self) -> int:
        """0 clean, 1 contradiction, 3 incomplete, 5 nothing was compared."""
        return EXIT_STATUS[self.verdict]


def outcome_of(problems: list[TrailFinding], matched: int) -> Outcome:
    """The gravest; never clean if nothing was compared."""
    found = {KINDS[item.kind][0] for item in problems}
    for name in ("contradiction", "incomplete"):
        if name in found:
            return name
    return "clean" if matched else "empty"
