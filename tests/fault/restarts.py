"""What tests of restarts share: agents that are killed and started again, and what is then to be found."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from epochseal.storage.segments import list_segments
from epochseal.verifier import Verdict
from tests.integration.agents import Place, kinds, warnings

ONE, TWO, THREE, FOUR = (b"entry %d, as it was sent\n" % number for number in range(1, 5))


class Copy:
    """Directories as they are at one moment, to be put back later."""

    def __init__(self, name: str, *directories: Path) -> None:
        self._pairs = [(path, path.with_name(f"{path.name}-{name}")) for path in directories]
        for path, kept in self._pairs:
            shutil.copytree(path, kept)

    def put_back(self) -> None:
        """Replace what is there now; a copy can be put back many times."""
        for path, kept in self._pairs:
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(kept, path)

    def drop(self) -> None:
        """Delete the copies."""
        for _, kept in self._pairs:
            shutil.rmtree(kept)


def crash(
    place: Place, *entries: bytes, keep: Path | None = None, options: Sequence[str] = ()
) -> Copy | None:
    """An agent seals two entries and is killed; a copy of `keep` is made between the two."""
    copy = None
    with place.agent(*place.resuming, *options) as agent:
        agent.send(entries[0])
        if keep is not None:
            copy = Copy("older", keep)
        agent.send(*entries[1:])
        agent.kill()
    return copy


def go_on(place: Place, *entries: bytes, resuming: bool = True, options: Sequence[str] = ()) -> str:
    """A new agent seals some more and closes the log; what it said on stderr."""
    with place.agent(*(place.resuming if resuming else ()), *options) as agent:
        if entries:
            agent.send(*entries)
        assert agent.end() == 0
        return agent.said


def links(place: Place) -> list[str]:
    """How each epoch says that it is linked."""
    found = b"".join(item.seal.read_bytes() for item in list_segments(place.log).segments if item.seal)
    return [part.split(b'"', 1)[0].decode() for part in found.split(b'"link":"')[1:]]


def check_gapless(place: Place, *entries: bytes) -> None:
    """These entries, and nothing to say about them."""
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
    assert place.entries() == b"".join(entries)
    assert verdict.entries == len(entries)


def check_convicted(place: Place, said: str, *more: str) -> Verdict:
    """The start said that the disk is not what it was, and its epoch line denies it."""
    assert "the log is not what it was" in said
    verdict = place.verify()
    assert verdict.verdict == "tampered"
    cold = ["cold_start"] if links(place)[-1] == "cold" else []
    assert sorted(kinds(verdict)) == sorted(["tampered_at_start", *cold, *more])
    return verdict


def check_cold(place: Place, said: str, *more: str) -> Verdict:
    """The start was cold and said so, and that makes the log incomplete, not tampered."""
    assert "this start is cold" in said
    assert links(place)[-1] == "cold"
    verdict = place.verify()
    assert verdict.verdict == "incomplete"
    assert sorted(kinds(verdict)) == sorted(["cold_start", *more])
    return verdict
