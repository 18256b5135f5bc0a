"""A first start that a reboot cut off behind its first line; the next one takes that line back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.story import Host, Story, check
from tests.fault.test_closing import killed_in, killed_unsigned, reboot
from tests.fault.test_sealer_faults import some, steps_of


def begun(host: Host, folder: Path) -> Story:
    """The first line is durable and remembered; its note is not there, and the page is gone."""
    (folder / "runtime").mkdir(parents=True)
    made = Story(host, folder / "log", folder / "runtime", state_dir=folder / "state")
    killed_unsigned(made.start, made)
    reboot(made)
    return made


@pytest.mark.parametrize("again", ["a kill", "a reboot"])
def test_a_start_that_takes_a_first_line_back_is_cut_off(
    host: Host, directory: Path, here: str, again: str
) -> None:
    """At whatever step: the start after it accuses nobody, and the log is one that was just made."""
    steps = steps_of(begun(host, directory / "counted").start)
    assert steps.index("take back") < steps.index("remove") < steps.index("publish") < steps.index("state")
    for victim, mode in some(steps, here):
        made = begun(host, directory / f"{victim}-{mode}")
        killed_in(made.start, made, victim, mode)
        if again == "a reboot":
            reboot(made)
        point = made.start()
        assert point.denies is None, (victim, mode)
        made.commit(1)
        made.finish()
        check(made, gapless=again == "a kill" or point.link == "genesis")
