"""What the reference verifier may be made of."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

import pytest

LIMITS = {"verifier.py": 300, "notes.py": 150, "trust.py": 300}
"""The files and the chain; forms, lines and signed notes; what they are worth: keys, runs, pins, the end."""
TREES = {name: ast.parse(Path(__file__).with_name(name).read_text()) for name in LIMITS}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@pytest.mark.parametrize("name", LIMITS)
def test_reference_is_small(name: str) -> None:
    """The format needs few lines of code: blank lines, comments and docstrings are not counted."""
    source = Path(__file__).with_name(name).read_text()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = [(token.start[0], token.end[0]) for token in tokens if token.type not in NO_CODE]
    strings = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    assert strings
    assert LIMITS[name] / 2 < len(_lines(spans) - _lines(strings)) < LIMITS[name]


def _lines(spans: list[tuple[int, int]]) -> set[int]:
    return {line for first, last in spans for line in range(first, last + 1)}


@pytest.mark.parametrize("name", LIMITS)
def test_reference_stands_alone(name: str) -> None:
    """It imports the standard library, cryptography and itself, and nothing of epochseal."""
    imported = {node.names[0].name for node in ast.walk(TREES[name]) if isinstance(node, ast.Import)}
    imported |= {node.module or "" for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom)}
    foreign = {
        item for item in imported if item.split(".")[0] not in sys.stdlib_module_names | {"cryptography"}
    }
    assert foreign <= {"tests.reference.notes", "tests.reference.trust"}
