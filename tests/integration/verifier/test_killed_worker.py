"""A process of `verify --jobs 2` that is killed: no verdict, no page, nothing remembered, status 7."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import epochseal.verifier.workers  # noqa: F401  # the module is patched by its name
from epochseal.cli import program
from epochseal.verifier.workers import Task, TaskResult
from tests.integration.agents import Place
from tests.integration.logs import LogWriter
from tests.reference.scenarios import entries

SEGMENTS = 24


@pytest.mark.parametrize("segment", [1, SEGMENTS], ids=["at its first task", "at the last one"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--report", "page.html"]], ids=" ".join)
def test_no_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    segment: int,
    options: list[str],
) -> None:
    """Whenever it goes: one line to report, and nothing that could be taken for a verdict."""
    place = Place(tmp_path, tmp_path)
    log = LogWriter(place.log, place.keys)
    log.begin("genesis")
    for _ in range(SEGMENTS - 1):
        entries(log).turn("segment")
    entries(log).close()
    workers, parent = sys.modules["epochseal.verifier.workers"], os.getpid()
    checker = vars(workers)["_Worker"]
    run = checker._run  # noqa: SLF001  # what a process does with one task

    def die_at_it(self: object, task: Task) -> TaskResult:
        assert os.getpid() != parent
        if task.part.segment.number == segment:
            os.kill(os.getpid(), signal.SIGKILL)
        done: TaskResult = run(self, task)
        return done

    monkeypatch.setattr(checker, "_run", die_at_it)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    words = ["epochseal", "verify", str(place.log), *place.verifier_keys, "--jobs", "2", *options]
    monkeypatch.setattr("sys.argv", words)
    # The command closes the process that it has for itself; this one has other tests to run.
    monkeypatch.setattr(sys.modules["epochseal.custody.memory"], "harden_process", lambda: None)
    with pytest.raises(SystemExit) as ended:
        program.main()
    shown = capsys.readouterr()
    assert ended.value.code == 7, shown.err
    assert "epochseal: error: one of its processes was killed: BrokenProcessPool" in shown.err
    assert shown.out == ""
    assert not (tmp_path / "page.html").exists()
    assert not list((tmp_path / "home").rglob("*.trust"))
