"""The unit of the monitor, checked by the program that reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.integration.agents import PROGRAM

UNITS = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
HIGHEST_EXPOSURE = 1.6


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent, the exposure is low, and its user is made by sysusers.d."""
    text = (UNITS / "epochseal-monitor.service").read_text(encoding="utf-8")
    assert "ExecStart=/usr/bin/epochseal monitor --config /etc/epochseal/monitor.toml\n" in text
    users = (UNITS / "sysusers.d" / "epochseal.conf").read_text(encoding="utf-8")
    assert re.search(r"^u!? epochseal-monitor ", users, re.MULTILINE)
    unit = tmp_path / "epochseal-monitor.service"
    unit.write_text(text.replace("/usr/bin/epochseal", PROGRAM), encoding="utf-8")
    if shutil.which("systemd-analyze") is None:
        return
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= HIGHEST_EXPOSURE
