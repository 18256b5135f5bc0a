"""How a seal file ends, and whether a living agent would go on there at once (docs/format.md, 13.2)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from epochseal.errors import FormatError, StorageError
from epochseal.format.seal_lines import End, Header, TaggedLine, parse_line
from epochseal.storage.opener import open_file
from epochseal.verifier.seal_files import SealFile, lines_backwards


class Tail(msgspec.Struct, frozen=True):
    """The last tagged line, None if there is none that can be read, and whether a note stands behind it."""

    line: TaggedLine | None = None
    noted: bool = False
    empty: bool = False


def read_tail(seal: Path, lines: SealFile) -> Tail:
    """The end of a seal file that was cut into epochs; of one that is gone by now, as of an empty one."""
    noted = False
    if not lines.stop:
        return Tail(empty=True)
    try:
        with open_file(seal) as file:
            for raw in lines_backwards(file, lines.stop):
                if not raw.startswith(b"note "):
                    line = parse_line(raw)
                    return Tail(line if isinstance(line, TaggedLine) else None, noted)
                noted = True
    except FormatError:
        return Tail(None, noted)
    except (OSError, StorageError):
        return Tail(empty=True)
    return Tail(None, noted)


def is_unfinished(tail: Tail, before: Tail | None) -> bool:
    """Whether a line must follow at once: an epoch behind an `end`, or a note over a start or a close.

    `before` is the end of the segment before, if the last epoch is the first one of its segment.
    """
    if tail.line is None:
        return tail.empty
    body = tail.line.body
    if isinstance(body, Header):
        behind = before.line.body if before is not None and before.line is not None else None
        # Behind a close, or an epoch that was begun and not gone on with, the carry alone is not enough.
        signed = isinstance(behind, Header) or (isinstance(behind, End) and behind.reason == "close")
        return (body.link != "carry" or signed) and not tail.noted
    return isinstance(body, End) and (body.reason != "close" or not tail.noted)
