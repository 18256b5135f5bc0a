"""What was signed with the checkpoint key, and whether it was this log.

Where the trail shows what was signed, or its HMAC can be asked for, every signature is held against the trees
of the log. CloudTrail does not: there it is counted how many an honest agent could have made.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Literal

from epochseal.encoding import MAX_INT, b64decode, b64encode
from epochseal.errors import FormatError
from epochseal.format.note import Checkpoint, parse_checkpoint
from epochseal.format.seal_lines import ZERO_TAG
from epochseal.trail.events import Call
from epochseal.trail.hashes import HashOf
from epochseal.trail.sealed import Sealed

Answer = Literal["yes", "no", "unclear"]
_Kind = Literal["own", "other", "unknown", "unmatched", "opaque"]
_ZERO_TAG = b64encode(ZERO_TAG)
_OF_SETUP = b64encode(b"epochseal setup.sh")


class Signatures:
    """The signatures of a trail, beside one log.

    Args:
        sealed: the log.
        calls: the sign calls, in the order of time.
        resolution: ns within which the order of two calls is not known.
        hash_of: the HMAC that stands for a text in the trail, if that can be asked.
    """

    def __init__(
        self, sealed: Sealed, calls: Sequence[Call], resolution: int, hash_of: HashOf | None
    ) -> None:
        self._sealed = sealed
        self._calls = calls
        self._times = [call.at for call in calls]
        self._step = resolution
        self._hash_of = hash_of
        self._first = sealed.headers[0].tree.size if sealed.headers else 0
        self._own: set[str] | None = None
        self._kinds: dict[str, _Kind] = {}
        self._owed = _Owed(sealed)
        self._lines: dict[str, int] = {}
        self._foreign_before: list[int] | None = None
        self._unknown_before: list[int] = []

    def unknown(self) -> list[Call]:
        """Signatures over trees of this origin that the log does not have, where the trail shows these.

        Only those with a key that has signed this log as well: another key's speak for another log.
        """
        keys = self.keys()
        return [call for call in self._calls if call.key in keys and self._kind(call) == "unknown"]

    def keys(self) -> set[str]:
        """The keys that have signed this log, as far as the trail shows it."""
        return {call.key for call in self._calls if self._kind(call) == "own"}

    def unmatched(self, since: int) -> list[Call]:
        """Those from a moment (ns) on that are over no checkpoint, or whose HMAC is that of no tree here."""
        return [call for call in self._calls if call.at >= since and self._kind(call) == "unmatched"]

    def repeated(self) -> list[tuple[int, int]]:
        """Sizes of this log that were signed more than once with one key, each with how often.

        An agent asks again for what it has no answer to, also after it was killed while it waited.
        """
        counts: Counter[tuple[str, int]] = Counter()
        for call in self._calls:
            if self._kind(call) == "own" and call.message.plain:
                found = _checkpoint_of(call.message.plain)
                counts[call.key, found.size if found is not None else 0] += 1
        return sorted((size, count) for (_, size), count in counts.items() if size and count > 1)

    def after(self, call: Call, stop: Call | None) -> Answer:
        """Whether something else than this log was signed after an issue call, before the adopted one.

        Args:
            call: the issue call that no epoch line quotes.
            stop: the call that was adopted for that epoch; None: none was.
        """
        end = self._times[-1] + self._step + 1 if self._times else 0
        until = stop.at if stop is not None else end
        surely, _ = self._foreign(call.at + self._step + (not self._step), until - self._step)
        maybe, unknown = self._foreign(call.at + (not self._step), until + bool(self._step))
        if not maybe:
            return "no"
        if unknown:
            return "yes"
        expected = self._expected(call, stop)
        if maybe <= expected:
            return "no"
        # Each line may have been signed twice, where an answer was lost: the trail does not show which.
        return "yes" if surely > 2 * expected else "unclear"

    def _foreign(self, start: int, stop: int) -> tuple[int, int]:
        """How many from `start` on and before `stop` are not known to be over this log, or no log.

        And how many of these are over trees of this origin that the log does not have.
        """
        if self._foreign_before is None:
            kinds = [self._kind(call) for call in self._calls]
            self._foreign_before = [0, *accumulate(kind not in {"own", "other"} for kind in kinds)]
            self._unknown_before = [0, *accumulate(kind == "unknown" for kind in kinds)]
        begin, end = bisect_left(self._times, start), bisect_left(self._times, stop)
        if begin >= end:
            return 0, 0
        foreign, unknown = self._foreign_before, self._unknown_before
        return foreign[end] - foreign[begin], unknown[end] - unknown[begin]

    def _expected(self, call: Call, stop: Call | None) -> int:
        """How many signatures the agent itself owed between two of its issue calls.

        Those of the lines that it wrote before the second call, unless their note stands before the line
        that the first one quoted: a line is signed once it is there, and its note is written behind it.
        """
        if call.context is None or (low := self.line_of(call.context.prev)) is None:
            return 0
        high = self.line_of(stop.context.prev) if stop is not None and stop.context is not None else None
        return self._owed.between(low, high)

    def look_for(self, tags: Collection[str]) -> None:
        """Find the lines of these tags (base64), of which `line_of` tells.

        Raises:
            StorageError: a seal file cannot be read.
        """
        self._lines = self._sealed.lines_of(tags)

    def line_of(self, tag: str) -> int | None:
        """The index of the line that has this tag; that before the first one for the tag of none."""
        return -1 if tag == _ZERO_TAG else self._lines.get(tag)

    def _kind(self, call: Call) -> _Kind:
        if call.id not in self._kinds:
            self._kinds[call.id] = self._look_at(call)
        return self._kinds[call.id]

    def _look_at(self, call: Call) -> _Kind:
        if call.message.plain:
            return self._kind_of(call.message.plain)
        if self._hash_of is None or not call.message.hashes:
            return "opaque"
        return "own" if call.message.hashes & self._own_hashes() else "unmatched"

    def _kind_of(self, message: str) -> _Kind:
        if (found := _checkpoint_of(message)) is None:
            # It is no checkpoint, but may be the digest of one: whoever may sign may have a digest signed
            # too.
            return "other" if message == _OF_SETUP else "unmatched"
        if found.origin != self._sealed.origin:
            return "other"
        # A checkpoint from before the first epoch of the log is over lines that have expired.
        if found.size < self._first or self._sealed.roots.get(found.size) == found.root:
            return "own"
        return "unknown"

    def _own_hashes(self) -> set[str]:
        if self._own is None:
            assert self._hash_of is not None  # noqa: S101  # for the type checker: asked for with it alone
            texts = (
                Checkpoint(self._sealed.origin, size, root).text().encode()
                for size, root in self._sealed.roots.items()
            )
            self._own = {self._hash_of(b64encode(text)) for text in texts} | {self._hash_of(_OF_SETUP)}
        return self._own


class _Owed:
    """The sizes that an agent signs, in order: those that a note is over, and those that none is over."""

    def __init__(self, sealed: Sealed) -> None:
        sizes = sorted(sealed.owed)
        self._bare = [size for size in sizes if size not in sealed.noted]
        self._noted = [size for size in sizes if size in sealed.noted]
        # Checkpoints are signed in order, and so are their notes.
        self._places = list(accumulate((sealed.noted[size] for size in self._noted), max))

    def between(self, low: int, high: int | None) -> int:
        """How many of them are not above index `high`, and were not noted up to index `low`."""
        stop = MAX_INT + 1 if high is None else high + 1
        bare = bisect_right(self._bare, stop) - bisect_right(self._bare, low)
        noted = bisect_right(self._noted, stop) - bisect_right(self._places, low)
        return max(bare, 0) + max(noted, 0)


def _checkpoint_of(message: str) -> Checkpoint | None:
    try:
        return parse_checkpoint(b64decode(message, "message").decode("utf-8"))
    except (FormatError, UnicodeDecodeError):
        return None
