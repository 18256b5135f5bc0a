"""The tamper matrix: every attack of `attacks.ATTACKS` on a log that the real agent sealed, in both modes.

The same attacks on a written log, as files, are the vectors of tests/vectors/log.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration import attacks_on_entries, attacks_on_epochs, attacks_on_lines
from tests.integration.attacks import ATTACKS, at, cut_after, edit, lines, without_checkpoint
from tests.integration.logs import MODES, ORIGIN, Log, LogKeys, LogWriter, Mode, entry, seal, sealed_log, write_log
from tests.integration.rewriter import rewrite

LOADED = (attacks_on_entries, attacks_on_lines, attacks_on_epochs)
"""Importing them is what fills `ATTACKS`."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LogKeys:
    """Keys in the folders of all roles."""
    made = LogKeys(tmp_path_factory.mktemp("keys") / "keys")
    made.write()
    return made


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
    for name in ("verdict", "entries", "bytes", "epochs", "segments", "signed_entries", "tree_size", "closed"):
        assert getattr(first, name) == getattr(second, name)


def _shape(path: Path) -> list[list[bytes]]:
    found = [line.split(b" ") for line in path.read_bytes().splitlines() if not line.startswith(b"note ")]
    return [line[:6] if line[0] == b"block" else line[:2] for line in found]


# --- the end of the log ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kept_checkpoint", [True, False])
def test_truncation_at_every_line(keys: LogKeys, tmp_path: Path, mode: Mode, kept_checkpoint: bool) -> None:
    """Cut anywhere, a log is tampered while a checkpoint of more lines is left, and else at best fresh and open.

    Within three heartbeats an open log without its latest checkpoint may be an honest one; later it is incomplete.
    """
    whole = write_log(tmp_path / "whole", keys)
    total = whole.files("seal")[2].read_bytes()
    for number, stop in enumerate(place + 1 for place, byte in enumerate(total[:-1]) if byte == 10):
        log = replace(whole, path=tmp_path / f"cut-{number}")
        shutil.copytree(whole.path, log.path)
        edit(log.files("seal")[2], lambda data, stop=stop: data[:stop])  # type: ignore[misc]  # mypy reads no default
        if not kept_checkpoint:
            without_checkpoint(log)
        fresh, late = log.verify(mode), log.verify(mode, later=31_000)
        last = total[:stop].rstrip(b"\n").rpartition(b"\n")[2]
        if last.startswith(b"end 23 ") or (kept_checkpoint and b"end 23 " in total[:stop]):
            # Only the note of the close is gone: a close that waits for its signature.
            assert fresh.closed
            assert fresh.verdict == ("verified" if not kept_checkpoint else "verified")
            continue
        assert not fresh.closed
        if kept_checkpoint:
            assert {fresh.verdict, late.verdict} == {"tampered"}
            assert any(item.kind == "checkpoint_ahead" for item in fresh.problems)
        elif last.startswith(b"end 19 "):
            assert {fresh.verdict, late.verdict} == {"incomplete"}
        else:
            assert (fresh.verdict, late.verdict) == ("verified", "incomplete")
            assert {item.kind for item in late.problems} <= {"open_end", "unsigned_tail"}
            assert late.problems[0].first_entry == late.entries
