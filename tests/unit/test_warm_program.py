"""The program that is forked and not loaded (tests/warm_program.py) answers as the console script does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm_program import run

PROGRAM = str(Path(sys.executable).parent / "epochseal")


@pytest.mark.parametrize(
    "words",
    [["--version"], ["verify", "nowhere"], ["seal", "--help"], ["nothing"], ["keygen", "/dev/null/x"]],
)
def test_as_the_console_script(tmp_path: Path, words: list[str]) -> None:
    """Exit status and both streams are the same."""
    told = subprocess.run([PROGRAM, *words], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    done = run(words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (told.returncode, told.stdout, told.stderr)


def test_its_own_environment_and_input(tmp_path: Path) -> None:
    """Nothing of the server's or of an earlier call's: environment, directory, a megabyte of input."""
    assert run(["keygen", "keys"], cwd=tmp_path).returncode == 0
    keys = ["--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent"]
    data = b"an entry of an application\n" * 40_000
    for number in range(2):
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / f"state-{number}")}
        sealing = run(
            ["seal", f"log-{number}", "--origin", "a.example/b", *keys], cwd=tmp_path, env=env, data=data
        )
        assert sealing.returncode == 0, sealing.stderr
        assert b"".join(path.read_bytes() for path in (tmp_path / f"log-{number}").rglob("*.log")) == data
        assert list((tmp_path / f"state-{number}").iterdir())


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    """A call ends within its time, and the process with it: its log is free for another agent."""
    assert run(["keygen", "keys"], cwd=tmp_path).returncode == 0
    keys = ["--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent"]
    config = 'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n[[log]]\nname = "a"\n'
    source = '[[log.source]]\nkind = "unix-stream"\npath = "clients"\n'
    (tmp_path / "daemon.toml").write_text(f'{config}dir = "log"\norigin = "a.example/b"\n{source}')
    with pytest.raises(subprocess.TimeoutExpired):
        run(["run", "--config", "daemon.toml"], cwd=tmp_path, timeout=5.0)
    assert list((tmp_path / "log").rglob("*.seal"))
    sealing = run(["seal", "log", "--origin", "a.example/b", *keys], cwd=tmp_path, data=b"one\n")
    assert sealing.returncode == 0, sealing.stderr
