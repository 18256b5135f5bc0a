"""What a backend's trail says, whichever it is: calls, each with its moment, its caller and its context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from epochseal.errors import FormatError

Operation = Literal["issue", "recover", "sign"]


@dataclass(frozen=True, slots=True)
class TrailContext:
    """The four values that an epoch secret is bound to, as the trail shows them (`log`, `prev` in base64)."""

    origin: str
    log: str
    epoch: int
    prev: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a backend recorded.

    Args:
        operation: what was asked for.
        time: ms since 1970, as the backend's clock had it.
        who: the caller, as the backend names it.
        key: the key, as the backend names it.
        id: the backend's own number of the call: the same call in two files is one.
        context: None where the trail hides it, or the operation has none.
        hidden: the HMAC that stands for the context, where the trail shows no more.
        refused: why the call was refused, empty if it was served.
    """

    operation: Operation
    time: int
    who: str
    key: str
    id: str
    context: TrailContext | None = None
    hidden: str = ""
    refused: str = ""


@dataclass(slots=True)
class Trail:
    """All that was read.

    Attributes:
        calls: in the order of time; each once.
        kinds: `cloudtrail`, `vault`: whose files they were.
        resolution: ms within which the order of two calls is not known.
        first, last: the moments of the first and of the last event of any kind, whoever made it.
        doubled: events that stood in more than one file, counted once.
        files: how many were read.
        gaps: why the trail may be incomplete, each in a sentence.
    """

    calls: list[Call] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    resolution: int = 0
    first: int = 0
    last: int = 0
    doubled: int = 0
    files: int = 0
    gaps: list[str] = field(default_factory=list)

    def saw(self, time: int) -> None:
        """Widen the time that is covered."""
        self.first = time if not self.first else min(self.first, time)
        self.last = max(self.last, time)


Take = Callable[[Call], None]


def parse_time(text: str) -> int:
    """RFC 3339 in UTC, with any number of digits of a second, in ms since 1970.

    Raises:
        FormatError: anything else.
    """
    try:
        head, _, fraction = text.removesuffix("Z").partition(".")
        moment = datetime.strptime(head, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        milliseconds = int(fraction.ljust(3, "0")[:3]) if fraction else 0
    except ValueError as exc:
        raise FormatError(f"not a time in UTC: {text[:40]!r}") from exc
    if not text.endswith("Z"):
        raise FormatError(f"not a time in UTC: {text[:40]!r}")
    return int(moment.timestamp()) * 1000 + milliseconds
