"""Every attack of this folder, against the installed program: none is verified, none surprises.

Each file is one attacker, and a program of its own: `python -m tests.attacks.NAME [BACKEND]` says what they
hold, what they do, what came of it before, and what the honest side answers now.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks import (
    agents_credential_continues_and_rotates,
    agents_credential_makes_the_log_anew,
    agents_credential_prunes_the_promise,
    carry_epoch_behind_an_honest_close,
    files_only_rewrites_before_a_start,
    link_turned_to_another_log,
    one_dump_public_wrapping,
    one_epoch_continued_for_months,
    running_epoch_edited_before_a_resume,
    verifiers_thief_strips_notes,
)
from tests.attacks.attack import failures
from tests.attacks.scene import Row

ROOT = Path(__file__).resolve().parents[2]

PROGRAMS = (
    files_only_rewrites_before_a_start,
    verifiers_thief_strips_notes,
    agents_credential_makes_the_log_anew,
    agents_credential_continues_and_rotates,
    agents_credential_prunes_the_promise,
    one_dump_public_wrapping,
    carry_epoch_behind_an_honest_close,
    running_epoch_edited_before_a_resume,
    one_epoch_continued_for_months,
    link_turned_to_another_log,
)
ATTACKS = {program.__name__.rpartition(".")[2]: program.ATTACK for program in PROGRAMS}


def test_each_program_is_collected() -> None:
    """A file with an attack that nobody runs would show nothing."""
    found = {
        path.stem for path in Path(__file__).parent.glob("*.py") if "ATTACK = Attack(" in path.read_text()
    }
    assert found - {Path(__file__).stem} == set(ATTACKS)


@pytest.mark.parametrize(
    ("name", "backend"), [(name, backend) for name, attack in ATTACKS.items() for backend in attack.backends]
)
def test_attack(name: str, backend: str) -> None:
    """Run as a program: every answer is the one that must be, and the attack is told with its answers."""
    words = [sys.executable, "-m", f"tests.attacks.{name}", backend]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nnow ") > 3
    assert "verify, keys" in done.stdout


def test_what_fails_an_attack() -> None:
    """An answer that is not expected, or a *verified* of which nobody said why a log cannot show more."""
    good = Row("case: verify, keys, no memory", 1, "tampered", good=True)
    passed = Row("case: verify, keys, no memory", 0, "verified", good=True)
    limit = Row(
        "case: verify, keys, no memory", 0, "verified", good=True, limit="a log alone cannot show this"
    )
    wrong = Row("case: prove", 3, "", good=False)
    assert failures([good, passed, limit, wrong]) == [passed, wrong]
