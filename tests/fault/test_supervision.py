"""A part of the daemon is killed or stopped: acknowledgements go on, or come back in seconds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fault.supervision import NUMBERS, PARTS, WATCHDOG_SECONDS, Part, interrupt
from tests.integration.agents import tmpfs
from tests.integration.service.test_run import Host

SAMPLE: list[tuple[Part, signal.Signals]] = [("daemon", signal.SIGSTOP), ("zygote", signal.SIGKILL)]


@pytest.mark.parametrize(("part", "number"), SAMPLE)
def test_it_acknowledges_again(tmp_path: Path, part: Part, number: signal.Signals) -> None:
    """Under load and a manager with a watchdog; all parts in turn: `python -m tests.fault.supervision`."""
    assert part in PARTS
    assert number in NUMBERS
    with tmpfs() as runtime:
        outcome = interrupt(Host(tmp_path, runtime), part, number)
    assert outcome.silent < 5 * WATCHDOG_SECONDS
    assert outcome.starts == 1
