"""Hold a log's epochs against a trail's issue calls, one to one (docs/reconcile.md has the rules).

An issue call of this log is adopted by the epoch line that quotes its context and holds what it gave. Any
other must have come to nothing: it was made before the adopted one, for an epoch that the log has or begins
next, quoted a tag of this log, is one of those that the epoch line itself lists as abandoned, and nothing but
this log was signed between it and the call that was adopted. Whoever rolls a log back or forks it leaves
calls for which that does not hold, because each epoch is signed for before it may be used.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import accumulate

from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.examiner import PROBE_LOG
from epochseal.format.seal_lines import ZERO_TAG, Header
from epochseal.trail.events import Call, Trail, TrailContext
from epochseal.trail.hashes import HashOf, with_contexts
from epochseal.trail.reconciliation import Reconciliation, TrailFinding, outcome_of
from epochseal.trail.sealed import Sealed, context_of
from epochseal.trail.signatures import Signatures
from epochseal.trail.waiting_calls import WaitingCalls

_ZERO_TAG = b64encode(ZERO_TAG)
_PROBE_LOG = b64encode(PROBE_LOG)
_SESSION = re.compile(r"(arn:[\w-]+:sts::\d+:assumed-role/.+)/[^/]+")


def reconcile(
    sealed: Sealed,
    trail: Trail,
    *,
    signing_key: str | None = None,
    recoverers: Collection[str] = (),
    hash_of: HashOf | None = None,
    altered: Sequence[str] = (),
) -> Reconciliation:
    """Compare; everything that was found is in the result.

    Args:
        sealed: the log.
        trail: the backend's trail.
        signing_key: the checkpoint key as the trail names it; None: every signature of the trail counts.
        recoverers: who may recover secrets, as the trail names them; nobody named: anybody but the agent.
        hash_of: the HMAC that stands for a text in the trail, if that can be asked.
        altered: files of the trail that are not as their signed digests say.

    Raises:
        Denied, Unavailable, BackendError: `hash_of` was refused.
    """
    comparison = _Comparison(sealed, trail, signing_key, recoverers, hash_of)
    return comparison.result(altered)


class _Comparison:
    def __init__(
        self,
        sealed: Sealed,
        trail: Trail,
        signing_key: str | None,
        recoverers: Collection[str],
        hash_of: HashOf | None,
    ) -> None:
        self._sealed = sealed
        self._trail = trail
        self._recoverers = {*recoverers, *map(_principal, recoverers)}
        self._hash_of = hash_of
        self._names_signing_key = signing_key is not None
        self._keys = {_key_name(header.key) for header in sealed.headers}
        self._problems: list[TrailFinding] = []
        self._notes: list[TrailFinding] = []
        calls = with_contexts(trail.calls, sealed, hash_of)
        self._hidden = [
            call
            for call in calls
            if call.hidden and call.context is None and call.key in self._keys and not call.refused
        ]
        self._issued = [
            call for call in calls if self._is_own(call) and call.operation == "issue" and not call.refused
        ]
        epochs = (call.context.epoch for call in self._issued if call.context is not None)
        self._highest = list(accumulate(epochs, max))
        self._elsewhere = [
            call
            for call in calls
            if call.operation == "issue"
            and call.key in self._keys
            and not call.refused
            and call.context is not None
            and call.context.origin == sealed.origin
            and call.context.log not in {sealed.log, sealed.random, _PROBE_LOG}
            # Of a log whose first line has expired nobody knows what its first call named.
            and (call.context.epoch > 0 or sealed.random)
        ]
        signed = [
            call
            for call in calls
            if call.operation == "sign" and not call.refused and signing_key in (None, call.key)
        ]
        self._signatures = Signatures(sealed, signed, trail.resolution, hash_of)
        keys = self._keys | {signing_key} | self._signatures.keys()
        self._others = [
            call for call in calls if self._is_own(call) or call.key in keys or call.operation == "record"
        ]
        self._matched = 0

    def result(self, altered: Sequence[str]) -> Reconciliation:
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
        return Reconciliation(
            verdict=outcome_of(self._problems, self._matched),
            origin=sealed.origin,
            log=sealed.log,
            epochs=len(sealed.headers),
            matched=self._matched,
            calls=len(self._issued),
            files=trail.files,
            first=trail.first,
            last=trail.last,
            problems=self._problems,
            notes=self._notes,
        )

    def _is_own(self, call: Call) -> bool:
        return call.context is not None and self._sealed.is_own(call.context)

    def _compare(self) -> None:
        of_context: dict[TrailContext, list[Call]] = defaultdict(list)
        for call in self._issued:
            if call.context is not None:
                of_context[call.context].append(call)
        waiting = {context: WaitingCalls(calls) for context, calls in of_context.items()}
        adopted = self._adopt(waiting)
        left = sorted((call for calls in waiting.values() for call in calls.left()), key=lambda call: call.at)
        self._signatures.look_for(
            {call.context.prev for call in (*left, *adopted.values()) if call.context is not None}
        )
        self._explain(left, adopted)
        self._look_at_signatures(adopted)
        self._look_at_others()
        self._look_at_keys()
        unread = Counter(call.operation for call in self._hidden)
        if unread["issue"]:
            detail = f"{unread['issue']} issue calls; name the audit device with --audit-hash"
            self._problem("hidden_context", detail)

    def _adopt(self, waiting: dict[TrailContext, WaitingCalls]) -> dict[int, Call]:
        """Give each epoch line its call, taken out of `waiting`."""
        adopted: dict[int, Call] = {}
        issuing = [call for call in self._others if call.operation == "issue" and not call.refused]
        if not issuing and not self._hidden:
            self._problem("trail_silent", f"of the keys {', '.join(sorted(self._keys))}")
        of_epoch: dict[int, list[TrailContext]] = defaultdict(list)
        for context in waiting:
            of_epoch[context.epoch].append(context)
        for header in self._sealed.headers:
            if calls := waiting.get(context_of(header)):
                if (call := self._adopted(header, calls)) is not None:
                    adopted[header.epoch] = call
                    self._matched += 1
            elif issuing:
                self._not_issued(header, waiting, of_epoch[header.epoch])
        return adopted

    def _adopted(self, header: Header, calls: WaitingCalls) -> Call | None:
        """The call that gave what the epoch line holds; where the trail does not show that, the last one."""
        wrapped = b64decode(header.wrapped, "wrapped").decode("ascii", "replace")
        hashed = self._hash_of(wrapped) if self._hash_of is not None and calls.any_hashed() else ""
        if (call := calls.take(wrapped, hashed)) is not None:
            return call
        other = calls.last()
        self._problem(
            "other_secret", f"issued at {format_time(other.time)}", header.epoch, other.time, other.who
        )
        return None

    def _not_issued(
        self, header: Header, waiting: dict[TrailContext, WaitingCalls], contexts: list[TrailContext]
    ) -> None:
        # What has no call left gets none any more: it is passed over once, however many lines come here.
        while contexts and not waiting[contexts[-1]]:
            contexts.pop()
        other = waiting[contexts[-1]].last() if contexts else None
        if not self._trail.covers(header.time):
            covered = f"{format_time(self._trail.first)} to {format_time(self._trail.last)}"
            self._problem("not_covered", f"the trail has {covered}", header.epoch, header.time)
        elif other is not None and other.context is not None:
            detail = f"the log quotes {header.asked.tag}, the backend was told {other.context.prev}"
            self._problem("other_prev", detail, header.epoch, other.time, other.who)
        elif not self._hidden:
            self._problem(
                "sealed_not_issued", f"begun at {format_time(header.time)}", header.epoch, header.time
            )

    # --- calls that no epoch line quotes --------------------------------------------------------------------

    def _explain(self, left: list[Call], adopted: dict[int, Call]) -> None:
        headers = {header.epoch: header for header in self._sealed.headers}
        first, last = min(headers), max(headers)
        allowed = self._listed()
        counted: Counter[str] = Counter()
        for call in left:
            assert call.context is not None  # noqa: S101  # for the type checker: own calls have one
            epoch = call.context.epoch
            if epoch < first:
                if not self._went_back(call, epoch):
                    counted["expired"] += 1
                continue
            if epoch in headers and epoch not in adopted:
                # This epoch line has no call of its own, and that was reported already.
                continue
            next_call = adopted.get(epoch)
            if not self._came_to_nothing(call, last, next_call):
                continue
            if allowed[call.context] > 0:
                allowed[call.context] -= 1
                counted["abandoned"] += 1
            else:
                self._tell_unlisted(call, headers.get(epoch))
        for kind, count in counted.items():
            self._note(kind, f"{count} calls")

    def _listed(self) -> Counter[TrailContext]:
        """The calls that epoch lines say came to nothing, and how many of each."""
        listed: Counter[TrailContext] = Counter()
        for header in self._sealed.headers:
            for item in header.abandoned:
                listed[context_of(header, item.tag)] += item.calls
        return listed

    def _tell_unlisted(self, call: Call, header: Header | None) -> None:
        """Tell of a call with which nothing was sealed, and that no epoch line lists."""
        assert call.context is not None  # noqa: S101  # for the type checker: own calls have one
        at, epoch = f"at {format_time(call.time)}", call.context.epoch
        if header is None:
            self._note("not_adopted", at, epoch, call.time, call.who)
        elif header.link == "carry":
            # Whoever has the carry has the list as well.
            self._lost(call, epoch, f"issued {at}, and the epoch line does not list it as abandoned")
        else:
            self._problem("issued_unlisted", f"{at}, link {header.link}", epoch, call.time, call.who)

    def _went_back(self, call: Call, epoch: int) -> bool:
        """Whether a later epoch had its secret before; told if so. Nothing else shows of expired epochs."""
        before = bisect_left(self._issued, call.at - self._trail.resolution, key=lambda other: other.at)
        last = self._highest[before - 1] if before else epoch
        if last > epoch:
            at = format_time(call.time)
            self._lost(call, epoch, f"issued at {at}, when epoch {last} had been issued")
        return last > epoch

    def _came_to_nothing(self, call: Call, last: int, adopted: Call | None) -> bool:
        """Whether nothing can have been sealed with what this call gave; told if not."""
        assert call.context is not None  # noqa: S101  # for the type checker: own calls have one
        epoch, prev = call.context.epoch, call.context.prev
        at = format_time(call.time)
        if epoch > last + 1:
            self._lost(call, epoch, f"issued at {at}, the log ends with epoch {last}")
        elif self._signatures.line_of(prev) is None:
            self._lost(call, epoch, f"issued at {at} at tag {prev}, which no line of the log has")
        elif adopted is not None and call.at > adopted.at + self._trail.resolution:
            self._lost(call, epoch, f"issued at {at}, when the log's own epoch had its secret")
        elif (signed := self._signatures.after(call, adopted)) == "yes":
            what = "before the log's own secret was issued" if adopted is not None else "after it"
            self._lost(call, epoch, f"issued at {at}, and something else was signed {what}")
        elif signed == "unclear":
            detail = f"issued at {at}; signatures in the same second, or more than the log has lines for"
            self._problem("order_unclear", detail, epoch, call.time, call.who)
        else:
            return True
        return False

    def _lost(self, call: Call, epoch: int, detail: str) -> None:
        self._problem("issued_not_sealed", detail, epoch, call.time, call.who)

    # --- what was signed, who recovered, who was refused, what happened to the keys -------------------------

    def _look_at_signatures(self, adopted: dict[int, Call]) -> None:
        since = self._elsewhere[0].at if self._elsewhere else None
        for call in self._signatures.unknown():
            # Checkpoints do not name the log's id: these may be of another log that has the same origin.
            kind = "signed_not_sealed" if since is None or call.at < since else "signed_unclear"
            self._problem(kind, f"at {format_time(call.time)}", -1, call.time, call.who)
        for size, count in self._signatures.repeated():
            self._note("signed_twice", f"{count} signatures over {size} lines")
        begun = adopted.get(self._sealed.headers[0].epoch)
        own = self._signatures.keys()
        # Checkpoints that were signed before the first epoch of the log are over lines that have expired.
        for call in self._signatures.unmatched(begun.at) if begun is not None else ():
            if self._names_signing_key or (call.message.plain and call.key in own):
                self._problem("signed_unclear", f"at {format_time(call.time)}", -1, call.time, call.who)
        if self._elsewhere:
            last = self._elsewhere[-1]
            detail = f"{len(self._elsewhere)} calls, the last at {format_time(last.time)}"
            self._note("other_log", detail, -1, last.time, last.who)

    def _look_at_keys(self) -> None:
        changed: dict[tuple[str, str, str, str], list[Call]] = defaultdict(list)
        for call in self._others:
            at = format_time(call.time)
            if call.refused:
                continue
            if call.operation == "wrap":
                epoch = call.context.epoch if call.context is not None else -1
                self._problem("wrapped_by_hand", f"with {call.key} at {at}", epoch, call.time, call.who)
            elif call.operation == "export":
                self._problem("key_exported", f"{call.key} at {at}", -1, call.time, call.who)
            elif call.operation in {"change", "record"}:
                kind = "key_changed" if call.operation == "change" else "trail_changed"
                changed[kind, call.who, call.key, call.detail].append(call)
        for (kind, who, key, what), calls in changed.items():
            detail = f"{key}: {what}, {len(calls)} calls, the last at {format_time(calls[-1].time)}"
            self._note(kind, detail, -1, calls[-1].time, who)
        issuers = Counter(call.who for call in self._issued)
        if len(issuers) > 1:
            detail = ", ".join(f"{who}: {count} calls" for who, count in sorted(issuers.items()))
            self._note("issuers", detail)

    def _look_at_others(self) -> None:
        agents = {_principal(call.who) for call in self._issued}
        recovered: dict[str, list[Call]] = defaultdict(list)
        denied: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in self._others:
            if call.refused:
                denied[call.who, call.operation].append(call)
            elif call.operation == "recover":
                recovered[call.who].append(call)
        for who, calls in recovered.items():
            kind, tell = "recovered", self._note
            if _principal(who) in agents:
                kind, tell = "recovered_by_agent", self._problem
            elif self._recoverers and not {who, _principal(who)} & self._recoverers:
                kind, tell = "recovered_by_stranger", self._problem
            span = f"{format_time(calls[0].time)} to {format_time(calls[-1].time)}"
            epochs = sorted({call.context.epoch for call in calls if call.context is not None})
            which = f", epochs {epochs[0]} to {epochs[-1]}" if epochs else ""
            tell(kind, f"{len(calls)} calls, {span}{which}", -1, calls[0].time, who)
        for (who, operation), calls in denied.items():
            detail = f"{len(calls)} calls to {operation}: {calls[-1].refused[:200]}"
            self._note("denied", detail, -1, calls[-1].time, who)

    def _problem(self, kind: str, detail: str, epoch: int = -1, time: int = 0, who: str = "") -> None:
        self._problems.append(TrailFinding(kind, epoch, time, who, detail))

    def _note(self, kind: str, detail: str, epoch: int = -1, time: int = 0, who: str = "") -> None:
        self._notes.append(TrailFinding(kind, epoch, time, who, detail))


def _key_name(key_id: str) -> str:
    """The key of an epoch line as its trail names it: `vault:vN:MOUNT/KEY` is `MOUNT/KEY` there."""
    return key_id.split(":", 2)[2] if key_id.startswith("vault:") else key_id


def _principal(who: str) -> str:
    """The role behind a session of AWS STS: whoever may assume it chooses the session's name."""
    match = _SESSION.fullmatch(who)
    return match[1] if match is not None else who
