"""What the pages have in common: counts in words, text that cannot deceive, the files beside this one."""

from __future__ import annotations

from importlib.resources import files

from epochseal.report.excerpts import escape


def count(number: int, noun: str) -> str:
    """So many of them, in words."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def plain(text: str) -> str:
    """Text that came from a file or a command line, with escapes for what could deceive a reader."""
    return "".join(escape(text.encode("utf-8", "surrogateescape")))


def resource(name: str) -> str:
    """A file that lies beside this module."""
    return (files("epochseal.report") / name).read_text(encoding="utf-8")
