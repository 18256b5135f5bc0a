from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.sources import follower, left_files, log_file, path_table, tail
from tests.unit.sources.tailer import CLOCK, GRACE, Tailer


@pytest.fixture(params=[60.0, 0.0], ids=["awake", "at rest"])
def hasty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotated files are left soon, and looked at without a pause; quiet ones are closed late, or at once."""
    monkeypatch.setattr(path_table, "REST_AFTER", request.param)
    for module in (follower, left_files, log_file, path_table, tail):
        monkeypatch.setattr(module, "time", CLOCK)
    monkeypatch.setattr(follower, "GRACE", GRACE)
    monkeypatch.setattr(path_table, "SHORTEST", 0.0)
    monkeypatch.setattr(tail, "SHORTEST", 0.0)
    monkeypatch.setattr(path_table, "LONGEST", 0.001)
    monkeypatch.setattr(path_table, "SCAN_EVERY", 0.0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a service writes."""
    return tmp_path / "app.log"


@pytest.fixture
def tailer(log: Path) -> Iterator[Tailer]:
    """Tails `log`."""
    made = Tailer(log)
    yield made
    made.close()
