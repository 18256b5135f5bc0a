"""Give back what the source sent, and nothing that does not verify.

A block is handed on only if its line is authentic, its bytes have the sealed digest (the very bytes that were hashed
are handed on), and no problem of the whole log's verdict touches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from epochseal.escaping import unescape
from epochseal.keys import Recoverer
from epochseal.lines import Block
from epochseal.verifier import KINDS, Problem
from epochseal.verifier.content import Content
from epochseal.verifier.epoch import Keyring, check_epoch
from epochseal.verifier.plan import take_snapshot

_LAST = 2**63


def damaged_ranges(problems: Sequence[Problem]) -> list[tuple[int, int]]:
    """The entries that may not be handed on: those of every problem that is tampering or distrust."""
    bad = (problem for problem in problems if KINDS[problem.kind][0] in {"tampered", "untrusted"})
    return sorted((problem.first_entry, problem.last_entry) for problem in bad)


def extract(
    logdir: Path,
    recoverer: Recoverer,
    problems: Sequence[Problem],
    write: Callable[[bytes], object],
    wanted: tuple[int, int] = (0, _LAST),
) -> None:
    """Write the wanted entries (both ends included), a block at a time, as the source sent them.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed.
    """
    bad = damaged_ranges(problems)
    keyring = Keyring(recoverer)
    for part in take_snapshot(logdir).parts:
        if part.first_entry > wanted[1] or (part.epochs and 0 <= part.epochs[-1].next_entry <= wanted[0]):
            continue
        content = Content(part.log, part.sealed, keep=True)
        try:
            for epoch in part.epochs:
                check_epoch(part, epoch, content, keyring, _sink(content, bad, wanted, write))
        finally:
            content.close()


def extract_unverified(logdir: Path, write: Callable[[bytes], object], wanted: tuple[int, int] = (0, _LAST)) -> bool:
    """Write the wanted entries as they are stored, decompressed and unchecked; whether there was a segment.

    Raises:
        StorageError: a file cannot be read.
    """
    number = -1
    parts = take_snapshot(logdir).parts
    for part in parts:
        number = part.first_entry if part.epochs else max(number, 0)
        content = Content(part.log, part.sealed)
        rest = b""
        try:
            for piece in content.pieces():
                *lines, rest = (rest + piece).split(b"\n")
                first, stop = max(wanted[0] - number, 0), max(wanted[1] - number + 1, 0)
                write(b"".join(line + b"\n" for line in lines[first:stop]))
                number += len(lines)
        finally:
            content.close()
        if rest and wanted[0] <= number <= wanted[1]:
            write(rest)
    return bool(parts)


def _sink(
    content: Content, bad: list[tuple[int, int]], wanted: tuple[int, int], write: Callable[[bytes], object]
) -> Callable[[Block], None]:
    def take(block: Block) -> None:
        last = block.first_entry + block.entries - 1
        if any(first <= last and block.first_entry <= end for first, end in bad):
            return
        if block.first_entry > wanted[1] or last < wanted[0]:
            return
        write(_as_sent(bytes(content.kept), block, wanted))

    return take


def _as_sent(data: bytes, block: Block, wanted: tuple[int, int]) -> bytes:
    last = block.first_entry + block.entries - 1
    if block.first_entry < wanted[0] or last > wanted[1]:
        lines = data.split(b"\n")[:-1]
        first, stop = max(wanted[0] - block.first_entry, 0), wanted[1] - block.first_entry + 1
        data = b"".join(line + b"\n" for line in lines[first:stop])
    src = block.src
    if src is not None and src.nolf and last <= wanted[1]:
        data = data[:-1]
    return unescape(data) if src is not None and src.esc else data
