"""The pages say what is so: kinds, links, and commands that work when they are pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.reference import with_kinds
from epochseal.verifier import PROBLEMS, WARNINGS
from tests.unit.docs.command_blocks import pages, runnable

ROOT = Path(__file__).resolve().parents[3]
PAGES = pages()


def test_every_kind_is_explained() -> None:
    """docs/verify.md has the tables that `make reference` writes, and each kind has an advice."""
    page = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    assert with_kinds(page) == page
    assert all(f"| `{name}` |" in page for name in (*PROBLEMS, *WARNINGS))
    assert all(kind.advice for kind in (*PROBLEMS.values(), *WARNINGS.values()))


def test_the_specification_gives_each_kind_its_class() -> None:
    """Every problem of the verifier has a rule in docs/format.md, with the same verdict."""
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    classes = {"1": "tampered", "4": "untrusted", "3": "incomplete"}
    found = {(kind, classes[number]) for kind, number in re.findall(r"`([a-z_]+) \(([134])\)`", page)}
    assert found == {(kind.name, kind.grade) for kind in PROBLEMS.values()}
    assert all(f"`{kind}`" in page for kind in WARNINGS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
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


def run_blocks(page: str, folder: Path) -> list[str]:
    """Run the blocks of a page in order, in one folder; what each printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return [
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "PATH": path},
        ).stdout
        for block in runnable(page)
    ]


def test_the_quick_start_works(tmp_path: Path) -> None:
    """The commands of README.md, in order, in a fresh directory, say what the page says that they do."""
    keygen, sealed, changed, public, audited = run_blocks("README.md", tmp_path)
    assert keygen.splitlines() == ["file:keys/agent", "file:keys/verifier", "file:keys/auditor"]
    assert sealed.startswith("VERIFIED")
    assert changed.startswith("TAMPERED")
    assert "entry 0 to 1 " in changed
    assert changed.endswith("exit status 1\n")
    assert '"verdict":"tampered"' in public
    assert audited.endswith("exit status 1\n")
    assert "tampered" in (tmp_path / "verdict.html").read_text(encoding="utf-8").lower()


def named(verdict: str, entry: int) -> bool:
    """Whether a range that a verdict names holds the entry: how entries share blocks is up to the clock."""
    ranges = re.findall(r"\bentry (\d+)(?: to (\d+))?", verdict)
    return any(int(first) <= entry <= int(last or first) for first, last in ranges)


def test_the_tutorial_works(tmp_path: Path) -> None:
    """The commands of docs/tutorial.md, in order: each attack is found where the page says."""
    _, sealed, verified, changed, cut, shown = run_blocks("docs/tutorial.md", tmp_path)
    assert sealed.count("action=login") == 5
    assert verified.startswith("VERIFIED")
    assert changed.startswith("TAMPERED")
    assert named(changed, 2)
    assert changed.endswith("exit status 1\n")
    assert cut.startswith("TAMPERED")
    assert named(cut, 4)
    assert "user=u4 action=login" in shown
    assert "verified" in (tmp_path / "verdict.html").read_text(encoding="utf-8").lower()
