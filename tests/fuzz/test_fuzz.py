"""Every target holds for every input that is kept, and a moment of new ones; `make fuzz` is the long run."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.fuzz.table import CORPUS, TARGETS, corpus
from tests.fuzz.target import BoundBroken, Target
from tests.fuzz.unguided import Finding, fuzz

SECONDS = 0.3
SEED = 15
INPUTS = [(name, path.name) for name in TARGETS for path in corpus(name)]


@pytest.mark.parametrize(("name", "file"), INPUTS)
def test_kept_input(name: str, file: str) -> None:
    """Inputs of each form, and those that were findings once."""
    TARGETS[name].run((CORPUS / name / file).read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs(name: str, tmp_path: Path) -> None:
    """Changed inputs for a moment: at least one of them, however slow the machine is."""
    assert fuzz(TARGETS[name], SECONDS, SEED, tmp_path).executions >= 1


def test_corpus_has_no_other_folder() -> None:
    """What lies in the corpus is given to a target."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def refuses_x(data: bytes) -> None:
    """A target that does not hold."""
    if b"x" in data:
        raise ValueError("x")


def wastes(data: bytes) -> None:
    """A target that takes more than its bound: beyond whatever this process had at its peak before."""
    data * ((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (200 << 20))


def test_finding_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input of a finding is kept in a file, and the message says how to give it to the target again."""
    monkeypatch.setattr("tests.fuzz.unguided.corpus", lambda _name: [CORPUS / "units" / "plain"])
    with pytest.raises(Finding, match=r"python -m tests\.fuzz\.replay refuses_x") as caught:
        fuzz(Target(refuses_x, words=(b"x",)), 60, SEED, tmp_path)
    (path,) = tmp_path.iterdir()
    assert b"x" in path.read_bytes()
    assert str(path) in str(caught.value)


def test_bound_of_memory() -> None:
    """A target that takes 200 MiB for a byte does not hold."""
    with pytest.raises(BoundBroken, match="1 bytes took"):
        Target(wastes).run(b"x")
