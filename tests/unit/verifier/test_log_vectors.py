"""Every log of tests/vectors/log in both modes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from epochseal.keys import Recoverer, load_backend, parse_key_uri
from epochseal.verifier import PROBLEMS, Request, verify
from tests.vectors.log import generate

VECTORS = Path(__file__).parents[2] / "vectors" / "log"
CASES = sorted(path.parent.name for path in VECTORS.glob("*/case.json"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors' keys with the modes that the file backend asks for, which no repository keeps."""
    folder = tmp_path_factory.mktemp("vectors") / "keys"
    shutil.copytree(VECTORS / "keys", folder)
    for path in folder.glob("*/*.key"):
        path.chmod(0o600)
    return folder


@pytest.mark.parametrize("mode", ["keys", "public"])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, mode: str, keys: Path, tmp_path: Path) -> None:
    """Verdict, exit status, a kind of problem and the entries that it covers are those of the case."""
    log = tmp_path / "log"
    shutil.copytree(VECTORS / name, log)
    for path in log.glob("segments/*.seal"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0))
    case: dict[str, Any] = json.loads((log / "case.json").read_text(encoding="utf-8"))
    expect = case[mode]
    auditor = parse_key_uri(f"file:{keys / 'auditor'}")
    request = Request(
        make_recoverer=(lambda: _recoverer(keys)) if mode == "keys" else None,
        checkpoint_key=load_backend(auditor).public_key(auditor, {}),
        now=lambda: case["now"],
    )
    verdict = verify(log, request)
    assert (verdict.verdict, verdict.exit_status, verdict.mode) == (expect["verdict"], expect["exit"], mode)
    assert {item.kind for item in verdict.warnings} >= set(expect.get("warnings", []))
    found = [item for item in verdict.problems if item.kind in expect.get("kinds", [])]
    assert bool(found) == ("kinds" in expect)
    first, last = expect.get("covers", (0, -1))
    low, high = expect.get("within", (0, 0))
    ranges = [
        range(p.first_entry, p.last_entry + 1) for p in found if low <= p.first_entry <= p.last_entry <= high
    ]
    assert {number for item in ranges for number in item} >= set(range(first, last + 1))


def _recoverer(keys: Path) -> Recoverer:
    uri = parse_key_uri(f"file:{keys / 'verifier'}")
    return load_backend(uri).recoverer(uri, {})


def test_vectors_are_those_of_the_generator() -> None:
    """The files are what generate.py writes now; of the compressed ones only the names are compared."""
    written = generate.files()
    stored = {str(path.relative_to(VECTORS)): path for path in VECTORS.glob("*/**/*") if path.is_file()}
    stored = {name: path for name, path in stored.items() if "__pycache__" not in name}
    assert stored.keys() == written.keys()
    different = [name for name, path in stored.items() if path.read_bytes() != written[name]]
    assert [name for name in different if not name.endswith(".gz")] == []


def test_cases_speak_of_kinds_that_exist() -> None:
    """Each case has a verdict for both modes, kinds out of the table, and a reason where it is verified."""
    assert len(CASES) > 100
    for name in CASES:
        case = json.loads((VECTORS / name / "case.json").read_text(encoding="utf-8"))
        assert set(case["keys"].get("kinds", [])) | set(case["public"].get("kinds", [])) <= PROBLEMS.keys()
        honest = name == "honest" or case["desc"].startswith("honest: ")
        assert (
            honest
            or "limit" in case
            or "verified" not in {case["keys"]["verdict"], case["public"]["verdict"]}
        )
