"""What the pages have in common: counts in words, text that cannot deceive, the files beside this one."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from epochseal.foreign_text import visible

_LINK = re.compile(r"\[[^]]*\]\(([^)#]*)[^)]*\)")


def count(number: int, noun: str) -> str:
    """So many of them, in words."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def page_environment() -> Environment:
    """Templates whose every text, wherever it came from, is made visible, then escaped for HTML."""
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )


def _visible(value: object) -> object:
    # Markup is what a template itself has made, of values that went through here.
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def sentence(text: str) -> str:
    """Words of the table of kinds as a sentence without its full stop, and without the marks of Markdown."""
    plain_text = _LINK.sub(r"docs/\1", text).replace("`", "")
    return f"{plain_text[0].upper()}{plain_text[1:]}"


def resource(name: str) -> str:
    """A file that lies beside this module."""
    return (files("epochseal.report") / name).read_text(encoding="utf-8")
