"""A few copies of a log that lives a hard life: the sample of live_copies.py that runs with all tests."""

from __future__ import annotations

from pathlib import Path

from tests.fault.live_copies import KILLED, TOOLS, make_copies
from tests.fault.samples import FULL
from tests.integration.agents import tmpfs
from tests.integration.service.test_run import Host

_COUNT = 120 if FULL else 6
_ROOT = Path(__file__).resolve().parents[2]


def test_no_copy_is_tampered(tmp_path: Path) -> None:
    """Each tool's copies verify, or are incomplete; a copy that was killed is the one before, or none."""
    with tmpfs() as runtime:
        found, _ = make_copies(Host(tmp_path, runtime), _COUNT, 0)
    assert {way for way, _ in found} == {*TOOLS, KILLED}
    assert sum(found.values()) == _COUNT


def test_the_page_has_what_is_tried_here() -> None:
    """docs/verify.md gives the commands of live_copies.py, word for word but for the two directories."""
    page = (_ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    for command in TOOLS.values():
        shown = command.replace('"$1', "logs").replace('"$2', "copy").replace('"', "")
        for step in shown.split(" && "):
            assert step in page
