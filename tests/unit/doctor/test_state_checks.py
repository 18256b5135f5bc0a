from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.config.state_dir import StateDir
from epochseal.doctor import state_checks
from epochseal.doctor.state_checks import check_state_dir
from epochseal.sealing.log_state import LogState


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own directory may lie anywhere: here it counts as a plain disk."""
    monkeypatch.setattr(state_checks, "file_system", lambda _path: "ext4")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that is gone with a reboot."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:  # a test's own directory
        yield Path(path)


def outcome(state: StateDir, logdir: Path, *, agent_runs: bool = False) -> tuple[str, str]:
    """What is found, and the words for it."""
    found = check_state_dir("log app", state, logdir, agent_runs=agent_runs)
    return found.outcome, found.detail


def test_on_the_volume_of_the_log(tmp_path: Path) -> None:
    """Whoever sets one back sets back both: that is for the operator to judge."""
    found = outcome(StateDir(tmp_path / "state"), tmp_path / "log")
    assert found[0] == "unknown"
    assert "on the volume of the log" in found[1]


def test_on_another_volume(tmp_path: Path, memory: Path) -> None:
    """Good, whichever of the two is which."""
    assert outcome(StateDir(tmp_path / "state"), memory / "log")[0] == "good"


def test_in_memory(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be gone with a reboot, which is what it is for."""
    monkeypatch.undo()
    found = outcome(StateDir(memory / "state"), tmp_path / "log")
    assert found[0] == "wrong"
    assert "gone with a reboot" in found[1]


def test_in_a_containers_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From inside nobody can tell whether the layer is kept."""
    monkeypatch.setattr(state_checks, "file_system", lambda _path: "overlay")
    assert outcome(StateDir(tmp_path / "state"), tmp_path / "log")[0] == "unknown"


def test_in_the_log_directory(tmp_path: Path) -> None:
    """As a start refuses it."""
    found = outcome(StateDir(tmp_path / "log" / "state"), tmp_path / "log")
    assert found[0] == "wrong"
    assert "lies in the log directory" in found[1]


def test_others_may_write(tmp_path: Path) -> None:
    """They could exchange what is remembered."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    assert outcome(StateDir(tmp_path / "state"), tmp_path / "log")[0] == "wrong"


def test_a_carry_beside_a_running_agent(tmp_path: Path) -> None:
    """An agent destroys it at its start: this one came back from a backup."""
    memory = LogState.open(tmp_path / "state", tmp_path / "log", keep_carry=True)
    memory.write_carry(bytes(32), 3, bytes(32), memoryview(bytearray(32)))
    memory.close()
    state = StateDir(tmp_path / "state")
    assert outcome(state, tmp_path / "log")[0] == "unknown"
    found = outcome(state, tmp_path / "log", agent_runs=True)
    assert found[0] == "wrong"
    assert "keeps a carry while an agent runs" in found[1]


def test_nothing_is_remembered(tmp_path: Path) -> None:
    """`none` is a choice; a user without a home made none."""
    assert outcome(StateDir(None), tmp_path / "log")[0] == "good"
    assert outcome(StateDir(None, named=False), tmp_path / "log")[0] == "wrong"
