"""The tamper matrix: every attack of `attacks.ATTACKS` on a log that the real agent sealed, in both modes.

The same attacks on a written log, as files, are the vectors of tests/vectors/log.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration import attacks_on_checkpoints, attacks_on_entries, attacks_on_epochs, attacks_on_lines
from tests.integration.attacks import ATTACKS
from tests.integration.logs import MODES, Log, LogKeys, Mode, sealed_log, write_log

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
