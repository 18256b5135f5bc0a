"""Segments whose files are gone each time: for how long it is looked again, what is said of witnesses."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from epochseal.format.cosignature import WitnessKey, cosign
from epochseal.format.note import Note, parse_note
from epochseal.format.witness_policy import Policy, Witness, threshold_policy
from epochseal.storage import settling
from epochseal.storage.segments import Listing, list_segments
from tests.reference.maker import Maker
from tests.reference.scenarios import closed, entries
from tests.unit.verifier.judging import ask, kinds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes on by a tenth of a second whenever it is asked, and pauses that take no time."""
    made = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        made.now += 0.1
        return float(made.now)

    monkeypatch.setattr(settling, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(settling, "_PAUSE_SECONDS", 0.0)
    return made


@pytest.fixture
def three(log: Maker) -> Maker:
    """A log of three segments, each closed."""
    entries(closed(log).begin("carry")).close()
    return entries(log.begin("carry")).close()


def lose(log: Maker, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the names are listed, this segment is there, and its seal file is gone when it is opened."""
    listing = list_segments(log.path)
    next(log.path.glob(f"segments/{number:06}-*.seal")).unlink()

    def stale(_: object) -> Listing:
        return listing

    monkeypatch.setattr(import_module("epochseal.verifier.snapshot"), "list_segments", stale)


def cosigned(log: Maker, name: str) -> tuple[Policy, bytes]:
    """A policy of one witness of that name, and the file `checkpoint` with its cosignature."""
    private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))
    key = WitnessKey(name, private.public_key().public_bytes_raw())
    note = parse_note((log.path / "checkpoint").read_bytes())
    signed = Note(note.text, (*note.signatures, cosign(note.text, log.time // 1000, key, private.sign)))
    return threshold_policy([Witness(name, key)], 1), signed.encode()


def test_it_is_looked_again_for_three_seconds_in_all(
    three: Maker, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for which a snapshot was waited for is not had once more where its files are read."""
    lose(three, 3, monkeypatch)
    assert kinds(ask(three)) == {"unsettled"}
    assert settling.SETTLE_SECONDS < clock.now < settling.SETTLE_SECONDS + 0.6


@pytest.mark.usefixtures("clock")
def test_who_witnessed_what_does_not_settle_is_not_asked(
    three: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quorum cosigned lines of the last segment, which nobody can read: nothing is said of witnesses."""
    policy, note = cosigned(three, "w1")
    stranger, other = cosigned(three, "w2")
    file = three.path / "witnessed"
    file.write_bytes(note)
    assert ask(three, policy=policy).verdict.witnessed_by
    lose(three, 3, monkeypatch)
    found = ask(three, policy=policy)
    assert (found.verdict.verdict, kinds(found)) == ("incomplete", {"unsettled"})
    assert not found.verdict.witnessed_by
    # Those whom the policy does not name, or nobody, are as little witnesses as ever.
    file.write_bytes(other)
    assert kinds(ask(three, policy=policy)) == {"unsettled", "not_witnessed"}
    assert kinds(ask(three, policy=stranger)) == {"unsettled"}
    file.unlink()
    assert kinds(ask(three, policy=policy)) == {"unsettled", "not_witnessed"}


@pytest.mark.usefixtures("clock")
def test_what_settles_is_asked_as_ever(three: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The witnessed lines stand where all can be read; what was left out is another segment."""
    policy, note = cosigned(three, "w1")
    (three.path / "witnessed").write_bytes(note)
    lose(three, 2, monkeypatch)
    found = ask(three, policy=policy)
    assert kinds(found) == {"unsettled"}
    assert found.verdict.witnessed_by


@pytest.mark.usefixtures("clock")
def test_a_pair_that_is_removed_and_made_again_all_the_time(
    three: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list may hold the old names and the new ones: that is no number that is there twice."""
    now = list_segments(three.path).segments
    older = replace(now[-1], stem=f"{now[-1].stem[:-2]}9Z")
    lists = [Listing(now, ()), Listing((*now, older), ())]

    def turned(_: object) -> Listing:
        lists.reverse()
        return lists[0]

    monkeypatch.setattr(import_module("epochseal.verifier.snapshot"), "list_segments", turned)
    assert kinds(ask(three)) == {"unsettled"}


@pytest.mark.usefixtures("clock")
def test_a_folder_that_is_about_to_be_put_in_its_place(three: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that cannot exchange two folders renames them: for a moment there is none, which passes."""
    listing = list_segments(three.path)
    lists = [Listing((), ())]

    def late(_: object) -> Listing:
        return lists.pop() if lists else listing

    monkeypatch.setattr(import_module("epochseal.verifier.snapshot"), "list_segments", late)
    assert ask(three).verdict.verdict == "verified"
