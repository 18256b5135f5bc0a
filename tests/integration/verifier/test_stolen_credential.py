"""A thief with the agent's credential and a copy of the log, but no carry, at every boundary of epochs.

The thief issues and signs as the agent does, and knows every byte on disk. What only the agent's memory held
is missing: the key after an `end`, so the carry; and the key of any line, so that no epoch can be ended that
is not ended already.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from epochseal.format.seal_lines import Link
from epochseal.verifier import Verdict
from tests.integration.logs import Log, LogKeys, LogWriter, entry, write_log
from tests.integration.verifier.attacks import cut_epoch

EPOCHS = 6
LINKS: tuple[Link, ...] = ("carry", "cold")


@pytest.fixture(scope="module")
def honest(keys: LogKeys, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """35 entries in six epochs and three segments, closed."""
    return write_log(tmp_path_factory.mktemp("honest") / "log", keys)


class Thief:
    """Works on a copy of the log, cut behind the `end` of one epoch."""

    def __init__(self, honest: Log, path: Path, kept: int) -> None:
        """Keep `kept` epochs, their entries, and the checkpoints that stand among their lines."""
        self.log = replace(honest, path=path)
        self.kept = kept
        shutil.copytree(honest.path, path)
        for number in range(EPOCHS - 1, kept - 1, -1):
            self._drop(number)
        (path / "checkpoint").unlink()

    def _drop(self, number: int) -> None:
        segment = number // 2
        seal, content = self.log.files("seal")[segment], self.log.files("log")[segment]
        items = seal.read_bytes().splitlines(keepends=True)
        cut_epoch(items, number)
        seal.write_bytes(b"".join(items))
        content.write_bytes(b"".join(content.read_bytes().splitlines(keepends=True)[: 6 * (number % 2)]))
        if not items:
            seal.unlink()
            content.unlink()

    def write(self, link: Link, *, epochs: int, change: bytes = b"") -> Verdict:
        """Go on with epochs of the thief's own, linked to one another by a carry that the thief does know."""
        before = 6 * self.kept
        writer = LogWriter.after(self.log.path, self.log.keys, "thief", time=self.log.now, signs=True)
        writer.start(link)
        for number in range(epochs):
            if number:
                writer.turn()
            first = before + 6 * number
            writer.block(*(change + entry(at) for at in range(first, max(min(first + 6, 35), first + 1))))
        writer.end()
        return replace(self.log, now=writer.time + 1000).verify("keys")


@pytest.mark.parametrize("kept", range(1, EPOCHS))
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("what", ["fork", "rewrite", "same entries"])
def test_fork_at_a_boundary(honest: Log, tmp_path: Path, kept: int, link: Link, what: str) -> None:
    """Cut there and go on: with one foreign epoch, with all that followed in other words, or word by word."""
    thief = Thief(honest, tmp_path / "log", kept)
    epochs = 1 if what == "fork" else EPOCHS - kept
    verdict = thief.write(link, epochs=epochs, change=b"" if what == "same entries" else b"not ")
    assert verdict.exit_status == (3 if link == "cold" else 1)
    # The secret that the epoch before announced is not the thief's.
    expected = {"carry": {"link_broken", "epoch_unsigned"}, "cold": {"cold_start"}}[link]
    assert {(item.kind, item.first_entry) for item in verdict.problems} == {
        (kind, 6 * kept) for kind in expected
    }


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("kept", range(EPOCHS))
def test_epoch_that_was_never_ended(honest: Log, tmp_path: Path, link: Link, kept: int) -> None:
    """Cut within an epoch, where there is no `end`, and go on: no link is accepted without a word."""
    thief = Thief(honest, tmp_path / "log", kept + 1)
    seal = thief.log.files("seal")[-1]
    items = seal.read_bytes().splitlines(keepends=True)
    last = max(place for place, line in enumerate(items) if line.startswith(b"end "))
    seal.write_bytes(b"".join(items[:last]))
    verdict = thief.write(link, epochs=1)
    assert verdict.exit_status == (3 if link == "cold" else 1)


@pytest.mark.parametrize("link", LINKS)
def test_continued_after_a_clean_close(honest: Log, tmp_path: Path, link: Link) -> None:
    """A reboot of the agent goes on with the carry of the close; what a thief writes there is none."""
    thief = Thief(honest, tmp_path / "log", EPOCHS)
    verdict = thief.write(link, epochs=1)
    expected = {"carry": "link_broken", "cold": "cold_start"}[link]
    assert verdict.exit_status == (3 if link == "cold" else 1)
    assert [(item.kind, item.first_entry) for item in verdict.problems] == [(expected, 35)]


def test_genesis_again(honest: Log, tmp_path: Path) -> None:
    """Everything replaced by a log of the thief's own has another id: that is what a trust file pins."""
    thief = replace(honest, path=tmp_path / "log")
    writer = LogWriter(thief.path, honest.keys, "thief").start("genesis").block(*map(entry, range(35))).end()
    verdict = replace(thief, now=writer.time + 1000).verify("keys")
    assert verdict.exit_status == 0
    assert verdict.log != honest.verify("keys").log
