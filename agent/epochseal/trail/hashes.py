"""Find what stands behind the HMACs of a trail, by asking for those of what the log has.

An audit device hashes with its salt: nothing can be read back, but a text that is known can be compared
(Vault documentation, `sys/audit-hash`). So each call's context is looked for among those that the log itself
quotes, then among those that an agent could have quoted at that time and that came to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from epochseal.encoding import b64decode, b64encode
from epochseal.errors import FormatError
from epochseal.examiner import PROBE_LOG
from epochseal.format.seal_lines import ZERO_TAG
from epochseal.keys import Context
from epochseal.trail.events import Call, TrailContext
from epochseal.trail.sealed import Sealed, context_of

HashOf = Callable[[str], str]
_MOST_TAGS = 20_000
_ZERO_TAG = b64encode(ZERO_TAG)


def with_contexts(calls: list[Call], sealed: Sealed, hash_of: HashOf | None) -> list[Call]:
    """The calls, with the contexts that could be found behind their HMACs.

    Raises:
        Denied, Unavailable, BackendError: the server does not tell the HMAC of a text.
    """
    if hash_of is None or not sealed.headers or not any(call.hidden for call in calls):
        return calls
    known = {hash_of(_encoded(context)): context for context in _of_the_log(sealed)}
    found = [_with(call, known) for call in calls]
    missing = [
        call
        for call in found
        if call.operation == "issue" and call.hidden and call.context is None and not call.refused
    ]
    if not missing:
        return found
    for number, context in enumerate(_that_came_to_nothing(sealed, missing)):
        if number >= _MOST_TAGS:
            break
        known[hash_of(_encoded(context))] = context
    return [_with(call, known) for call in found]


def _with(call: Call, known: dict[str, TrailContext]) -> Call:
    if call.context is not None or not call.hidden:
        return call
    return replace(call, context=next((known[text] for text in call.hidden if text in known), None))


def _of_the_log(sealed: Sealed) -> Iterator[TrailContext]:
    yield TrailContext(sealed.origin, b64encode(PROBE_LOG), 0, _ZERO_TAG)
    for header in sealed.headers:
        for tag in (header.asked.tag, *(item.tag for item in header.abandoned)):
            yield context_of(header, tag)


def _that_came_to_nothing(sealed: Sealed, calls: list[Call]) -> Iterator[TrailContext]:
    times = [header.time for header in sealed.headers]
    last = sealed.headers[-1].epoch
    epochs: set[int] = set()
    for call in calls:
        place = bisect_left(times, call.time)
        # The call was for the epoch that began next. By how much the clocks of agent and server differ is not
        # known, so the epochs beside it are tried too.
        for near in (place - 1, place, place + 1):
            if 0 <= near <= len(times):
                epochs.add(sealed.headers[near].epoch if near < len(times) else last + 1)
    for epoch in sorted(epochs, reverse=True):
        for tag in reversed(sealed.tags_of(epoch)):
            yield TrailContext(sealed.origin, sealed.log if epoch else sealed.random, epoch, tag)


def _encoded(context: TrailContext) -> str:
    """The text that transit is given: base64 of the one string of a context."""
    try:
        log, prev = b64decode(context.log, "log"), b64decode(context.prev, "prev")
        return b64encode(Context(context.origin, log, context.epoch, prev).encode())
    except FormatError:
        return ""
