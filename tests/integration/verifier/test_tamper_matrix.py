"""The tamper matrix: every attack of `attacks.ATTACKS` on a log that the real agent sealed, in both modes.

The same attacks on a written log, as files, are the vectors of tests/vectors/log.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tests.integration.logs import MODES, Log, LogKeys, LogWriter, Mode, entry, sealed_log, write_log
from tests.integration.verifier import (
    attacks_on_checkpoints,
    attacks_on_entries,
    attacks_on_epochs,
    attacks_on_lines,
)
from tests.integration.verifier.attacks import ATTACKS, at, entries, lines

LOADED = (attacks_on_entries, attacks_on_lines, attacks_on_checkpoints, attacks_on_epochs)
"""Importing them is what fills `ATTACKS`."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, keys: LogKeys) -> Log:
    """The log that is attacked, sealed by `epochseal seal`."""
    return sealed_log(tmp_path_factory.mktemp("sealed") / "log", keys)


@pytest.fixture
def log(sealed: Log, tmp_path: Path) -> Log:
    """A copy to attack."""
    shutil.copytree(sealed.path, tmp_path / "log")
    return replace(sealed, path=tmp_path / "log")


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_seen_with_its_range(name: str, log: Log) -> None:
    """A verifier with keys and one without say exactly what this attack's entry in the table says."""
    ATTACKS[name].run(log)
    for mode in MODES:
        ATTACKS[name].check(log, mode)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_is_verified_without_a_reason(name: str) -> None:
    """Where a verdict on an attacked log is `verified`, the table says why no verifier could see more."""
    attack = ATTACKS[name]
    honest = name == "honest" or attack.desc.startswith("honest: ")
    if not honest and "verified" in {attack.keys.verdict, attack.public.verdict}:
        assert attack.limit
    if honest:
        assert attack.keys.verdict == attack.public.verdict == "verified"


@pytest.mark.parametrize("mode", MODES)
def test_writer_and_agent_make_the_same_log(keys: LogKeys, sealed: Log, tmp_path: Path, mode: Mode) -> None:
    """The written log that the vectors are made of has the shape of one that the agent sealed."""
    written = write_log(tmp_path / "log", keys)
    assert [len(path.read_bytes()) for path in written.files("log")] == [276, 276, 253]
    for left, right in zip(written.files("seal"), sealed.files("seal"), strict=True):
        assert _shape(left) == _shape(right)
    first, second = written.verify(mode), sealed.verify(mode)
    for name in (
        "verdict",
        "entries",
        "bytes",
        "epochs",
        "segments",
        "signed_entries",
        "tree_size",
        "closed",
    ):
        assert getattr(first, name) == getattr(second, name)


def _shape(path: Path) -> list[list[bytes]]:
    found = [line.split(b" ") for line in path.read_bytes().splitlines() if not line.startswith(b"note ")]
    return [line[:6] if line[0] == b"block" else line[:2] for line in found]


@pytest.mark.parametrize("mode", MODES)
def test_zstandard(log: Log, mode: Mode) -> None:
    """Logs compressed with zstd verify; an edit, a cut, more data, another frame and garbage are seen."""
    whole = log.files("log")[0].read_bytes()
    log.files("log")[0].unlink()
    path = log.files("seal")[0].with_suffix(".log.zst")
    pack = zstandard.ZstdCompressor().compress
    more = b"a foreign line\n"
    for data, kinds in (
        (pack(whole), set()),
        (pack(whole[:50]) + pack(whole[50:]), set()),
        (pack(whole.replace(b"0007", b"0008")), {"entries_altered"}),
        (pack(whole)[:-9], {"entries_altered", "entries_missing", "foreign_bytes"}),
        (pack(whole + more), {"foreign_bytes"}),
        (pack(whole) + pack(more), {"foreign_bytes"}),
        (pack(whole) + more, {"foreign_bytes"}),
    ):
        path.write_bytes(data)
        verdict = log.verify(mode)
        assert verdict.verdict == ("tampered" if kinds else "verified"), data
        assert {item.kind for item in verdict.problems} <= kinds


@pytest.mark.parametrize("mode", MODES)
def test_several_processes_find_the_same(keys: LogKeys, tmp_path: Path, mode: Mode) -> None:
    """A segment of many epochs, checked by two processes: the same verdict and problems as by one."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    for number in range(240):
        writer.block(entry(number))
        if number % 3 == 2:
            writer.turn("segment" if number == 200 else "entries")
    writer.end()
    log = Log(writer.logdir, keys, writer.time)
    assert log.files("seal")[0].stat().st_size > 1 << 16
    assert log.verify(mode, jobs=2) == log.verify(mode)
    assert log.verify(mode).verdict == "verified"
    entries(log, 1, lambda items: items.__delitem__(150))
    lines(log, 1, lambda items: items.__delitem__(at(items, b"block 25 ")))
    one, two = log.verify(mode), log.verify(mode, jobs=2)
    assert (one.verdict, two.verdict) == ("tampered", "tampered")
    damaged = {item.first_entry for item in two.problems}
    assert {12, 150} <= damaged
    assert {item.first_entry for item in one.problems} <= damaged
