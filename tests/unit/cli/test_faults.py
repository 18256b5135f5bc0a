"""What nobody foresaw is a fault of ours: status 7 and a line to report, never the status for tampered."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import epochseal.verifier.verify  # noqa: F401  # the module is patched by its name
from epochseal.cli import program


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _lose_a_process() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(_die).result()


def _fill_memory() -> None:
    raise MemoryError


def _fail() -> None:
    raise KeyError("a secret")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_lose_a_process, "one of its processes was killed: BrokenProcessPool"),
        (_fill_memory, "this machine has no memory left for it: MemoryError"),
        (_fail, "a fault of epochseal itself: KeyError at"),
    ],
)
def test_status_7(
    fault: object,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """It ends with 7, says what to report in one line, quotes nothing, and gives no verdict."""

    def examine(*_args: object, **_named: object) -> None:
        assert callable(fault)
        fault()

    monkeypatch.setattr(sys.modules["epochseal.verifier.verify"], "take_snapshot", examine)
    key = tmp_path / "vkey"
    key.write_text(
        "example.com/demo+485334fa+AYJb4SDCUXYFMHiy+ZKA3zmGyrPZHC0vP7xRrGwtcRAo\n", encoding="utf-8"
    )
    words = ["epochseal", "verify", str(tmp_path), "--checkpoint-key", str(key), "--trust", "none"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        program.main()
    shown = capsys.readouterr()
    assert ended.value.code == 7, shown.err
    assert shown.out == ""
    assert f"epochseal: error: {said}" in shown.err
    assert "please report" in shown.err
    assert "a secret" not in shown.err
    assert "Traceback" not in shown.err
