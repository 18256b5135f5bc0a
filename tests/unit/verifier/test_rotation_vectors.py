"""Every log of tests/vectors/rotation with each key named, by both verifiers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from epochseal.verifier import PROBLEMS, WARNINGS, Request, verify
from tests.integration.logs import LogKeys
from tests.reference import verifier as reference
from tests.vectors.rotation import generate

VECTORS = Path(__file__).parents[2] / "vectors" / "rotation"
NAMES = sorted(path.parent.name for path in VECTORS.glob("*/case.json"))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> list[LogKeys]:
    """The vectors' keys with the modes that the file backend asks for, which no repository keeps."""
    return generate.make_ring(tmp_path_factory.mktemp("ring"))


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, ring: list[LogKeys], tmp_path: Path) -> None:
    """Verdict, exit status, kinds and warnings are those of the case, with one process and with two."""
    log = tmp_path / "log"
    shutil.copytree(VECTORS / name, log)
    for path in log.glob("segments/*.seal"):
        os.utime(path, (0, 0))
    case = json.loads((log / "case.json").read_text(encoding="utf-8"))
    assert case["desc"].startswith("honest: ") or "limit" in case or _refused(case["expect"])
    for expect in case["expect"]:
        keyed, named = expect["mode"] == "keys", ring[expect["named"]]
        request = Request(
            make_recoverer=(lambda: [keys.recoverer() for keys in ring]) if keyed else None,
            checkpoint_key=named.public,
            strict=expect.get("strict", False),
            jobs=2 if expect["named"] else 1,
            now=lambda: case["now"],
        )
        verdict = verify(log, request)
        found = {problem.kind for problem in verdict.problems}
        assert (verdict.verdict, verdict.exit_status) == (expect["verdict"], expect["exit"]), (expect, found)
        assert bool(found & set(expect["kinds"])) == bool(expect["kinds"]), (expect, verdict.problems)
        assert {item.kind for item in verdict.warnings} >= set(expect["warnings"])
        assert found <= PROBLEMS.keys()
        assert set(expect["warnings"]) <= WARNINGS.keys()
        page = reference.verify(
            log,
            [keys.directory / "verifier" for keys in ring] if keyed else None,
            named.directory / "auditor" / "checkpoint.pub",
            case["now"],
            strict=expect.get("strict", False),
        )
        assert page[0] == verdict.verdict
        assert page[2] == found or verdict.verdict == "tampered"


def _refused(expects: list[dict[str, str]]) -> bool:
    return all(expect["verdict"] not in {"verified", "empty"} for expect in expects)


def test_vectors_are_those_of_the_generator() -> None:
    """The files are what generate.py writes now."""
    written = generate.files()
    stored = {str(path.relative_to(VECTORS)): path for path in VECTORS.glob("*/**/*") if path.is_file()}
    stored = {name: path for name, path in stored.items() if "__pycache__" not in name}
    assert stored.keys() == written.keys()
    assert [name for name, path in stored.items() if path.read_bytes() != written[name]] == []
    assert len(NAMES) >= 20
