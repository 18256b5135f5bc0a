"""Every attack of this folder, against the installed program: none is verified, none surprises.

Each file is one attacker, and a program of its own: `python -m tests.attacks.NAME [BACKEND]` says what they
hold, what they do, what came of it before, and what the honest side answers now.
"""

from __future__ import annotations

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
from tests.attacks.attack import Attack, failures

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
    ("attack", "backend"),
    [
        pytest.param(attack, backend, id=f"{name}-{backend}")
        for name, attack in ATTACKS.items()
        for backend in attack.backends
    ],
)
def test_attack(attack: Attack, backend: str, tmp_path: Path) -> None:
    """Every answer is the one that must be, and *verified* is only what a log alone cannot deny."""
    rows = attack.run(backend, tmp_path)
    assert rows
    assert failures(rows) == []
