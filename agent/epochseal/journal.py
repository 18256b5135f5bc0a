"""The agent's own log: JSON objects on stderr, one line an event, fields instead of sentences.

What goes in is chosen by name at the place of the call: never an entry's content, never a secret. A line is
plain ASCII, so that no path or message can add a line of its own, or move a terminal's cursor.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from epochseal.errors import EpochsealError

Field: TypeAlias = str | int | float | bool | None
Level = Literal["info", "warning", "error"]


@dataclass(slots=True)
class _Target:
    fd: int
    used: bool = False


class Journal:
    """Writes events to a descriptor, each in one write.

    Args:
        fd: where to; 2 is stderr. One that fails is put up with: the log that matters is the sealed one.
        bound: fields of every event.
    """

    def __init__(self, fd: int = 2, **bound: Field) -> None:
        self._target = _Target(fd)
        self._bound = bound

    def bind(self, **fields: Field) -> Journal:
        """A journal whose events have these fields too, and go wherever those of this one go."""
        bound = Journal(self._target.fd, **self._bound, **fields)
        bound._target = self._target
        return bound

    def redirect(self, fd: int) -> None:
        """Write to this descriptor from now on."""
        self._target.fd = fd

    @property
    def has_told(self) -> bool:
        """Whether any event was written."""
        return self._target.used

    def tell(self, level: Level, event: str, **fields: Field) -> None:
        """Something of any level."""
        self._write(level, event, fields)

    def info(self, event: str, **fields: Field) -> None:
        """Something that an operator may want to see later."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Something that goes on, but not as it should."""
        self._write("warning", event, fields)

    def error(self, event: str, exc: BaseException, **fields: Field) -> None:
        """Something failed; of an error that is not ours only the type, as its text could hold a secret."""
        told: dict[str, Field] = {"error": type(exc).__name__}
        if isinstance(exc, EpochsealError):
            told["message"] = str(exc)
            if exc.hint:
                told["hint"] = exc.hint
        self._write("error", event, told | fields)

    def _write(self, level: Level, event: str, fields: dict[str, Field]) -> None:
        moment = datetime.fromtimestamp(time.time(), tz=UTC).isoformat(timespec="milliseconds")
        record = {"time": moment.replace("+00:00", "Z"), "level": level, "event": event}
        line = json.dumps(record | self._bound | fields, ensure_ascii=True, separators=(",", ":"))
        with suppress(OSError):
            self._target.used = True
            os.write(self._target.fd, line.encode("ascii") + b"\n")
