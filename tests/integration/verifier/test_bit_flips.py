"""Every bit, seal line, entry and epoch of a small log: changed, removed, repeated, exchanged.

A sample by default; all of it with EPOCHSEAL_FULL=1.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import Block, NoteLine, parse_line
from epochseal.verifier import Verdict
from tests.integration.logs import MODES, Log, LogKeys, LogWriter, Mode, entry
from tests.integration.verifier.attacks import cut_epoch

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
SAMPLE = 200
"""Bits of each file and mode that are flipped by default."""
EPOCHS = ((0, 2), (3, 5), (6, 8))
"""First and last entry of each epoch; a block is one or two of them."""


@pytest.fixture
def log(keys: LogKeys, tmp_path: Path) -> Log:
    """Three epochs in two segments: entries 0-2, 3-5, and 6-8 in segment 2; each has a heartbeat."""
    memory = Path("/dev/shm")  # noqa: S108  # only a faster place for a private folder
    folder = memory / f"epochseal-flips-{os.getpid()}" if memory.is_dir() else tmp_path
    shutil.rmtree(folder, ignore_errors=True)
    writer = LogWriter(folder / "log", keys).start("genesis")
    for first, last in EPOCHS:
        writer.block(entry(first), entry(first + 1)).block().block(entry(last))
        if last < 8:
            writer.turn("segment" if last == 5 else "entries")
    writer.end()
    made = Log(writer.logdir, keys, writer.time)
    assert {made.verify(mode).verdict for mode in MODES} == {"verified"}
    return made


@pytest.fixture(autouse=True)
def _clean(log: Log) -> Iterator[None]:
    yield
    shutil.rmtree(log.path.parent)


def flips(data: bytes, seed: str) -> list[int]:
    """The bits to flip."""
    bits = range(8 * len(data))
    return list(bits) if FULL or len(bits) <= SAMPLE else random.Random(seed).sample(bits, SAMPLE)


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def covering(verdict: Verdict, first: int, last: int, low: int, high: int) -> bool:
    """Whether problems that stay within low to high together cover the entries first to last."""
    covered: set[int] = set()
    for item in verdict.problems:
        if low <= item.first_entry <= item.last_entry <= high:
            covered.update(range(item.first_entry, item.last_entry + 1))
    return covered >= set(range(first, last + 1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segment", [0, 1])
def test_flip_in_entries(log: Log, mode: Mode, segment: int) -> None:
    """Any bit of a `.log` file: tampered, and the range is the block that the entry is in."""
    path = log.files("log")[segment]
    data = path.read_bytes()
    for bit in flips(data, f"log {segment}"):
        path.write_bytes(flipped(data, bit))
        verdict = log.verify(mode)
        number = data.count(b"\n", 0, bit // 8) + 6 * segment
        first = number - number % 3 if number % 3 < 2 else number
        last = first + 1 if number % 3 < 2 else number
        assert verdict.verdict == "tampered", bit
        assert [(item.first_entry, item.last_entry) for item in verdict.problems] == [(first, last)], bit
    path.write_bytes(data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segment", [0, 1])
def test_flip_in_seal_lines(log: Log, mode: Mode, segment: int) -> None:
    """Any bit of a `.seal` file is seen; with keys also where: never farther than the next epoch.

    A public key alone cannot see a change of a tag, which is no part of the tree, unless the next epoch
    quotes it.
    """
    path = log.files("seal")[segment]
    data = path.read_bytes()
    for bit in flips(data, f"seal {segment}"):
        path.write_bytes(flipped(data, bit))
        verdict = log.verify(mode)
        if mode == "public" and _in_tag(data, bit // 8):
            assert verdict.verdict in {"verified", "tampered"}, bit
            assert verdict.entries == 9
            continue
        assert verdict.verdict != "verified", bit
        if mode == "keys":
            low, high, first, last = _range(data, bit // 8, segment)
            assert covering(verdict, first, last, low, high), (bit, verdict.problems)
    path.write_bytes(data)


def _in_tag(data: bytes, place: int) -> bool:
    start = data.rfind(b"\n", 0, place) + 1
    line = data[start : data.index(b"\n", place)]
    return not line.startswith(b"note ") and start + line.rindex(b" ") < place < start + len(line)


def _range(data: bytes, place: int, segment: int) -> tuple[int, int, int, int]:
    """How far a report may reach, and what it must cover, for a change in one seal line.

    What must be covered is the line's entries; an epoch line's are those of its epoch, and a line feed
    belongs to both lines at it. Lines without entries concern the place at which the next entry stands.
    """
    start = data.rfind(b"\n", 0, place) + 1
    line = parse_line(data[start : data.index(b"\n", place)])
    number = data.count(b"\nepoch ", 0, start + 1) + 2 * segment
    low, high = EPOCHS[number]
    if isinstance(line, NoteLine) or not isinstance(line.body, Block) or not line.body.entries:
        return max(low - 3, 0), high + 4, 1, 0
    return low, high + 4, line.body.first_entry, line.body.first_entry + line.body.entries - 1


@pytest.mark.parametrize("mode", MODES)
def test_flip_in_checkpoint_file(log: Log, mode: Mode) -> None:
    """Any bit of the file `checkpoint`: never verified."""
    path = log.path / "checkpoint"
    data = path.read_bytes()
    for bit in flips(data, "checkpoint"):
        path.write_bytes(flipped(data, bit))
        assert log.verify(mode).verdict in {"tampered", "untrusted"}, bit
    path.write_bytes(data)


# --- whole lines, entries, epochs ---------------------------------------------------------------------------


def variants(items: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Each item removed, each repeated at once and at the end, each two exchanged."""
    for place, item in enumerate(items):
        yield f"delete {place}", items[:place] + items[place + 1 :]
        yield f"repeat {place}", [*items[: place + 1], item, *items[place + 1 :]]
        yield f"repeat {place} last", [*items, item]
    for first, second in combinations(range(len(items)), 2):
        changed = list(items)
        changed[first], changed[second] = items[second], items[first]
        yield f"exchange {first} {second}", changed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segment", [0, 1])
