"""What a backend's trail says, whichever it is: calls, each with its moment, its caller and its context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from epochseal.errors import FormatError

Operation = Literal["issue", "recover", "sign", "wrap", "export", "change", "record"]
"""`wrap`: a secret of the caller's choice was encrypted; `export`: the key itself was handed out; `change`:
its configuration, versions or permissions were changed, or it was deleted; `record`: what is recorded was
changed, `Call.key` is the trail or audit device then."""
MILLISECOND, SECOND = 1_000_000, 1_000_000_000
"""In the unit of `Call.at`."""


@dataclass(frozen=True, slots=True)
class TrailContext:
    """The four values that an epoch secret is bound to, as the trail shows them (`log`, `prev` in base64)."""

    origin: str
    log: str
    epoch: int
    prev: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as a trail shows it: as it is, or as the HMACs that stand for it, one of each audit device."""

    plain: str = ""
    hashes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.plain or self.hashes)

    def joined(self, other: Shown) -> Shown:
        """What two devices show of one text.

        Raises:
            FormatError: they show two texts.
        """
        if self.plain and other.plain and self.plain != other.plain:
            raise FormatError("two texts")
        return Shown(self.plain or other.plain, self.hashes | other.hashes)


NOTHING = Shown()


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a backend recorded.

    Args:
        operation: what was asked for.
        at: ns since 1970, as the backend's clock had it.
        who: the caller, as the backend names it.
        key: the key, as the backend names it.
        id: the backend's own number of the call: the same call in two files is one.
        context: None where the trail hides it, or the operation has none.
        hidden: the HMACs that stand for the context, where the trail shows no more.
        wrapped: what an issue call gave, if the trail has it.
        message: what was signed (base64), if the trail has it.
        refused: why the call was refused, empty if it was served.
        detail: what an export or a change was, in the backend's words.
    """

    operation: Operation
    at: int
    who: str
    key: str
    id: str
    context: TrailContext | None = None
    hidden: frozenset[str] = frozenset()
    wrapped: Shown = NOTHING
    message: Shown = NOTHING
    refused: str = ""
    detail: str = ""

    @property
    def time(self) -> int:
        """The same moment in ms."""
        return self.at // MILLISECOND

    def joined(self, other: Call) -> Call:
        """The same call as two devices wrote it down: each has its own salt, and its own moment.

        Raises:
            FormatError: it is not the same call.
        """
        try:
            both = replace(
                self,
                at=min(self.at, other.at),
                context=self.context or other.context,
                hidden=self.hidden | other.hidden,
                wrapped=self.wrapped.joined(other.wrapped),
                message=self.message.joined(other.message),
            )
        except FormatError:
            both = self
        same = replace(
            other,
            at=both.at,
            context=other.context or both.context,
            hidden=both.hidden,
            wrapped=both.wrapped,
            message=both.message,
        )
        if same != both:
            raise FormatError(f"two different calls have the number {self.id}")
        return both


@dataclass(slots=True)
class Trail:
    """All that was read.

    Attributes:
        calls: in the order of time; each once.
        kinds: `cloudtrail`, `vault`: whose files they were.
        resolution: ns within which the order of two calls is not known.
        spans: the moments (ms) of the first and of the last event of each file, whoever made it.
        doubled: events that stood in more than one file, counted once.
        files: how many were read.
        gaps: why the trail may be incomplete, each in a sentence.
    """

    calls: list[Call] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    resolution: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    doubled: int = 0
    files: int = 0
    gaps: list[str] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The first moment that the trail knows of, in ms."""
        return min((first for first, _ in self.spans), default=0)

    @property
    def last(self) -> int:
        """The last one, in ms."""
        return max((last for _, last in self.spans), default=0)

    def covers(self, time: int) -> bool:
        """Whether one file has events before and after this moment (ms): between two, one may be missing."""
        return any(first <= time <= last for first, last in self.spans)


AddCall = Callable[[Call], None]


def parse_time(text: str) -> int:
    """RFC 3339 in UTC, with any number of digits of a second, in ns since 1970.

    Raises:
        FormatError: anything else.
    """
    try:
        head, _, fraction = text.removesuffix("Z").partition(".")
        moment = datetime.strptime(head, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        nanoseconds = int(fraction.ljust(9, "0")[:9]) if fraction else 0
    except ValueError as exc:
        raise FormatError(f"not a time in UTC: {text[:40]!r}") from exc
    if not text.endswith("Z"):
        raise FormatError(f"not a time in UTC: {text[:40]!r}")
    return int(moment.timestamp()) * SECOND + nanoseconds
