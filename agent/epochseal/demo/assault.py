"""The step of the attacks: each is done to a fresh copy, and each row of the table is a real verification."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from epochseal.demo.attacks import ATTACKS, Attack, Victim
from epochseal.demo.scene import BOTH_KEYS, Scene
from epochseal.demo.sealing import seal_words
from epochseal.demo.stage import DemoError, verdict_text
from epochseal.storage.segments import FOLDER
from epochseal.verifier import KINDS, Verdict


def attack(scene: Scene) -> None:
    """Step: all attacks, with the verdict on each.

    Raises:
        DemoError: one of them did not get its verdict.
    """
    stage = scene.stage
    stage.step(f"{len(ATTACKS)} attacks, each on a copy, each verified")
    stage.say(
        """The attacker can write to every stored file, has a copy of the log from earlier (its agent
        still alive), and for one attack the public wrapping key, for another a whole log sealed with
        other keys."""
    )
    _prepare(scene)
    table = _table()
    missed, missed_in_public = [], []
    with stage.busy("attacking copies, verifying them") as tell:
        for item in ATTACKS:
            tell(f"verifying: {item.name}")
            logdir = _attacked(scene, item)
            verdict, seconds = scene.checker.check(logdir, max_age=item.max_age)
            table.add_row(item.name, verdict_text(verdict.verdict), *_where(verdict), f"{seconds * 1000:.0f}")
            if verdict.verdict != item.verdict:
                missed.append(item.name)
            public, _ = scene.checker.check(logdir, max_age=item.max_age, public=True)
            if public.verdict == "verified":
                missed_in_public.append(item.name)
    stage.table(table)
    if missed:
        raise DemoError(f"not detected as it must be: {', '.join(missed)}")
    _sum_up(scene, missed_in_public)


def _table() -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("attack", no_wrap=True, min_width=28)
    table.add_column("verdict", no_wrap=True)
    for name in ("entries", "seg", "lines", "ms"):
        table.add_column(name, no_wrap=True, justify="right")
    return table


def _prepare(scene: Scene) -> None:
    """What the attacker has: a public key, and the same entries sealed with keys of their own."""
    wrapping = scene.copies / "public-wrapping-key"
    wrapping.mkdir()
    shutil.copy(scene.dir / "keys" / "agent" / "epoch.pub", wrapping)
    entries = b"".join(path.read_bytes() for path in sorted((scene.dir / "logs" / FOLDER).glob("*.log")))
    scene.run("keygen", "copies/other-keys")
    scene.run(*seal_words("copies/forged", keys="copies/other-keys"), stdin=entries)


def _attacked(scene: Scene, item: Attack) -> Path:
    logdir = scene.copies / "attacked"
    if logdir.exists():
        shutil.rmtree(logdir)
    shutil.copytree(scene.dir / "logs", logdir)
    victim = Victim(
        logdir,
        older=scene.copies / "older",
        forged=scene.copies / "forged",
        wrapping_key=scene.copies / "public-wrapping-key",
        now=time.time_ns() // 1_000_000,
    )
    item.do(victim)
    for path in logdir.rglob("*"):
        os.utime(path, (0, 0))  # a careful attacker leaves no fresh times, and verdicts rest on none
    return logdir


def _where(verdict: Verdict) -> tuple[str, str, str]:
    """Entries, segment and lines of the widest problem that the verdict follows from."""
    found = [problem for problem in verdict.problems if KINDS[problem.kind].grade == verdict.verdict]
    if not found:
        return "", "", ""
    problem = max(found, key=lambda item: item.last_entry - item.first_entry)
    entries = _range(problem.first_entry, problem.last_entry)
    return entries, str(problem.segment or ""), _range(problem.first_line, problem.last_line)


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _sum_up(scene: Scene, missed_in_public: list[str]) -> None:
    by_age = ", ".join(f'"{item.name}"' for item in ATTACKS if item.max_age is not None)
    found = len(ATTACKS) - len(missed_in_public)
    missed = f", not: {', '.join(missed_in_public)}" if missed_in_public else ""
    scene.stage.say(
        f"""Entries count from 0 over the log, lines from 1 in the segment's .log file; the place is the
        block that was hit. {by_age} looks like a log that is alive, so it was verified with --max-age 1s:
        without that, 3 heartbeats (30 s) have to pass. With the public key alone, {found} of
        {len(ATTACKS)} are detected{missed}. The first one again, as the command says it:"""
    )
    _attacked(scene, ATTACKS[0])
    scene.show("verify", "copies/attacked", *BOTH_KEYS, status=1)
