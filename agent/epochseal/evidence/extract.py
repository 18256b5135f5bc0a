"""Give back what the source sent, and nothing that does not verify.

A block is handed on only if its line is authentic, its bytes have the sealed digest (the very bytes that were
hashed are handed on), it was there when the log was verified, and no problem of the verdict touches it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.format.escaping import unescape
from epochseal.format.seal_lines import Block
from epochseal.storage.opener import GoneError
from epochseal.verifier import KINDS, Verdict
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_secrets import Recoverers
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.reading_budget import SHARED
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.snapshot import SegmentPart, take_snapshot

_LAST = 2**63
_FROM_THERE_ON = {"link_broken"}
_BESIDE_ENTRIES = {"entries_inserted", "foreign_bytes", "bad_unsealed"}


def damaged_ranges(verdict: Verdict) -> list[tuple[int, int]]:
    """The entries that may not be handed on: those of tampering and distrust, and any that came later.

    The ranges are in order, and do not touch each other.

    Whatever follows a link that does not hold was only ever carried on from there: none of it is handed on.
    Bytes that stand beside sealed entries are not read by anybody, so they cost no entry.
    """
    bad = [
        problem
        for problem in verdict.problems
        if KINDS[problem.kind].grade in {"tampered", "untrusted"} and problem.kind not in _BESIDE_ENTRIES
    ]
    ranges = [(item.first_entry, _LAST if item.kind in _FROM_THERE_ON else item.last_entry) for item in bad]
    merged: list[tuple[int, int]] = []
    for first, last in sorted([*ranges, (verdict.entries, _LAST)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def extract(
    logdir: Path,
    recoverers: Recoverers,
    verdict: Verdict,
    write: Callable[[bytes], object],
    wanted: tuple[int, int] = (0, _LAST),
    *,
    present: int = 0,
) -> list[tuple[int, int]]:
    """Write the wanted entries (both ends included), a block at a time, as the source sent them.

    `present` is the number of the first entry that was there when the log was verified.

    Returns:
        The ranges of wanted entries that have expired since then, and could not be written.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed.
    """
    bad = damaged_ranges(verdict)
    keyring = Keyring(recoverers)
    output = _Output(write)
    parts = take_snapshot(logdir).parts
    keyring.secrets.expect(
        [epoch.header for part in parts for epoch in part.epochs if epoch.header is not None]
    )
    expired = _Expired(parts, wanted, verdict.entries)
    expired.note(present, next((part.first_entry for part in parts if part.epochs), verdict.entries))
    for place, part in enumerate(parts):
        if part.first_entry > wanted[1] or (part.epochs and 0 <= part.epochs[-1].next_entry <= wanted[0]):
            continue
        output.next_entry = part.first_entry
        try:
            _extract_part(part, keyring, bad, wanted, output)
        except GoneError:
            expired.note_rest(place, output.next_entry)
    return expired.ranges


def _extract_part(
    part: SegmentPart, keyring: Keyring, bad: list[tuple[int, int]], wanted: tuple[int, int], output: _Output
) -> None:
    content = SealedEntries(part.log, part.sealed, part.reading, keep=True)
    try:
        for epoch in part.epochs:
            check_epoch(part, epoch, content, keyring, _sink(content, bad, wanted, output))
    finally:
        content.close()


def extract_unverified(
    logdir: Path, write: Callable[[bytes], object], wanted: tuple[int, int] = (0, _LAST)
) -> tuple[bool, list[tuple[int, int]]]:
    """Write the wanted entries as they are stored, decompressed and unchecked.

    Returns:
        Whether there was a segment, and the ranges that have expired before they could be written.

    Raises:
        StorageError: a file cannot be read.
    """
    number, shared = 0, SHARED
    parts = take_snapshot(logdir).parts
    expired = _Expired(parts, wanted)
    for place, part in enumerate(parts):
        number = part.first_entry if part.epochs else number
        try:
            content = SealedEntries(part.log, part.sealed, part.reading)
        except GoneError:
            expired.note_rest(place, number)
            continue
        try:
            for piece in content.pieces(shared):
                # A piece is written before the end of its last entry is read: without a seal nothing bounds
                # how long an entry may be.
                lines = piece.split(b"\n")
                first, stop = max(wanted[0] - number, 0), max(wanted[1] - number + 1, 0)
                if chosen := lines[first:stop]:
                    write(b"\n".join(chosen) + (b"\n" if stop < len(lines) else b""))
                number += len(lines) - 1
            shared = max(shared - content.beyond, 0)
        finally:
            content.close()
        if content.too_far:
            raise StorageError(
                f"{part.log} holds far more bytes than it takes on the disk: the rest is not printed",
                "decompress it, or copy it without holes, and try again",
            )
    return bool(parts), expired.ranges


class _Expired:
    """Ranges of wanted entries whose segments were gone; the last one ends with entry `stop` - 1."""

    def __init__(self, parts: list[SegmentPart], wanted: tuple[int, int], stop: int = _LAST) -> None:
        self.ranges: list[tuple[int, int]] = []
        self._parts = parts
        self._wanted = wanted
        self._stop = stop

    def note_rest(self, place: int, first: int) -> None:
        """From entry `first` on, up to the segment behind that at `place`."""
        behind = self._parts[place + 1 :]
        self.note(first, next((part.first_entry for part in behind if part.epochs), self._stop))

    def note(self, first: int, stop: int) -> None:
        """Entries `first` to `stop` - 1."""
        first, last = max(first, self._wanted[0]), min(stop - 1, self._wanted[1])
        if first <= last:
            self.ranges.append((first, last))


class _Output:
    """What is handed on. An LF that no source sent is left out at the end, never between entries."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.next_entry = 0
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
    ends = [end for _, end in bad]

    def write_block(block: Block) -> None:
        last = block.first_entry + block.entries - 1
        output.next_entry = last + 1
        # The last range has no end: there is always one that ends behind the block's first entry.
        if bad[bisect_left(ends, block.first_entry)][0] <= last:
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
