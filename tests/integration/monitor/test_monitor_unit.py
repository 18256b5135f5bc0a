"""The unit of the monitor, checked by the program that reads it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.agents import PROGRAM
from tests.integration.systemd_analyze import UNITS, check_exposure, check_units


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent, the exposure is low, and its user is made by sysusers.d."""
    text = (UNITS / "epochseal-monitor.service").read_text(encoding="utf-8")
    assert "ExecStart=/usr/bin/epochseal monitor --config /etc/epochseal/monitor.toml\n" in text
    users = (UNITS / "sysusers.d" / "epochseal.conf").read_text(encoding="utf-8")
    assert re.search(r"^u!? epochseal-monitor ", users, re.MULTILINE)
    unit = tmp_path / "epochseal-monitor.service"
    unit.write_text(text.replace("/usr/bin/epochseal", PROGRAM), encoding="utf-8")
    check_units(unit)
    check_exposure(unit)
