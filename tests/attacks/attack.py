"""What every attack has: its words, its verdict of before, and how it is run and shown."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.attacks.scene import Row, Scene, scene

_WIDTH = 118


@dataclass(frozen=True)
class Attack:
    """One attack, a program of its own.

    Args:
        attacker: who they are.
        holds: what they have.
        did: what they do.
        before: what came of it before authority flowed along the carry: words, verdict, exit status.
        carry_out: does it in a scene, and asks the honest side.
        backends: those that it is another attack with; the first is the one that is used where none is named.
    """

    attacker: str
    holds: str
    did: str
    before: str
    carry_out: Callable[[Scene], None]
    backends: tuple[str, ...] = ("file",)

    def run(self, backend: str, folder: Path) -> list[Row]:
        """Carry it out in an empty folder; what the honest side answered."""
        with scene(backend, folder) as made:
            self.carry_out(made)
            return made.rows


def failures(rows: list[Row]) -> list[Row]:
    """Answers that are not the ones that must be, or a *verified* that is no limit."""
    return [
        row for row in rows if not row.good or (": verify," in row.case and row.status == 0 and not row.limit)
    ]


def main(attack: Attack) -> None:
    """Run it as a program, by default with the first backend; the exit status is 1 if it got through."""
    backend = sys.argv[1] if len(sys.argv) > 1 else attack.backends[0]
    if backend not in attack.backends:
        raise SystemExit(f"the backends of this attack: {', '.join(attack.backends)}")
    with tempfile.TemporaryDirectory(prefix="epochseal-attack-") as folder:
        rows = attack.run(backend, Path(folder))
    for name, words in (
        ("attacker", attack.attacker),
        ("holds", attack.holds),
        ("did", attack.did),
        ("before", attack.before),
    ):
        _tell(name, words)
    for row in rows:
        mark = "" if row.good else "   <-- NOT AS IT MUST BE"
        _tell(
            "now", f"{row.case}: {row.status} ({row.said}){mark}" + (f" [{row.limit}]" if row.limit else "")
        )
    if failures(rows):
        raise SystemExit(1)


def _tell(name: str, words: str) -> None:
    lines = textwrap.wrap(words, _WIDTH - 10, break_on_hyphens=False, break_long_words=False)
    for start, line in zip([name, *[""] * len(lines)], lines, strict=False):
        sys.stdout.write(f"{start:<10}{line}\n")
