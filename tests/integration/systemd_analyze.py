"""What systemd's own program says of unit files; where it is not installed, nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


HIGHEST_EXPOSURE = 1.4
"""On systemd's scale from 0 to 10, for every unit of deploy/systemd."""


def check_units(*units: Path) -> None:
    """`systemd-analyze verify` is silent."""
    if shutil.which("systemd-analyze") is None:
        return
    command = ["systemd-analyze", "verify", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def exposure_of(service: Path) -> float:
    """How exposed a service is, on systemd's scale."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(service)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None
    return float(exposure[1])


def check_exposure(service: Path) -> None:
    """The exposure of a service is low enough."""
    if shutil.which("systemd-analyze") is not None:
        assert exposure_of(service) <= HIGHEST_EXPOSURE
