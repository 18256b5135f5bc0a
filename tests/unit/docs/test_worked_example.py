"""The worked example of docs/format.md: the page, the script, the stored vector and our verifier agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from epochseal.keys import load_backend, parse_key_uri
from epochseal.verifier import Request, Verdict, verify

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "format.md"
VECTOR = ROOT / "tests" / "vectors" / "worked"
PARTS = ("worked example", "short seal file", "short checkpoint")
LAST_TIME = 1795428310000


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the script prints, and the folder that it writes."""
    folder = tmp_path_factory.mktemp("worked")
    command = [sys.executable, str(ROOT / "docs" / "worked_example.py"), str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout, folder


def judge(folder: Path, *, keys: bool, now: int = LAST_TIME + 1000) -> Verdict:
    """What our verifier says of the log in a folder that the script wrote."""
    verifier = parse_key_uri(f"file:{folder}/keys/verifier")
    auditor = parse_key_uri(f"file:{folder}/keys/auditor")
    request = Request(
        make_recoverer=(lambda: load_backend(verifier).recoverer(verifier, {})) if keys else None,
        checkpoint_key=load_backend(auditor).public_key(auditor, {}),
        now=lambda: now,
    )
    return verify(folder / "log", request)


def test_the_page_holds_what_the_script_prints(output: tuple[str, Path]) -> None:
    """No value on the page can go stale: between its markers stands the script's output, byte for byte."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- worked example: begin -->\n```\n", "```\n<!-- worked example: end -->"
    start = page.index(begin) + len(begin)
    assert page[start : page.index(end, start)] == output[0]


def test_the_script_writes_its_parts_of_the_page(tmp_path: Path) -> None:
    """`--page` puts back what somebody emptied, and what it puts there is what stands there now."""
    page = PAGE.read_text(encoding="utf-8")
    emptied = page
    for part in PARTS:
        head, begin, rest = emptied.partition(f"<!-- {part}: begin -->\n```\n")
        shown, end, tail = rest.partition(f"```\n<!-- {part}: end -->")
        assert shown
        emptied = head + begin + end + tail
    script = Path(shutil.copy(ROOT / "docs" / "worked_example.py", tmp_path))
    (tmp_path / "format.md").write_text(emptied, encoding="utf-8")
    subprocess.run([sys.executable, str(script), "--page"], check=True, timeout=60)
    assert (tmp_path / "format.md").read_text(encoding="utf-8") == page


def test_the_vector_is_what_the_script_writes(output: tuple[str, Path]) -> None:
    """The stored log is the one that the page explains."""
    stored = sorted(path.relative_to(VECTOR) for path in VECTOR.rglob("*") if path.is_file())
    assert stored
    for name in stored:
        assert (VECTOR / name).read_bytes() == (output[1] / name).read_bytes(), name
    logs = {path.relative_to(output[1]) for path in (output[1] / "log").rglob("*") if path.is_file()}
    assert logs <= set(stored)


@pytest.mark.parametrize("keys", [True, False], ids=["keys", "public"])
def test_the_log_verifies(output: tuple[str, Path], *, keys: bool) -> None:
    """Our verifier accepts a log that no code of the agent has touched."""
    verdict = judge(output[1], keys=keys)
    assert (verdict.verdict, verdict.problems) == ("verified", [])
    assert (verdict.entries, verdict.signed_entries, verdict.epochs, verdict.tree_size) == (2, 2, 2, 7)
    assert verdict.closed


def test_long_after_its_close_it_still_verifies(output: tuple[str, Path]) -> None:
    """A closed log does not age."""
    assert judge(output[1], keys=True, now=LAST_TIME + 10 * 365 * 86_400_000).verdict == "verified"


@pytest.mark.parametrize("name", ["log", "seal"])
def test_every_changed_byte_is_detected(output: tuple[str, Path], tmp_path: Path, name: str) -> None:
    """Both files are authenticated whole: one flipped bit at any place and the verdict is not `verified`."""
    shutil.copytree(output[1], tmp_path / "copy")
    (path,) = (tmp_path / "copy" / "log" / "segments").glob(f"*.{name}")
    content = path.read_bytes()
    step = 1 if name == "log" else 7
    for place in range(0, len(content), step):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        # An old file is taken as it is; a fresh one could be a living agent's, for which the verifier waits.
        os.utime(path, (0, 0))
        assert judge(tmp_path / "copy", keys=True).verdict in {"tampered", "untrusted"}, place
