"""Lines that belong together: several lines of one record, or a long line that a container runtime cut up.

Joined they are one entry, in escaped form: `cat` gives back the lines as they were written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

ContainerFormat = Literal["cri", "docker"]

_PARTIAL: dict[ContainerFormat, re.Pattern[bytes]] = {
    # TIME STREAM P TEXT; a whole line, and the last part of one, has F.
    "cri": re.compile(rb"^[^ \n]+ (?:stdout|stderr) P(?::[^ \n]*)? [^\n]*\n", re.MULTILINE),
    # {"log":"TEXT", where a whole line, and the last part of one, ends in a newline, which is written \n.
    "docker": re.compile(rb'^\{"log":"(?:[^"\\\n]|\\[^n\n]|\\n(?!"))*"[^\n]*\n', re.MULTILINE),
}
_LINE = re.compile(rb"[^\n]*\n")


@dataclass(frozen=True, slots=True)
class StartOfRecord:
    """A record begins with a line that matches, and goes on up to the next such line."""

    pattern: re.Pattern[bytes]

    @classmethod
    def of(cls, text: str) -> StartOfRecord:
        """A regular expression for the beginning of a line.

        Raises:
            re.error: it is none.
        """
        return cls(re.compile(rb"^(?:%b)" % text.encode(), re.MULTILINE))

    def ends(self, lines: bytes) -> list[int]:
        """Where records end in whole lines, of which the first begins one; the last one may go on."""
        return [match.start() for match in self.pattern.finditer(lines) if match.start()]


@dataclass(frozen=True, slots=True)
class ContainerLines:
    """A line whose format says that it is a part goes on in the next line."""

    format: ContainerFormat

    def ends(self, lines: bytes) -> list[int]:
        """Where whole lines of the container end."""
        parts = {match.end() for match in _PARTIAL[self.format].finditer(lines)}
        return [end for match in _LINE.finditer(lines) if (end := match.end()) not in parts]


Rule = StartOfRecord | ContainerLines
