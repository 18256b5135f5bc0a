"""Files that are named like rotated ones and are not: `worker-1.log` beside `worker.log`.

A rotation renames, and what has such a name by a rename is read as the file that it was. What is *made* under
such a name is either a copy (`copytruncate`) or a log of its own; its first bytes tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from epochseal.sources.file_identity import HEAD
from epochseal.sources.log_file import LogFile

_WAIT = 3.0
"""Seconds after which the first bytes of a copy are surely there."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    heads: frozenset[bytes]
    since: float


class Siblings:
    """Those that were not judged yet."""

    def __init__(self) -> None:
        self._candidates: dict[str, _Candidate] = {}

    def notice(self, path: str, heads: Iterable[bytes], now: float) -> None:
        """A file was made.

        Args:
            path: of it.
            heads: the first bytes of all files that it may be a copy of.
            now: seconds that never go back.
        """
        if path not in self._candidates:
            self._candidates[path] = _Candidate(frozenset(heads), now)

    def judge(self, now: float) -> list[str]:
        """Those that are logs of their own; copies, and what is gone, are never asked about again."""
        siblings = []
        for path, candidate in tuple(self._candidates.items()):
            if now - candidate.since < _WAIT:
                continue
            head = read_head(path)
            if head == b"":
                continue
            del self._candidates[path]
            if head is not None and not any(_begins_alike(head, known) for known in candidate.heads):
                siblings.append(path)
        return siblings


def read_head(path: str) -> bytes | None:
    """The first bytes of a file; None if there is none that can be read."""
    try:
        content = LogFile.open(path)
    except OSError:
        return None
    head, _ = content.ends(HEAD)
    content.close()
    return head


def _begins_alike(head: bytes, known: bytes) -> bool:
    size = min(len(head), len(known))
    return size > 0 and head[:size] == known[:size]
