"""The pages say what is so: kinds, links, and commands that work when they are pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from epochseal.verifier import PROBLEMS, WARNINGS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def between(text: str, begin: str, end: str) -> str:
    """What stands between two comments of a page."""
    return text.partition(f"<!-- {begin} -->")[2].partition(f"<!-- {end} -->")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_kind_of_problem_is_explained() -> None:
    """docs/verify.md lists exactly the kinds that the verifier knows: verdict, meaning and advice."""
    page = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    table = rows(between(page, "problem kinds", "end of problem kinds"))
    assert table == [[f"`{name}`", kind.grade, kind.says, kind.advice] for name, kind in PROBLEMS.items()]
    assert all(row[3] for row in table)


def test_every_kind_of_warning_is_explained() -> None:
    """docs/verify.md lists exactly the warnings that the verifier knows: meaning and advice."""
    page = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    table = rows(between(page, "warning kinds", "end of warning kinds"))
    assert table == [[f"`{name}`", kind.says, kind.advice] for name, kind in WARNINGS.items()]
    assert all(row[2] for row in table)


def test_the_specification_gives_each_kind_its_class() -> None:
    """Every problem of the verifier has a rule in docs/format.md, with the same verdict."""
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    classes = {"1": "tampered", "4": "untrusted", "3": "incomplete"}
    found = {(kind, classes[number]) for kind, number in re.findall(r"`([a-z_]+) \(([134])\)`", page)}
    assert found == {(kind.name, kind.grade) for kind in PROBLEMS.values()}
    assert all(f"`{kind}`" in page for kind in WARNINGS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that a page links to or names exist, and so do the sections."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, section = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        if section:
            heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in {
                re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads
            }, target
    for name in re.findall(r"`((?:tests|agent|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_quick_start_works(tmp_path: Path) -> None:
    """The commands of README.md, in order, in a fresh directory, say what the page says that they do."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert "pip install '.[report]'" in blocks[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    outputs = [
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        ).stdout
        for block in blocks[1:]
    ]
    keygen, sealed, changed, public, audited = outputs
    assert keygen.splitlines() == ["file:keys/agent", "file:keys/verifier", "file:keys/auditor"]
    assert sealed.startswith("VERIFIED")
    assert changed.startswith("TAMPERED")
    assert "entry 0 to 1 " in changed
    assert changed.endswith("exit status 1\n")
    assert '"verdict":"tampered"' in public
    assert audited.endswith("exit status 1\n")
    assert "tampered" in (tmp_path / "verdict.html").read_text(encoding="utf-8").lower()
