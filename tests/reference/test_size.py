"""What the reference verifier may be made of."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

SOURCE = Path(__file__).with_name("verifier.py").read_text()
TREE = ast.parse(SOURCE)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def test_reference_is_small() -> None:
    """The format needs less than 300 lines of code: blank lines, comments and docstrings are not counted."""
    tokens = tokenize.generate_tokens(io.StringIO(SOURCE).readline)
    spans = [(token.start[0], token.end[0]) for token in tokens if token.type not in NO_CODE]
    strings = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(TREE)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    assert strings
    assert 200 < len(_lines(spans) - _lines(strings)) < 300


def _lines(spans: list[tuple[int, int]]) -> set[int]:
    return {line for first, last in spans for line in range(first, last + 1)}


def test_reference_stands_alone() -> None:
    """It imports the standard library and cryptography, and nothing of epochseal."""
    imported = {item.name for node in ast.walk(TREE) if isinstance(node, ast.Import) for item in node.names}
    imported |= {node.module or "" for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - sys.stdlib_module_names == {"cryptography"}
