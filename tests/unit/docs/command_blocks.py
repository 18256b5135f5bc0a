"""The command blocks of all pages: which test runs them, or why none does.

A block is run by the test of its page, unless `<!-- not run: REASON -->` stands on the line above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RUN_BY = {
    "README.md": "tests/unit/docs/test_pages.py",
    "docs/auditors.md": "tests/integration/docs/test_auditors_page.py",
    "docs/format.md": "tests/unit/docs/test_by_hand.py",
    "docs/proofs.md": "tests/unit/evidence/test_proof.py",
    "docs/python.md": "tests/integration/api/test_python_page.py",
    "docs/tutorial.md": "tests/unit/docs/test_pages.py",
}
"""The test that runs every block of a page that has no mark."""

_BLOCK = re.compile(r"(?:^<!-- not run: (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SHELLS = {"sh", "bash"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page: its language, its text, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    reason: str

    @property
    def is_command(self) -> bool:
        """Whether it is there to be typed; a block without a language shows a form, or output."""
        return self.language in _SHELLS


def pages() -> list[Path]:
    """Every page that a person reads."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return sorted(found)


def blocks_of(path: Path) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    text, page = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[2], match[3], match[1] or "")


def runnable(page: str) -> list[str]:
    """The texts of the blocks of a page that are to be run, in order."""
    return [block.text for block in blocks_of(ROOT / page) if block.is_command and not block.reason]


def invocations(text: str) -> Iterator[list[str]]:
    """Each call of the program in a block, as words without quotes and brackets; up to a pipe or a remark."""
    for line in text.replace("\\\n", " ").splitlines():
        for found in re.finditer(r"(?:^|[|;&($]|\bdo|epochseal) *epochseal ([^|;&#)$]*)", line):
            words = re.split(r"\s{3,}", found[1])[0].split()
            yield [word.strip("[]'\"") for word in words]
