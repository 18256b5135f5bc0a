"""What the verifier does with a hostile log is counted, not timed: it grows with the log, and no faster."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from epochseal.custody import ratchet
from epochseal.verifier.snapshot import take_snapshot
from epochseal.verifier.workers import cut_tasks
from tests.bench.bulk import ENTRY, Bulk
from tests.bench.hostile_blocks import BLOCKS
from tests.bench.hostile_epochs import EPOCHS
from tests.bench.hostile_lines import LINES
from tests.reference.keys import Keys
from tests.reference.maker import Maker
from tests.reference.scenarios import started
from tests.unit.verifier.judging import ask, kinds

SMALL, TIMES = 20_000, 5
READ_FAR = {"overlapping_sparse", "gzip_bomb", "zstd_bomb", "bomb_segments"}
"""These cost bytes, which test_reading_budget.py counts."""
LOGS = [make for make in (*BLOCKS, *LINES, *EPOCHS) if make.__name__ not in READ_FAR]


def calls_in(work: Callable[[], object]) -> int:
    """How many functions are called meanwhile, each step of a generator included."""
    count = 0

    def tick(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(tick)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("mode", ["keys", "public"])
@pytest.mark.parametrize("make", LOGS, ids=lambda make: make.__name__)
def test_calls_grow_with_the_log(
    make: Callable[[Path, Keys, int], Path], mode: str, made_keys: Keys, tmp_path: Path
) -> None:
    """Five times the bytes are at most five times the calls, and a little for what comes in steps."""
    counts = []
    for size in (SMALL, TIMES * SMALL):
        folder = tmp_path / str(size)
        folder.mkdir()
        make(folder, made_keys, size)
        counts.append(calls_in(lambda folder=folder: ask(Maker(folder / "log", made_keys), mode)))  # type: ignore[misc]  # bound at once
    assert counts[1] <= 1.3 * TIMES * counts[0], counts


def test_missing_lines_cost_no_more_than_their_epoch_has_bytes(
    log: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index far ahead does not buy steps of the ratchet."""
    started(log)
    log.size += 9_000
    log.frontier = [bytes(32)] * log.size.bit_count()
    log.block(ENTRY).block(ENTRY)
    steps = 0
    real = ratchet.advance

    def advance(key: memoryview, into: memoryview) -> None:
        nonlocal steps
        steps += 1
        real(key, into)

    monkeypatch.setattr(ratchet, "advance", advance)
    assert "line_misplaced" in kinds(ask(log))
    assert steps < 100


def test_a_few_missing_lines_are_still_counted(log: Maker) -> None:
    """Lines that were taken out of an epoch: what follows them is checked."""
    started(log)
    for _ in range(20):
        log.block(ENTRY)
    path = log.file("seal")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[14:]))
    found = [(item.kind, item.first_entry, item.last_entry) for item in ask(log).verdict.problems]
    assert [item for item in found if item[0] == "line_missing"] == [("line_missing", 4, 14)]


@pytest.mark.parametrize(("count", "too_many"), [(10, False), (2000, True)])
def test_lines_without_bytes(log: Maker, count: int, too_many: bool) -> None:  # noqa: FBT001  # a column of the table
    """Some lines of nothing are damage; thousands are not looked at one by one."""
    started(log).block(ENTRY)
    log.file("seal").write_bytes(log.file("seal").read_bytes() + count * b"\n")
    found = kinds(ask(log))
    assert "line_altered" in found
    assert ("too_much_work" in found) == too_many


def test_what_processes_are_sent_grows_with_the_log(made_keys: Keys, tmp_path: Path) -> None:
    """A segment of many epochs is many tasks: no task takes all epochs with it."""
    sent = []
    for count in (200, 800):
        log = Bulk(tmp_path / str(count), made_keys)
        log.begin("genesis")
        for _ in range(count):
            log.end().begin("cold", segment=False, signed=False)
        tasks = cut_tasks(take_snapshot(log.done()).parts)
        assert len(tasks) > count // 100
        sent.append(sum(len(pickle.dumps(task.alone())) for task in tasks))
    assert sent[1] < 4.5 * sent[0]
