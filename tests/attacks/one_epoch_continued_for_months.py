"""Never lets the epoch of a dump end."""

from __future__ import annotations

import time

from tests.attacks.attack import Attack, main
from tests.attacks.dump import Dump
from tests.attacks.forger import Forger
from tests.attacks.scene import MODES, Scene

_INTERVAL, _OVERDUE = 2, 2
"""Seconds: what the epoch promises of itself, so short that its months pass in the test."""


def carry_out(scene: Scene) -> None:
    """With times as they are, then with times that stay within the epoch."""
    page = scene.kill_configured("one", epoch_interval=f'"{_INTERVAL}s"', max_overdue=f'"{_OVERDUE}s"')
    dump = Dump.read(page)
    for name, step in (("times as they are", 1000), ("times within the epoch", 0)):
        with scene.copy() as log:
            forger = Forger.after(log, None, dump=dump)
            for number in range(1, 6):
                now = time.time_ns() // 1_000_000
                forger.block(b"month %d\n" % number, time=now if step else forger.time)
                time.sleep(1)
            expected = ("epoch_overrun", "unsigned_tail") if step else ("unsigned_tail",)
            for mode in MODES:
                scene.expect(f"{name}, left open", 3, *(expected if mode == "keys" else ()), mode=mode)
            forger.close(signed=False)
            for mode in MODES:
                scene.expect(f"{name}, closed", 3, "close_unsigned", mode=mode)


ATTACK = Attack(
    attacker="got one dump of the agent's memory, stopped the agent, and writes to the files",
    holds="the key of a line of the running epoch, write access to the log directory",
    did="went on in that epoch for as long as they like, as if the backend were away",
    before="verified (0) while entries came",
    carry_out=carry_out,
)

if __name__ == "__main__":
    main(ATTACK)
