"""On which line of a TOML file a key stands; tomllib reads the values, and gives no places."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
# Up to two quotation marks may stand right before the three that end such a string.
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:""(?!")|"(?!"))?', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'''(?:''(?!')|'(?!'))?", re.DOTALL)
_PLAIN = re.compile(r"[^,\]}\n#]*")

KeyPath = tuple[str | int, ...]
"""The way to a key: names of tables, and places in arrays."""


class KeyLines:
    """The lines of all keys of one text, which tomllib has accepted already.

    Args:
        text: the whole file.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._lines: dict[KeyPath, int] = {}
        self._arrays: dict[KeyPath, int] = {}
        self._read_document()

    def line(self, path: KeyPath) -> int:
        """The line of the key, counted from 1; of the table around it where the key itself is not there."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 1

    def _read_document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank() < len(self._text):
            line = self._line_here()
            if self._take("[["):
                table = self._table(self._key(), in_array=True)
                self._take("]]")
            elif self._take("["):
                table = self._table(self._key(), in_array=False)
                self._take("]")
            else:
                self._pair(table)
                continue
            self._lines.setdefault(table, line)

    def _table(self, names: list[str], *, in_array: bool) -> KeyPath:
        path: KeyPath = ()
        for place, name in enumerate(names):
            path += (name,)
            if in_array and place == len(names) - 1:
                self._lines.setdefault(path, self._line_here())
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:
                # [log.tls] below [[log]] means the latest item.
                path += (self._arrays[path] - 1,)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        for name in self._key():
            table += (name,)
            self._lines.setdefault(table, line)
        self._take("=")
        self._skip_blank()
        self._value(table)

    def _value(self, path: KeyPath) -> None:
        self._lines.setdefault(path, self._line_here())
        if self._take("["):
            place = 0
            while not self._closed("]"):
                self._value((*path, place))
                place += 1
                self._take(",")
        elif self._take("{"):
            while not self._closed("}"):
                self._pair(path)
                self._take(",")
        elif self._string() is None:
            self._match(_PLAIN)

    def _closed(self, mark: str) -> bool:
        return self._skip_blank() >= len(self._text) or self._take(mark)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip_blank()
            quoted = self._string()
            # The rules of quoting are tomllib's: a table of one key has that key.
            names.append(
                self._match(_BARE_KEY) if quoted is None else next(iter(tomllib.loads(quoted + "=0")))
            )
            self._skip_blank()
            if not self._take("."):
                return names

    def _string(self) -> str | None:
        for form in (_LONG_BASIC, _LONG_LITERAL, _BASIC, _LITERAL):
            if found := form.match(self._text, self._at):
                self._at = found.end()
                return found[0]
        return None

    def _match(self, form: re.Pattern[str]) -> str:
        found = form.match(self._text, self._at)
        if found is None or not found[0]:
            # Nothing that tomllib accepts comes here; without a step the loop would never end.
            self._at += 1
            return ""
        self._at = found.end()
        return found[0]

    def _take(self, mark: str) -> bool:
        self._skip_blank()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _skip_blank(self) -> int:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _line_here(self) -> int:
        return bisect_right(self._starts, self._at)
