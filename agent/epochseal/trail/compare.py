"""Hold a log's epochs against a trail's issue calls, one to one (docs/reconcile.md has the rules).

An issue call of this log is adopted by the epoch line that quotes its context. Any other must have come to
nothing: it was for an epoch that the log has or begins next, quoted a tag of this log, and nothing was signed
between it and the call that was adopted. Whoever rolls a log back or forks it leaves calls for which that
does not hold, because an epoch that nothing carries into has to be signed before it may be used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.errors import FormatError
from epochseal.keys import Context
from epochseal.lines import Header
from epochseal.trail.events import Call, Trail, TrailContext
from epochseal.trail.findings import Finding, Result, name_of
from epochseal.trail.sealed import Sealed, context_of

_ZERO_TAG = b64encode(bytes(32))


def reconcile(
    sealed: Sealed,
    trail: Trail,
    *,
    signing_key: str | None = None,
    recoverers: Collection[str] = (),
    hash_of: Callable[[str], str] | None = None,
    altered: Sequence[str] = (),
) -> Result:
    """Compare; everything that was found is in the result.

    Args:
        sealed: the log.
        trail: the backend's trail.
        signing_key: the checkpoint key as the trail names it; None: every signature of the trail counts.
        recoverers: who may recover secrets, as the trail names them; nobody named: anybody but the agent.
        hash_of: the HMAC that stands for a text in the trail, if that can be asked.
        altered: files of the trail that are not as their signed digests say.
    """
    comparison = _Comparison(sealed, trail, signing_key, recoverers, hash_of)
    return comparison.result(altered)


class _Comparison:
    def __init__(
        self, sealed: Sealed, trail: Trail, signing_key: str | None, recoverers: Collection[str],
        hash_of: Callable[[str], str] | None,
    ) -> None:  # fmt: skip  # one argument a line would hide that these belong together
        self._sealed = sealed
        self._trail = trail
        self._recoverers = recoverers
        self._keys = {_key_name(header.key) for header in sealed.headers}
        self._problems: list[Finding] = []
        self._notes: list[Finding] = []
        calls = _with_contexts(trail.calls, sealed, hash_of)
        self._hidden = [
            call for call in calls if call.hidden and call.context is None and call.key in self._keys
        ]
        own = [call for call in calls if self._is_own(call)]
        self._issued = [call for call in own if call.operation == "issue" and not call.refused]
        self._others = [call for call in calls if self._is_own(call) or call.key in self._keys]
        self._signed = [
            call.time for call in calls
            if call.operation == "sign" and not call.refused and signing_key in (None, call.key)
        ]  # fmt: skip  # one expression
        self._matched = 0

    def result(self, altered: Sequence[str]) -> Result:
        """Compare everything."""
        sealed, trail = self._sealed, self._trail
        for text in altered:
            self._problem("trail_altered", text)
        if sealed.headers:
            self._compare()
        if sealed.unreadable or sealed.foreign:
            detail = f"{sealed.unreadable} are damaged, {sealed.foreign} are of other logs"
            self._problem("damaged_epoch", detail)
        for text in trail.gaps:
            self._problem("trail_gap", text)
        if trail.doubled:
            self._note("doubled", f"{trail.doubled} events")
        return Result(
            verdict=name_of(self._problems, self._matched),
            origin=sealed.origin, log=sealed.log, epochs=len(sealed.headers), matched=self._matched,
            calls=len(self._issued), files=trail.files, first=trail.first, last=trail.last,
            problems=self._problems, notes=self._notes,
        )  # fmt: skip  # a flat list of what is told

    def _is_own(self, call: Call) -> bool:
        context = call.context
        return context is not None and (context.origin, context.log) == (
            self._sealed.origin,
            self._sealed.log,
        )

    def _compare(self) -> None:
        waiting: dict[TrailContext, list[Call]] = defaultdict(list)
        for call in self._issued:
            if call.context is not None:
                waiting[call.context].append(call)
        adopted = self._adopt(waiting)
        left = sorted((call for calls in waiting.values() for call in calls), key=lambda call: call.time)
        self._explain(left, adopted)
        self._look_at_others()
        unread = Counter(call.operation for call in self._hidden)
        if unread["issue"]:
            detail = f"{unread['issue']} issue calls; name the audit device with --audit-hash"
            self._problem("hidden_context", detail)

    def _adopt(self, waiting: dict[TrailContext, list[Call]]) -> dict[int, Call]:
        """Give each epoch line its call, taken out of `waiting`: the last that was made with its context."""
        adopted: dict[int, Call] = {}
        issuing = [call for call in self._others if call.operation == "issue" and not call.refused]
        if not issuing and not self._hidden:
            self._problem("trail_silent", f"of the keys {', '.join(sorted(self._keys))}")
        for header in self._sealed.headers:
            if calls := waiting.get(context_of(header)):
                adopted[header.epoch] = calls.pop()
                self._matched += 1
            elif issuing:
                self._not_issued(header, waiting)
        return adopted

    def _not_issued(self, header: Header, waiting: dict[TrailContext, list[Call]]) -> None:
        others = [
            call for context, calls in waiting.items() if context.epoch == header.epoch for call in calls
        ]
        if not self._trail.first <= header.time <= self._trail.last:
            covered = f"{format_time(self._trail.first)} to {format_time(self._trail.last)}"
            self._problem("not_covered", f"the trail has {covered}", header.epoch, header.time)
        elif others:
            detail = f"the log quotes {header.asked.tag}, the backend was told {others[-1].context.prev}"  # type: ignore[union-attr]  # own calls have one
            self._problem("other_prev", detail, header.epoch, others[-1].time, others[-1].who)
        elif not self._hidden:
            self._problem(
                "sealed_not_issued", f"begun at {format_time(header.time)}", header.epoch, header.time
            )

    # --- calls that no epoch line quotes --------------------------------------------------------------------

    def _explain(self, left: list[Call], adopted: dict[int, Call]) -> None:
        headers = {header.epoch: header for header in self._sealed.headers}
        first, last = min(headers), max(headers)
        allowed = {
            context_of(header, item.tag): item.calls
            for header in headers.values()
            for item in header.abandoned
        }
        counted: Counter[str] = Counter()
        for call in left:
            assert call.context is not None  # noqa: S101  # for the type checker: own calls have one
            epoch = call.context.epoch
            if epoch < first:
                counted["expired"] += 1
                continue
            if epoch in headers and epoch not in adopted:
                # Told already: no call is left that fits this epoch line.
                continue
            next_call = adopted.get(epoch)
            if not self._came_to_nothing(call, epoch, last, next_call):
                continue
            if allowed.get(call.context, 0) > 0:
                allowed[call.context] -= 1
                counted["abandoned"] += 1
            elif next_call is None:
                self._note("not_adopted", f"at {format_time(call.time)}", epoch, call.time, call.who)
            else:
                detail = f"asked for again at {format_time(next_call.time)}"
                self._note("orphan", detail, epoch, call.time, call.who)
        for kind, count in counted.items():
            self._note(kind, f"{count} calls")

    def _came_to_nothing(self, call: Call, epoch: int, last: int, next_call: Call | None) -> bool:
        """Whether nothing can have been sealed with what this call gave; told if not."""
        prev = call.context.prev if call.context is not None else ""
        at = format_time(call.time)
        if epoch > last + 1:
            self._lost(call, epoch, f"issued at {at}, the log ends with epoch {last}")
        elif not (prev == _ZERO_TAG or self._sealed.has_tag(prev)):
            self._lost(call, epoch, f"issued at {at} at tag {prev}, which no line of the log has")
        elif (signed := self._signed_between(call, next_call)) == "yes":
            what = "signed before the log's own epoch began" if next_call is not None else "signed after it"
            self._lost(call, epoch, f"issued at {at}, and a checkpoint was {what}")
        elif signed == "unclear":
            detail = f"issued at {at}; signatures in the same second"
            self._problem("order_unclear", detail, epoch, call.time, call.who)
        else:
            return True
        return False

    def _lost(self, call: Call, epoch: int, detail: str) -> None:
        self._problem("issued_not_sealed", detail, epoch, call.time, call.who)

    def _signed_between(self, call: Call, next_call: Call | None) -> str:
        step = self._trail.resolution
        stop = next_call.time if next_call is not None else self._trail.last + step + 1
        surely = self._signatures(call.time + step + (step == 0), stop - step)
        if surely:
            return "yes"
        return "unclear" if self._signatures(call.time + (step == 0), stop + (step != 0)) else "no"

    def _signatures(self, start: int, stop: int) -> int:
        """How many there are from `start` on and before `stop`."""
        return max(bisect_left(self._signed, stop) - bisect_left(self._signed, start), 0)

    # --- who recovered, who was refused ---------------------------------------------------------------------

    def _look_at_others(self) -> None:
        agents = {call.who for call in self._issued}
        recovered: dict[str, list[Call]] = defaultdict(list)
        denied: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in self._others:
            if call.refused:
                denied[call.who, call.operation].append(call)
            elif call.operation == "recover":
                recovered[call.who].append(call)
        for who, calls in recovered.items():
            kind, tell = "recovered", self._note
            if who in agents:
                kind, tell = "recovered_by_agent", self._problem
            elif self._recoverers and who not in self._recoverers:
                kind, tell = "recovered_by_stranger", self._problem
            span = f"{format_time(calls[0].time)} to {format_time(calls[-1].time)}"
            epochs = sorted({call.context.epoch for call in calls if call.context is not None})
            which = f", epochs {epochs[0]} to {epochs[-1]}" if epochs else ""
            tell(kind, f"{len(calls)} calls, {span}{which}", -1, calls[0].time, who)
        for (who, operation), calls in denied.items():
            detail = f"{len(calls)} calls to {operation}: {calls[-1].refused[:200]}"
            self._note("denied", detail, -1, calls[-1].time, who)

    def _problem(self, kind: str, detail: str, epoch: int = -1, time: int = 0, who: str = "") -> None:
        self._problems.append(Finding(kind, epoch, time, who, detail))

    def _note(self, kind: str, detail: str, epoch: int = -1, time: int = 0, who: str = "") -> None:
        self._notes.append(Finding(kind, epoch, time, who, detail))


def _key_name(key_id: str) -> str:
    """The key of an epoch line as its trail names it: `vault:vN:MOUNT/KEY` is `MOUNT/KEY` there."""
    return key_id.split(":", 2)[2] if key_id.startswith("vault:") else key_id


def _with_contexts(calls: list[Call], sealed: Sealed, hash_of: Callable[[str], str] | None) -> list[Call]:
    """The calls with the contexts behind their HMACs, as far as these are ones that the log itself has."""
    if hash_of is None or not any(call.hidden for call in calls):
        return calls
    known: dict[str, TrailContext] = {}
    for header in sealed.headers:
        for tag in (header.asked.tag, *(item.tag for item in header.abandoned)):
            context = context_of(header, tag)
            known[hash_of(_encoded(context))] = context
    return [replace(call, context=known[call.hidden]) if call.hidden in known else call for call in calls]


def _encoded(context: TrailContext) -> str:
    """The text that transit is given: base64 of the one string of a context."""
    try:
        log, prev = b64decode(context.log, "log"), b64decode(context.prev, "prev")
        return b64encode(Context(context.origin, log, context.epoch, prev).encode())
    except FormatError:
        return ""
