"""A trail that shows what was signed: each signature is held against the lines that an agent signs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import Checkpoint
from epochseal.trail import Reconciliation, read_sealed, reconcile
from epochseal.trail.events import MILLISECOND, SECOND, Call, Shown, Trail
from epochseal.trail.sealed import Sealed, context_of
from tests.integration.trail.test_reconcile_cloudtrail import entry, write
from tests.reference.keys import Keys, hashed
from tests.reference.maker import Maker

SIGNING = "transit/checkpoint"


def signature(origin: str, size: int, root: bytes, at: int) -> Call:
    """A call to sign a checkpoint."""
    message = b64encode(Checkpoint(origin, size, root).text().encode())
    return Call("sign", at, "agent", SIGNING, f"sign {size} {at}", message=Shown(message))


def trail_of(sealed: Sealed) -> Trail:
    """What an honest agent leaves: its calls in the order of the lines, a second apart."""
    lines: list[tuple[int, Call]] = []
    for header in sealed.headers:
        call = Call("issue", 0, "agent", header.key, f"issue {header.epoch}", context_of(header))
        lines.append((header.asked.line * 2 + (header.epoch > 0), call))
    lines += [(size * 2, signature(sealed.origin, size, sealed.roots[size], 0)) for size in sealed.owed]
    began = sealed.headers[0].time * MILLISECOND - 10 * SECOND
    ordered = [call for _, call in sorted(lines, key=lambda item: item[0])]
    calls = [
        replace(call, at=began + number * SECOND, id=f"{sealed.log} {number}")
        for number, call in enumerate(ordered)
    ]
    span = sealed.headers[0].time - 60_000, sealed.headers[-1].time + 60_000
    return Trail(calls, {"vault"}, 0, [span])


def kinds(result: Reconciliation) -> list[str]:
    """Of the problems."""
    return [item.kind for item in result.problems]


@pytest.fixture
def sealed(keys: Keys, tmp_path: Path) -> Sealed:
    """Three epochs, a close, a start by the carry, a close."""
    writer = write(tmp_path / "log", keys, epochs=3).close()
    writer.begin("carry").block(entry(3)).close()
    return read_sealed(tmp_path / "log")


def test_all_signatures_of_an_honest_log(sealed: Sealed) -> None:
    """Starts, sign lines and closes: each is over a tree of the log, and nothing else is signed."""
    assert len(sealed.owed) == 1 + 2 + 1 + 1 + 1
    result = reconcile(sealed, trail_of(sealed))
    assert (result.verdict, kinds(result), result.notes) == ("clean", [], [])


def test_signed_twice_is_told(sealed: Sealed) -> None:
    """An agent that lost the answer asks again, also after a resume: a note, and no problem."""
    trail = trail_of(sealed)
    size = sealed.owed[1]
    trail.calls.append(signature(sealed.origin, size, sealed.roots[size], trail.calls[-1].at + SECOND))
    result = reconcile(sealed, trail)
    assert (result.verdict, [item.kind for item in result.notes]) == ("clean", ["signed_twice"])


def test_signed_where_nobody_signs(sealed: Sealed) -> None:
    """The right root at a size that no agent has signed: somebody else has the credential."""
    lines = [
        raw for path in sealed.paths for raw in path.read_bytes().splitlines() if not raw.startswith(b"note ")
    ]
    assert lines[1].startswith(b"block 1 ")
    tree = Frontier()
    tree.extend(leaf_hash(raw.rpartition(b" ")[0]) for raw in lines[:2])
    trail = trail_of(sealed)
    trail.calls.append(signature(sealed.origin, 2, tree.root(), trail.calls[-1].at + SECOND))
    assert kinds(reconcile(sealed, trail)) == ["signed_not_sealed"]


def test_signed_over_other_lines(sealed: Sealed) -> None:
    """A tree of this origin that the log does not have: it was set back or forked."""
    trail = trail_of(sealed)
    trail.calls.append(signature(sealed.origin, 3, hashed("another"), trail.calls[-1].at + SECOND))
    assert kinds(reconcile(sealed, trail)) == ["signed_not_sealed"]


def test_the_first_call_names_the_random_of_the_first_line(sealed: Sealed) -> None:
    """Epoch 0 was issued for it, all others for the id: both are calls of this log."""
    contexts = [call.context for call in trail_of(sealed).calls if call.context is not None]
    assert [item.log for item in contexts] == [sealed.random, *[sealed.log] * 3]
    assert all(map(sealed.is_own, contexts))
    assert not sealed.is_own(replace(contexts[1], log=sealed.random))


def test_a_log_made_anew_leaves_the_calls_of_the_old_one(sealed: Sealed, keys: Keys, tmp_path: Path) -> None:
    """Whoever began it again under the same origin: the trail has calls for the old id."""
    anew = Maker(tmp_path / "anew", keys, "anew", time=sealed.headers[-1].time).begin("genesis")
    anew.block(entry(0)).close()
    found = read_sealed(tmp_path / "anew")
    old, new = trail_of(sealed), trail_of(found)
    result = reconcile(found, Trail(old.calls + new.calls, {"vault"}, 0, old.spans + new.spans))
    assert [item.kind for item in result.notes] == ["other_log"]
    assert set(kinds(result)) == {"signed_unclear"}
