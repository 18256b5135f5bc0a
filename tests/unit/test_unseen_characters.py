"""What no name may hold is one list, that of docs/format.md, and everybody asks it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.encoding import UNSEEN
from epochseal.errors import EpochsealError, FormatError
from epochseal.evidence.trust_file import check_reason
from epochseal.foreign_text import visible
from epochseal.format.note import VerifierKey, check_origin
from epochseal.keys import Context, PublicKey
from epochseal.report.excerpts import escape

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
_TABLE = _PAGE.partition("**Origin**")[2].split("```")[1]
RANGES = [
    (int(first, 16), int(last or first, 16))
    for first, last in re.findall(r"U\+([0-9A-F]{4,5})(?:\u2013U\+([0-9A-F]{4,5}))?", _TABLE)
]
_LISTED = {code for first, last in RANGES for code in range(first, last + 1)}
_BESIDE = (
    {code + step for pair in RANGES for code in pair for step in (-1, 1)} - _LISTED - {-1, ord("+"), ord(";")}
)
_KEY = PublicKey("ed25519", bytes(32))


def test_the_list_of_the_page() -> None:
    """Every code point there is, and no other, of all that exist."""
    assert len(RANGES) > 20
    assert {code for code in range(sys.maxunicode + 1) if UNSEEN.match(chr(code))} == _LISTED


def _in_context(text: str) -> object:
    return Context(text, bytes(32), 0, bytes(32))


def _in_vkey(text: str) -> object:
    return VerifierKey(text, _KEY)


@pytest.mark.parametrize("check", [_in_context, _in_vkey, check_origin, check_reason])
def test_everybody_asks_it(check: Callable[[str], object]) -> None:
    """An origin, a key's name and a reason: refused with each of them, taken with their neighbours."""
    blank = {ord(" ")} if check is check_reason else set()
    for code in sorted(_LISTED - blank):
        with pytest.raises(EpochsealError):
            check(f"a{chr(code)}b")
    for code in sorted(_BESIDE | blank):
        check(f"a{chr(code)}b")


def test_what_names_and_origins_refuse_besides() -> None:
    """`+` ends a vkey's name, `;` a context's origin; a name of somebody else's key may hold a `;`."""
    for text in ("a+b", "a;b"):
        for check in (_in_context, check_origin):
            with pytest.raises(EpochsealError):
                check(text)
        check_reason(text)
    with pytest.raises(FormatError):
        _in_vkey("a+b")
    _in_vkey("a;b")


def test_what_is_shown() -> None:
    """On a terminal and on a page each of them but the blank is an escape, and its neighbours are not."""
    for code in sorted(_LISTED - {ord(" ")}):
        assert not UNSEEN.search(visible(f"a{chr(code)}b"))
        # Bytes are what a page shows: a lone surrogate is no character of them, and they are escaped too.
        assert not UNSEEN.search("".join(escape(f"a{chr(code)}b".encode("utf-8", "surrogatepass"))))
    for code in sorted(_BESIDE | {ord(" ")}):
        assert visible(f"a{chr(code)}b") == f"a{chr(code)}b"
        assert "".join(escape(f"a{chr(code)}b".encode())) == f"a{chr(code)}b"


def test_what_programs_are_told() -> None:
    """JSON has them as escapes, which a reader turns back into what they were."""
    text = "".join(f"a{chr(code)}" for code in sorted(_LISTED - set(range(0xD800, 0xE000))))
    call = (
        "import sys; from epochseal.cli.console import print_json\n"
        "print_json([sys.stdin.buffer.read().decode()])"
    )
    done = subprocess.run([sys.executable, "-c", call], input=text.encode(), capture_output=True, check=True)
    line = done.stdout.decode()
    assert json.loads(line) == [text]
    assert set(UNSEEN.findall(line)) == {" ", "\n"}


def test_one_place_prints() -> None:
    """No file but these writes to standard output or standard error, so that no text passes by."""
    agent = Path(__file__).resolve().parents[2] / "agent" / "epochseal"
    printing = re.compile(r"click\.s?echo|(?<![\w.])print\(|sys\.std(out|err)\b|os\.write\([12]\b")
    found = {
        str(path.relative_to(agent))
        for path in agent.rglob("*.py")
        if printing.search(path.read_text("utf-8"))
    }
    # The bar and whether there is a terminal; counts for a feeder; and click's own help text.
    allowed = {"cli/progress.py", "cli/seal.py", "cli/program.py"}
    assert found - allowed == {"cli/console.py", "standard_streams.py"}
