"""The story, step by step: every command is run, every verdict comes from the real verifier."""

from __future__ import annotations

from pathlib import Path

from epochseal.demo.assault import attack
from epochseal.demo.attacks import ATTACKS
from epochseal.demo.crashes import kill_with_page, kill_without_page, show_limit
from epochseal.demo.honest import explain_line, make_keys, seal, verify_closed
from epochseal.demo.scene import Scene
from epochseal.demo.stage import Stage
from epochseal.demo.thieves import attack_with_thieves

STEPS = 9


def tell(stage: Stage, directory: Path) -> None:
    """Tell the whole story in `directory`, which is empty.

    Raises:
        DemoError: an attack was not detected, or a command did not end as it must.
        EpochsealError: the machine cannot run the demo.
    """
    scene = Scene(stage, directory)
    stage.say(
        f"""Whoever breaks into a machine edits its logs. epochseal does not prevent that: it makes every
        later change evident, and shows where. Every command below is run now, in {directory}."""
    )
    make_keys(scene)
    seal(scene)
    verify_closed(scene)
    explain_line(scene)
    attack(scene)
    attack_with_thieves(scene)
    kill_without_page(scene)
    kill_with_page(scene)
    verdict, seconds = show_limit(scene)
    stage.heading("In short")
    speed = f"{verdict.entries:,} entries in tiny blocks verified with all keys in {seconds * 1000:.0f} ms"
    stage.facts(
        [
            (
                "attacks",
                f"{len(ATTACKS)} of {len(ATTACKS)} detected, each with its place; a thief and a start, too",
            ),
            ("crashes", "no acknowledged entry lost; what may be missing is said, not guessed"),
            ("speed", speed),
        ]
    )
