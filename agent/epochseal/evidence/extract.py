"""Give back what the source sent, and nothing that does not verify.

A block is handed on only if its line is authentic, its bytes have the sealed digest (the very bytes that were
hashed are handed on), it was there when the log was verified, and no problem of the verdict touches it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from epochseal.format.escaping import unescape
from epochseal.format.seal_lines import Block
from epochseal.verifier import KINDS, Verdict
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.keyring import Keyring, Recoverers
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import take_snapshot

_LAST = 2**63
_FROM_THERE_ON = {"link_broken"}
_BESIDE_ENTRIES = {"entries_inserted", "foreign_bytes", "bad_unsealed"}


def damaged_ranges(verdict: Verdict) -> list[tuple[int, int]]:
    """The entries that may not be handed on: those of tampering and distrust, and any that came later.

    Whatever follows a link that does not hold was only ever carried on from there: none of it is handed on.
    Bytes that stand beside sealed entries are not read by anybody, so they cost no entry.
    """
    bad = [
        problem
        for problem in verdict.problems
        if KINDS[problem.kind].grade in {"tampered", "untrusted"} and problem.kind not in _BESIDE_ENTRIES
    ]
    ranges = [(item.first_entry, _LAST if item.kind in _FROM_THERE_ON else item.last_entry) for item in bad]
    return sorted([*ranges, (verdict.entries, _LAST)])


def extract(
    logdir: Path,
    recoverers: Recoverers,
    verdict: Verdict,
    write: Callable[[bytes], object],
    wanted: tuple[int, int] = (0, _LAST),
) -> None:
    """Write the wanted entries (both ends included), a block at a time, as the source sent them.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed.
    """
    bad = damaged_ranges(verdict)
    keyring = Keyring(recoverers)
    output = _Output(write)
    for part in take_snapshot(logdir).parts:
        if part.first_entry > wanted[1] or (part.epochs and 0 <= part.epochs[-1].next_entry <= wanted[0]):
            continue
        content = SealedEntries(part.log, part.sealed, keep=True)
        try:
            for epoch in part.epochs:
                check_epoch(part, epoch, content, keyring, _sink(content, bad, wanted, output))
        finally:
            content.close()


def extract_unverified(
    logdir: Path, write: Callable[[bytes], object], wanted: tuple[int, int] = (0, _LAST)
) -> bool:
    """Write the wanted entries as they are stored, decompressed and unchecked; whether there was a segment.

    Raises:
        StorageError: a file cannot be read.
    """
    number = 0
    parts = take_snapshot(logdir).parts
    for part in parts:
        number = part.first_entry if part.epochs else number
        content = SealedEntries(part.log, part.sealed)
        try:
            for piece in content.pieces():
                # A piece is written before the end of its last entry is read: without a seal nothing bounds
                # how long an entry may be.
                lines = piece.split(b"\n")
                first, stop = max(wanted[0] - number, 0), max(wanted[1] - number + 1, 0)
                if chosen := lines[first:stop]:
                    write(b"\n".join(chosen) + (b"\n" if stop < len(lines) else b""))
                number += len(lines) - 1
        finally:
            content.close()
    return bool(parts)


class _Output:
    """What is handed on. An LF that no source sent is left out at the end, never between entries."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._open = False

    def add(self, entries: bytes, *, unfinished: bool) -> None:
        if self._open:
            self._write(b"\n")
        self._open = unfinished
        self._write(entries)


def _sink(
    content: SealedEntries, bad: list[tuple[int, int]], wanted: tuple[int, int], output: _Output
) -> Callable[[Block], None]:
    def write_block(block: Block) -> None:
        last = block.first_entry + block.entries - 1
        if any(first <= last and block.first_entry <= end for first, end in bad):
            return
        if block.first_entry > wanted[1] or last < wanted[0]:
            return
        src = block.src
        unfinished = src is not None and bool(src.nolf) and last <= wanted[1]
        output.add(_as_sent(bytes(content.kept), block, wanted, unfinished=unfinished), unfinished=unfinished)

    return write_block


def _as_sent(data: bytes, block: Block, wanted: tuple[int, int], *, unfinished: bool) -> bytes:
    last = block.first_entry + block.entries - 1
    if block.first_entry < wanted[0] or last > wanted[1]:
        lines = data.split(b"\n")[:-1]
        first, stop = max(wanted[0] - block.first_entry, 0), wanted[1] - block.first_entry + 1
        data = b"".join(line + b"\n" for line in lines[first:stop])
    src = block.src
    if unfinished:
        data = data[:-1]
    return unescape(data) if src is not None and src.esc else data