def test_seal_lines_removed_repeated_exchanged(log: Log, mode: Mode, segment: int) -> None:
    """Any change of the sequence of tagged lines is seen, and a checkpoint too early or out of order.

    A checkpoint that is missing, late or there twice is what a slow or restarted agent leaves: where nothing
    else was touched the log verifies, up to the same lines, since a later one vouches for the whole run.
    """
    path = log.files("seal")[segment]
    data = path.read_bytes()
    items = data.splitlines(keepends=True)
    for name, changed in variants(items):
        if changed == items:
            continue
        path.write_bytes(b"".join(changed))
        verdict = log.verify(mode)
        if _tagged(changed) != _tagged(items) or not _in_order(changed, 12 * segment):
            assert verdict.verdict == "tampered", name
        else:
            assert verdict.verdict == "verified", (name, verdict.problems)
            assert (verdict.entries, verdict.signed_entries) == (9, 9), name
    path.write_bytes(data)


def _tagged(items: list[bytes]) -> list[bytes]:
    return [line for line in items if not line.startswith(b"note ")]


def _in_order(items: list[bytes], index: int) -> bool:
    before = 0
    for raw in items:
        line = parse_line(raw[:-1])
        if isinstance(line, NoteLine):
            size = parse_checkpoint(parse_note(line.note).text).size
            if not before <= size <= index:
                return False
            before = size
        else:
            index = line.index + 1
    return True


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("segment", [0, 1])
def test_entries_removed_repeated_exchanged(log: Log, mode: Mode, segment: int) -> None:
    """Any change of the sequence of entries is tampering, and reported in the epochs that it touched."""
    path = log.files("log")[segment]
    data = path.read_bytes()
    items = data.splitlines(keepends=True)
    for name, changed in variants(items):
        path.write_bytes(b"".join(changed))
        verdict = log.verify(mode)
        assert verdict.verdict == "tampered", name
        touched = next(
            (n for n, (old, new) in enumerate(zip(items, changed, strict=False)) if old != new), len(items)
        )
        touched += 6 * segment
        assert any(item.first_entry - 1 <= touched <= item.last_entry + 1 for item in verdict.problems), (
            name,
            verdict.problems,
        )
    path.write_bytes(data)


@pytest.mark.parametrize("mode", MODES)
def test_epochs_removed_repeated_exchanged(log: Log, mode: Mode) -> None:
    """Whole epochs with their entries, in all files together: tampered in every case."""
    seals, contents = log.files("seal"), log.files("log")
    lines = [line for seal in seals for line in seal.read_bytes().splitlines(keepends=True)]
    entries = [line for content in contents for line in content.read_bytes().splitlines(keepends=True)]
    epochs = [b"".join(cut_epoch(lines, number)) for number in range(3)]
    stored = [b"".join(entries[first : last + 1]) for first, last in EPOCHS]
    pairs = [lines + b"\0" + data for lines, data in zip(epochs, stored, strict=True)]
    for name, changed in variants(pairs):
        files: list[tuple[bytes, bytes]] = [(b"", b""), (b"", b"")]
        for place, pair in enumerate(changed):
            seal, _, content = pair.partition(b"\0")
            number = int(place >= 2)
            files[number] = (files[number][0] + seal, files[number][1] + content)
        for number, (seal, content) in enumerate(files):
            seals[number].write_bytes(seal)
            contents[number].write_bytes(content)
        assert log.verify(mode).verdict == "tampered", name
