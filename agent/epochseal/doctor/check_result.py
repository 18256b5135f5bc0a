"""One line of a diagnosis."""

from __future__ import annotations

import msgspec

from epochseal.examiner import KeyFinding, Outcome


class CheckResult(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        part: what it belongs to: `machine`, `metrics`, or `log NAME`.
        topic: what was looked at, in a few words.
        outcome: `good`; `wrong`: to be mended before the agent is trusted; `unknown`: it could not be seen.
        detail: what was seen.
        hint: what to do about it.
        unreachable: whether a backend gave no answer, so that the question may be asked again.
        refused: whether the credential was refused, so that it is not tried once more.
    """

    part: str
    topic: str
    outcome: Outcome
    detail: str
    hint: str | None = None
    unreachable: bool = False
    refused: bool = False

    @classmethod
    def of(cls, part: str, finding: KeyFinding) -> CheckResult:
        """What a backend found."""
        return cls(part, finding.topic, finding.outcome, finding.detail, finding.hint)
