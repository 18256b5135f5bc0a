"""A part of the daemon is killed or stopped: acknowledgements go on, or come back in seconds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fault.supervision import NUMBERS, PARTS, WATCHDOG_SECONDS, Part, interrupt
from tests.integration.agents import tmpfs
from tests.integration.service.test_run import Host

SAMPLE: list[tuple[Part, signal.Signals, float]] = [
    ("daemon", signal.SIGSTOP, 3.0),
    ("zygote", signal.SIGKILL, 30.0),
]
"""With the watchdog's seconds: what is stopped is found by it, what is killed has to be found without."""


@pytest.mark.parametrize(("part", "number", "watchdog_seconds"), SAMPLE)
def test_it_acknowledges_again(
    tmp_path: Path, part: Part, number: signal.Signals, watchdog_seconds: float
) -> None:
    """Under load and a manager with a watchdog; all parts in turn: `python -m tests.fault.supervision`."""
    assert part in PARTS
    assert number in NUMBERS
    with tmpfs() as runtime:
        outcome = interrupt(
            Host(tmp_path, runtime), part, number, watchdog_seconds=watchdog_seconds, epochs=2
        )
    assert outcome.silent < 5 * WATCHDOG_SECONDS
    # On a busy machine the daemon may be too slow for a watchdog that is so short.
    assert outcome.starts >= 1
