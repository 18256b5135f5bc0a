"""The commands of docs/format.md, section 16, run as they stand on the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SEGMENT = "log/segments/000001-20261123T100000Z"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all commands of the section as one script."""
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^```bash\n(.*?)^```$", page[page.index("## 16 By hand") :], re.DOTALL | re.MULTILINE
    )
    assert len(commands) >= 5
    return subprocess.run(
        ["bash", "-c", "".join(commands)], cwd=folder, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the worked example's log and public key."""
    return Path(shutil.copytree(ROOT / "tests" / "vectors" / "worked", tmp_path / "worked"))


def test_the_page_reaches_the_verdict(folder: Path) -> None:
    """Standard tools alone verify the log, in the words of the page."""
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "verified: 2 entries, signed and sealed"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (f"{SEGMENT}.log", b"id=7", b"id=8"),
        (f"{SEGMENT}.seal", b'"reason":"interval"', b'"reason":"entries!"'),
        (f"{SEGMENT}.seal", b"} oqsVnWgLgbRKp1", b"} pqsVnWgLgbRKp1"),
        (f"{SEGMENT}.seal", b'"wrapped":"YAIm', b'"wrapped":"YAIn'),
        (f"{SEGMENT}.seal", b'"bytes":0,"run":0}', b'"bytes":0,"run":1}'),
        (f"{SEGMENT}.seal", b'"log":"U7ye', b'"log":"U7yf'),
        ("log/checkpoint", b"worked 6rUVkGdU", b"worked 6rUVkGdV"),
        ("log/checkpoint", b"\n7\n", b"\n5\n"),
    ],
    ids=["entry", "line", "tag", "announced", "run", "id", "signature", "size"],
)
def test_a_change_stops_it(folder: Path, name: str, old: bytes, new: bytes) -> None:
    """The commands do check: each kind of damage ends them before the verdict."""
    content = (folder / name).read_bytes()
    assert content.count(old) == 1
    (folder / name).write_bytes(content.replace(old, new))
    done = run(folder)
    assert done.returncode != 0
    assert "verified:" not in done.stdout
