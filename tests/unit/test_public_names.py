"""`import epochseal`: small, lazy, and every name there."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import epochseal
from epochseal.verifier import Verdict


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement, and not before."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_loads_two_files() -> None:
    """No library, nor even one of Python's own, is loaded before a name is used."""
    assert loaded_by("import epochseal") == {"epochseal", "epochseal.version"}


def test_a_program_that_only_logs_loads_no_verifier() -> None:
    """The handler needs the standard library alone."""
    found = loaded_by("from epochseal import SealedHandler")
    assert "epochseal.handler" in found
    assert not found & {"cryptography", "click", "rich", "msgspec", "epochseal.verifier", "epochseal.api"}


def test_every_name_is_there() -> None:
    """`__all__` can be loaded to the last name, `dir` lists it, and no other name answers."""
    for name in epochseal.__all__:
        assert getattr(epochseal, name) is not None
    assert set(epochseal.__all__) <= set(dir(epochseal))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(epochseal, "nothing")  # noqa: B009  # mypy knows as well that there is none


def test_names_and_their_types_are_the_same() -> None:
    """What type checkers read and what is loaded when a name is used are one list."""
    names = {name for group in epochseal._PLACES.values() for name in group}  # noqa: SLF001  # the list under test
    assert names | {"__version__"} == set(epochseal.__all__)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tampered", epochseal.Tampered),
        ("untrusted", epochseal.Untrusted),
        ("incomplete", epochseal.Incomplete),
        ("empty", epochseal.Empty),
    ],
)
def test_a_verdict_comes_out_of_another_process(name: str, kind: type[epochseal.NotVerified]) -> None:
    """An error that is pickled, as a pool of processes does, brings its verdict along."""
    verdict = Verdict(**dict.fromkeys(Verdict.__struct_fields__, 0) | {"verdict": name, "problems": []})  # type: ignore[arg-type]  # only two fields matter
    error = pickle.loads(pickle.dumps(kind(verdict)))  # noqa: S301  # our own bytes
    assert type(error) is kind
    assert error.verdict == verdict
    assert str(error) == f"the log is {name}"
