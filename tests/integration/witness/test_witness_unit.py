"""The timer that submits checkpoints, checked by the program that reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.integration.agents import PROGRAM

UNITS = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
HIGHEST_EXPOSURE = 1.5


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent on service and timer, and the exposure is low."""
    for name in ("epochseal-witness.service", "epochseal-witness.timer"):
        text = (UNITS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/usr/bin/epochseal", PROGRAM), encoding="utf-8")
    service, timer = (tmp_path / f"epochseal-witness.{kind}" for kind in ("service", "timer"))
    assert f"ExecStart={PROGRAM} witness submit --config /etc/epochseal/epochseal.toml" in service.read_text()
    if shutil.which("systemd-analyze") is None:
        return
    command = ["systemd-analyze", "verify", str(service), str(timer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(service)],
        capture_output=True,
        text=True,
        check=True,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= HIGHEST_EXPOSURE
