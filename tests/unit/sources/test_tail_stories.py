from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.sources import follower, left_files, log_file, path_table, rotated_files, tail
from tests.unit.sources import tail_stories

SAMPLE = 2000 if os.environ.get("EPOCHSEAL_FULL") == "1" else 60


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stories have a clock of their own; what they change in the modules is put back."""
    for module in (follower, left_files, log_file, path_table, tail, rotated_files):
        for name in ("time", "SHORTEST", "LONGEST", "SCAN_EVERY", "REST_AFTER", "GRACE"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))


def test_no_line_is_lost_or_sealed_twice_in_silence(tmp_path: Path) -> None:
    """Every habit of services, every state of the agent: each line once, or a gap where it would be."""
    count = tail_stories.tell(range(SAMPLE), tmp_path)
    assert count.silent == {}
    assert count.lost > SAMPLE
    assert count.gaps > SAMPLE
