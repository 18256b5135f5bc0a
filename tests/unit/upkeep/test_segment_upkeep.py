"""What the upkeep of segments does when its thread, or a sync, fails; expiry beside compression."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from epochseal.errors import StorageError
from epochseal.journal import Journal
from epochseal.sealing.sealer import Sealer
from epochseal.storage import durable
from epochseal.storage.compression import ExchangeUnsureError, Kind, ShrinksTooFarError, compress
from epochseal.storage.holes import TIMES
from epochseal.upkeep import segment_upkeep
from epochseal.upkeep.segment_upkeep import Keeping, SegmentUpkeep

MAKE = Callable[[int | None], SegmentUpkeep]
_PATIENCE = 60.0


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    """Two segments, of which the first has ended."""
    folder = tmp_path / "log" / "segments"
    folder.mkdir(parents=True)
    for number in (1, 2):
        for ending in ("log", "seal"):
            (folder / f"00000{number}-20261129T000000Z.{ending}").write_bytes(b"x\n")
    return tmp_path / "log"


@pytest.fixture
def make(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MAKE]:
    """Makes an upkeep that compresses at once, and expires what is older than so many ms."""
    made: list[SegmentUpkeep] = []
    monkeypatch.setattr(segment_upkeep, "_LOOK_SECONDS", 0.001)

    def making(age: int | None) -> SegmentUpkeep:
        sealer = cast("Sealer", SimpleNamespace(logdir=logdir, checkpoints=SimpleNamespace(signed=0)))
        made.append(SegmentUpkeep(sealer, "gzip", Keeping(age, str(age)), Journal()))
        return made[-1]

    yield making
    for upkeep in made:
        upkeep.close()


def tick_until_it_fails(upkeep: SegmentUpkeep) -> None:
    """As the log's loop does."""
    upkeep.start()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        upkeep.tick()
        time.sleep(0.001)


def test_an_exchange_that_may_not_be_durable_ends_the_log(
    make: MAKE, logdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries acknowledged after it could be lost with the folder: nothing but a start goes on."""
    real = durable.sync_directory

    def sync(folder: Path) -> None:
        if folder == logdir:
            raise StorageError(f"cannot sync {folder}: Input/output error")
        real(folder)

    monkeypatch.setattr("epochseal.storage.compression.sync_directory", sync)
    with pytest.raises(ExchangeUnsureError, match="Input/output error"):
        tick_until_it_fails(make(None))


def test_a_thread_that_ends_by_a_fault_ends_the_log(make: MAKE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would ever be compressed or expire any more, and nobody would know."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(segment_upkeep, "compress", fail)
    with pytest.raises(StorageError, match="upkeep of segments has ended: a fault of ours"):
        tick_until_it_fails(make(None))


def test_segments_expire_where_there_is_always_one_to_compress(
    make: MAKE, logdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that end faster than they are compressed keep none of the old ones alive."""
    looked: list[int] = []
    compressed: list[Path] = []

    def pack(plain: Path, *_arguments: object) -> Path:
        compressed.append(plain)
        return plain

    monkeypatch.setattr(segment_upkeep, "compress", pack)
    monkeypatch.setattr(segment_upkeep, "exchange", lambda *_arguments: None)
    monkeypatch.setattr(segment_upkeep, "find_expired", lambda *_arguments: looked.append(len(compressed)))
    upkeep = make(20_000)
    upkeep.start()
    deadline = time.monotonic() + _PATIENCE
    while len(looked) < 3:
        assert time.monotonic() < deadline, (looked, compressed)
        upkeep.tick()
        time.sleep(0.001)
    assert looked[0] == 0
    assert looked[1] < looked[2]
    assert (logdir / "segments").is_dir()


def test_what_would_shrink_too_far_stays_as_it_is(make: MAKE, logdir: Path) -> None:
    """Of a file that holds more than 64 times what it takes a verifier reads a part, and says so."""
    folder = logdir / "segments"
    first, second = (folder / f"00000{number}-20261129T000000Z.log" for number in (1, 2))
    first.write_bytes(b"x\n" * 50_000)
    for ending in ("log", "seal"):
        (folder / f"000003-20261129T000000Z.{ending}").write_bytes(b"x\n")
    upkeep = make(None)
    upkeep.start()
    deadline = time.monotonic() + _PATIENCE
    while second.exists():
        assert time.monotonic() < deadline
        upkeep.tick()
        time.sleep(0.001)
    assert first.exists()
    assert second.with_name(f"{second.name}.gz").exists()
    assert not (logdir / ".packed").exists()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_how_far_a_log_may_shrink(kind: Kind, tmp_path: Path) -> None:
    """Up to 64 times: then all its bytes are within what a verifier reads of it."""
    source = tmp_path / "log" / "segments" / "000001-20261129T000000Z.log"
    source.parent.mkdir(parents=True)
    noise = random.Random(1).randbytes(2000)
    source.write_bytes(noise + b"x" * 100_000)
    packed = compress(source, kind, lambda: False)
    assert packed.stat().st_size * TIMES > source.stat().st_size
    source.write_bytes(noise + b"x" * 1_000_000)
    with pytest.raises(ShrinksTooFarError):
        compress(source, kind, lambda: False)
    assert not packed.exists()
