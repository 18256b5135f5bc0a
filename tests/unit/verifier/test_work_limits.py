"""Files that ask for more than their size explains, and compressed ones that are not whole (14.1, 10.5)."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard

from tests.reference.keys import text
from tests.reference.maker import Maker, dump
from tests.reference.notes import sha
from tests.reference.scenarios import closed, started
from tests.unit.verifier.judging import ask, kinds

SKIPPABLE = bytes.fromhex("502a4d1803000000") + b"abc"


def pack(log: Maker, ending: str, packed: Callable[[bytes], bytes]) -> None:
    """Put a compressed log file in the place of the plain one."""
    plain = next((log.path / "segments").glob("*.log"))
    plain.with_name(f"{plain.name}.{ending}").write_bytes(packed(plain.read_bytes()))
    plain.unlink()


def zstd(data: bytes) -> bytes:
    """One frame with its check sum and length."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize(
    "packed",
    [zstd, lambda data: SKIPPABLE + zstd(data[:5]) + zstd(b"") + SKIPPABLE + zstd(data[5:]) + SKIPPABLE],
    ids=["one frame", "frames with and without content"],
)
def test_whole_frames(log: Maker, packed: Callable[[bytes], bytes]) -> None:
    """They are the log file."""
    pack(closed(log), "zst", packed)
    found = ask(log)
    assert (found.verdict.verdict, found.verdict.problems) == ("verified", [])


@pytest.mark.parametrize(
    "packed",
    [
        lambda data: zstd(data)[:-1],
        lambda data: zstd(data) + zstd(b"x")[:3],
        lambda data: zstd(data) + zstd(b"x")[:8],
        lambda data: zstd(data) + zstd(b"x\n"),
        lambda data: zstd(data) + b"what is no frame",
        lambda data: zstd(data) + SKIPPABLE[:-1],
        lambda data: zstd(data)[:-4] + b"else",
        lambda _: SKIPPABLE,
        lambda _: b"",
    ],
    ids=["cut", "half a header", "half a block", "more", "garbage", "half skipped", "sum", "none", "empty"],
)
def test_frames_that_are_not_whole(log: Maker, packed: Callable[[bytes], bytes]) -> None:
    """Something follows, or something is missing."""
    pack(closed(log), "zst", packed)
    assert kinds(ask(log)) & {"foreign_bytes", "entries_missing", "entries_altered"}


@pytest.mark.parametrize(("count", "found"), [(10, set()), (5000, {"too_much_work"})])
@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_members_without_content(log: Maker, ending: str, count: int, found: set[str]) -> None:
    """Some count as nothing; thousands are more than a file of this size has."""
    whole = gzip.compress if ending == "gz" else zstd
    pack(closed(log), ending, lambda data: whole(data) + count * whole(b""))
    assert kinds(ask(log)) == found


@pytest.mark.parametrize("many", [1, 3, 3000])
def test_blocks_over_each_other(log: Maker, many: int) -> None:
    """Each of them fits the file; all of them would have it read any number of times."""
    data = b"entry\n" * 1000
    started(log).block(data)
    fields = f"{log.offset - len(data)} {len(data)} {log.time} {text(sha(data))}"
    body = dump({"src": {"name": "stdin", "offset": 0}})
    for _ in range(many):
        log.line("block", f"{log.entries} 1000 {fields} {body}")
        log.entries += 1000
    found = kinds(ask(log))
    assert "counters" in found
    assert ("too_much_work" in found) == (many > 1)
