"""Text of somebody else, made fit to be shown: on a terminal, on a page, in JSON.

Whatever a log, a file name, a server, a trail or a caller says may hold characters that clear a screen, begin
a line of their own, turn the direction of writing, or cannot be written as UTF-8 at all. Everything that is
shown goes through here, and those characters become escapes of printable ASCII.
"""

from __future__ import annotations

import re

import msgspec

from epochseal.encoding import UNSEEN

_LOWEST, _HIGHEST = 0xDC80, 0xDCFF
"""How Python keeps a byte that is no UTF-8, from a file name or an argument."""


def visible(text: str | bytes) -> str:
    """One line of text: blanks stay, and whatever else cannot be seen stands there as an escape."""
    return UNSEEN.sub(lambda found: found[0] if found[0] == " " else _escape(found[0]), _as_text(text))


def visible_lines(data: bytes) -> str:
    """Text of several lines: line feeds stay, and each line is as `visible` makes it."""
    return "\n".join(map(visible, _as_text(data).split("\n")))


def visible_pieces(text: str | bytes) -> list[str]:
    """The same as `visible` in turns, as it is and escaped, so that a page can mark what was escaped."""
    pieces = [""]
    for character in _as_text(text):
        seen = character == " " or UNSEEN.match(character) is None
        # The even places hold plain text, the odd ones escapes.
        if seen == (len(pieces) % 2 == 0):
            pieces.append("")
        pieces[-1] += character if seen else _escape(character)
    return pieces


def encode_visible_json(value: object) -> bytes:
    """One object on one line, without a line end; what cannot be seen in its strings stands as an escape.

    Half a surrogate pair has no escape that every reader of JSON takes: it is told as `visible` tells it.
    """
    import json  # noqa: PLC0415  # most commands print none

    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
    # Outside of its strings JSON in this form has none of these.
    return UNSEEN.sub(_json_escape, text).encode()


def _as_text(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")


def _escape(character: str) -> str:
    code = ord(character)
    if _LOWEST <= code <= _HIGHEST:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:  # noqa: PLR2004  # what two digits hold
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  # what four digits hold


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if character == " ":
        return " "
    if "\ud800" <= character <= "\udfff":
        return "\\" + _escape(character)
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
