"""Which entries of the journal are wanted, and which of them are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """By units, fields and priority as journalctl has them, less what `exclude` names; all by default.

    Args:
        units: names or patterns; one of them has to be an entry's.
        matches: `FIELD=VALUE`; of one field one has to hold, of several fields one of each.
        priorities: one (that or more urgent), or `FROM..TO`; empty for all.
        exclude: `FIELD=VALUE`; an entry for which one of them holds is left out.
    """

    units: Sequence[str] = ()
    matches: Sequence[str] = ()
    priorities: str = ""
    exclude: Sequence[str] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.units or self.matches or self.priorities or self.exclude)

    def words(self) -> list[str]:
        """What journalctl is told; it cannot exclude."""
        words = [f"--unit={unit}" for unit in self.units]
        words += [f"--priority={self.priorities}"] if self.priorities else []
        return [*words, *self.matches]


class Exclusion:
    """Leaves lines out of what journalctl prints: whole lines at a time, without looking at each.

    Args:
        exclude: `FIELD=VALUE`, as in `Selection`.
        longest: bytes of a line that are waited for; of one that is longer nothing is left out.
    """

    def __init__(self, exclude: Sequence[str], longest: int) -> None:
        # In the text of a JSON string every quote has a backslash before it. So an entry can hold these bytes
        # only as a field of its own, and no program can have its entry left out by what it writes.
        fields = b"|".join(_member(*item.split("=", 1)) for item in exclude)
        self._lines = re.compile(rb"^[^\n]*[{,](?:%b)[,}][^\n]*\n" % fields, re.MULTILINE)
        self._longest = longest
        self._kept = bytearray()
        self._passing = False

    def feed(self, data: bytes) -> bytes:
        """What is left of the whole lines up to now; the rest is kept until it is whole."""
        self._kept += data
        if self._passing or len(self._kept) > self._longest:
            return self._pass()
        cut = self._kept.rfind(b"\n") + 1
        whole = bytes(self._kept[:cut])
        del self._kept[:cut]
        return self._lines.sub(b"", whole)

    def _pass(self) -> bytes:
        """Let go of a line that is too long to be waited for, up to its end."""
        found = self._kept.find(b"\n")
        end = found + 1 or len(self._kept)
        passed = bytes(self._kept[:end])
        del self._kept[:end]
        self._passing = found < 0
        return passed + (self.feed(b"") if not self._passing and self._kept else b"")


def _member(field: str, value: str) -> bytes:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return re.escape(f'"{field}":"{escaped}"'.encode())
