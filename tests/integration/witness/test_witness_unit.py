"""The timer that submits checkpoints, checked by the program that reads it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.agents import PROGRAM
from tests.integration.systemd_analyze import UNITS, check_exposure, check_units


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent on service and timer, and the exposure is low."""
    for name in ("epochseal-witness.service", "epochseal-witness.timer"):
        text = (UNITS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/usr/bin/epochseal", PROGRAM), encoding="utf-8")
    service, timer = (tmp_path / f"epochseal-witness.{kind}" for kind in ("service", "timer"))
    assert f"ExecStart={PROGRAM} witness submit --config /etc/epochseal/epochseal.toml" in service.read_text()
    check_units(service, timer)
    check_exposure(service)
