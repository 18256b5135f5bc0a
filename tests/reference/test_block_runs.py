"""Lines taken in runs and lines walked one by one give the same verdict, whatever was done to them.

A sample by default; EPOCHSEAL_FULL=1 tries 100 times as many, EPOCHSEAL_MUTATIONS any number.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import pytest

from epochseal.custody.memory import SecretPage
from epochseal.format.block_columns import decode_column, read_columns, whole_block_lines
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.keys import Recoverer, load_backend, parse_key_uri
from epochseal.verifier import Request, block_runs, shared_runs, verify, workers
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.helpers import Helpers, page_size, use_page
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.sealed_entries import SealedEntries
from epochseal.verifier.shared_runs import SharedRuns
from epochseal.verifier.snapshot import SegmentPart
from tests.integration.agents import PROGRAM

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
MUTATIONS = int(os.environ.get("EPOCHSEAL_MUTATIONS", "60000" if FULL else "600"))
BATCHES = 6
NOW = 2_000_000_000_000
NUMBER = re.compile(rb"(?<=[ :])[0-9]+(?=[ ,}])")


@dataclass(frozen=True)
class Quiet:
    """A log of one entry a block, and the URI of the key that verifies it."""

    path: Path
    key: str


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    """One epoch of 120 blocks."""
    return seal_quiet(tmp_path_factory.mktemp("quiet"), 120)


def seal_quiet(folder: Path, blocks: int) -> Quiet:
    """A log of so many blocks in one epoch, made at a time that is over."""
    agent = f"file:{folder / 'keys' / 'agent'}"
    subprocess.run([PROGRAM, "keygen", str(folder / "keys")], check=True, capture_output=True)
    words = [PROGRAM, "seal", str(folder / "log"), "--origin", "example.com/quiet", "--block-bytes", "1B"]
    words += ["--epoch-key", agent, "--checkpoint-key", agent]
    lines = b"".join(b"entry %d %s\n" % (number, b"x" * (number % 7)) for number in range(blocks))
    subprocess.run(words, input=lines, check=True, capture_output=True)
    for path in (folder / "log" / "segments").iterdir():
        os.utime(path, (0, 0))
    return Quiet(folder / "log", f"file:{folder / 'keys' / 'verifier'}")


def found(log: Path, key: str, jobs: int = 1) -> bytes:
    """Everything that a verification says."""

    def make_recoverer() -> list[Recoverer]:
        uri = parse_key_uri(key)
        return [load_backend(uri).recoverer(uri, {})]

    request = Request(make_recoverer=make_recoverer if key else None, now=lambda: NOW, jobs=jobs)
    return msgspec.json.encode(verify(log, request))


def change(rng: Random, data: bytes) -> bytes:
    """Damage of the kinds that a reader of columns could pass over."""
    raw = data.splitlines(keepends=True)
    place = rng.randrange(len(raw))
    edit = rng.choice((_lines_moved, _number, _inside, _columns, _json))
    edit(rng, raw, place)
    return b"".join(raw)[: rng.randrange(len(data)) if rng.random() < 0.03 else None]


def _lines_moved(rng: Random, raw: list[bytes], place: int) -> None:
    other = rng.randrange(len(raw))
    raw[place : place + 1] = rng.choice([[], [raw[place]] * 2, [raw[place], raw[other]], [raw[other]]])


def _number(rng: Random, raw: list[bytes], place: int) -> None:
    line = raw[place]
    if numbers := list(NUMBER.finditer(line)):
        number = rng.choice(numbers)
        text = number.group()
        spelled = [
            b"0" + text,
            b"+" + text,
            text + b"_0",
            b"-" + text,
            b" " + text,
            text + b"0",
            text + b".0",
        ]
        values = [0, 1, int(text) + 1, 2**63 - 1, 2**63, 10**19]
        new = rng.choice(spelled + [b"%d" % value for value in values])
        raw[place] = line[: number.start()] + new + line[number.end() :]


def _inside(rng: Random, raw: list[bytes], place: int) -> None:
    line = raw[place]
    at = rng.randrange(len(line))
    put = rng.choice([b"", b" ", b"\n", b"\r", b"\0", b'"', b"\\", b"\xff", b"=", b"\xc2\xa0", b"\x0b"])
    flipped = bytes([line[at] ^ 1 << rng.randrange(8)])
    raw[place] = rng.choice(
        [
            line[:at] + flipped + line[at + 1 :],
            line[:at] + line[at + 1 :],
            line[:at] + put + line[at:],
            line.replace(b" ", b"\n", 1),
            line[:-1] + b" ",
            line[:-2] + rng.choice([b"A", b"==", b""]) + b"\n",
        ]
    )


def _columns(rng: Random, raw: list[bytes], place: int) -> None:
    other = rng.randrange(len(raw))
    one, two = raw[place].split(b" "), raw[other].split(b" ")
    column = rng.randrange(min(len(one), len(two)))
    one[column], two[column] = two[column], one[column]
    raw[place], raw[other] = b" ".join(one), b" ".join(two)


def _json(rng: Random, raw: list[bytes], place: int) -> None:
    added = [
        b'"gap":1',
        b'"skipped":3',
        b'"gap":1,"skipped":3',
        b'"esc":1',
        b'"esc":2',
        b'"file":"f"',
        b'"file":""',
        b'"more":1',
        b'"offset":1',
    ]
    old, new = rng.choice(
        [
            (b"}}", b"," + rng.choice(added) + b"}}"),
            (b'"name"', rng.choice([b' "name"', b'"n\\u0061me"', b'"NAME"', b'"na\xc3\xa4me"'])),
            (b'{"src":', b"{}" if rng.random() < 0.5 else b'{"src":null,"src":'),
            (b'"stdin"', rng.choice([b'"a b"', b'"\xc3\xa4"', b'"a\\u00e4"', b'"a\\n"', b"1", b'"\xff"'])),
        ]
    )
    raw[place] = raw[place].replace(old, new)


@dataclass
class Shared:
    """Lines that were taken in shares."""

    lines: int = 0


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    """Every epoch is long, shares are small, and what is taken of them is counted."""
    counts, take = Shared(), SharedRuns.take

    def counted(self: SharedRuns) -> int:
        counts.lines += (count := take(self))
        return count

    monkeypatch.setattr(SharedRuns, "take", counted)
    monkeypatch.setattr(workers, "LONG", 1)
    monkeypatch.setattr(shared_runs, "AT_ONCE", 4000)
    return counts


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    """Two of them, in threads of this process: they check what a process would."""
    with SecretPage(page_size(2)) as page, ThreadPoolExecutor(2) as pool:
        use_page(page)
        yield Helpers(2, pool, page)
        # Whatever was taken and whatever failed: no key is left in it.
        assert not any(page.view)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_same_verdict(
    quiet: Quiet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: Shared,
    helpers: Helpers,
    batch: int,
) -> None:
    """For lines and for entries, plain and compressed, with keys and without, alone and with helpers."""

    def helped(
        part: SegmentPart, epoch: EpochPart, content: SealedEntries, keyring: Keyring | None, **_: None
    ) -> EpochResult:
        return check_epoch(part, epoch, content, keyring, helpers=helpers)

    rng = Random(batch)
    log = tmp_path / "log"
    shutil.copytree(quiet.path, log)
    (seal,), (entries,) = (list((log / "segments").glob(f"*.{end}")) for end in ("seal", "log"))
    lines, content, packed = seal.read_bytes(), entries.read_bytes(), entries.with_name(entries.name + ".gz")
    taken = 0
    take = block_runs.BlockRuns.take

    def counted(self: block_runs.BlockRuns) -> int:
        nonlocal taken
        taken += (count := take(self))
        return count

    monkeypatch.setattr(block_runs.BlockRuns, "take", counted)
    for number in range(MUTATIONS // BATCHES):
        changed, other = change(rng, lines) if rng.random() < 0.8 else lines, content
        if rng.random() < 0.3:
            other = change(rng, content)
        seal.write_bytes(changed)
        if rng.random() < 0.2:
            entries.unlink(missing_ok=True)
            packed.write_bytes(gzip.compress(other, mtime=0))
        else:
            packed.unlink(missing_ok=True)
            entries.write_bytes(other)
        for path in (seal, entries, packed):
            if path.exists():
                os.utime(path, (0, 0))
        key = quiet.key if rng.random() < 0.7 else ""
        with monkeypatch.context() as walking:
            walking.setattr(block_runs, "FEWEST", 1 << 60)
            before, walked = taken, found(log, key)
            assert taken == before
        assert found(log, key) == walked, (batch, number)
        if not number % 4:
            with monkeypatch.context() as sharing:
                sharing.setattr(workers, "check_epoch", helped)
                assert found(log, key) == walked, (batch, number)
    assert taken > MUTATIONS
    assert shared.lines > MUTATIONS


@pytest.mark.parametrize("keyed", [True, False])
def test_processes_share_an_epoch(quiet: Quiet, shared: Shared, tmp_path: Path, *, keyed: bool) -> None:
    """Three of them, over an epoch that holds, and one whose last share does not."""
    log, key = tmp_path / "log", quiet.key if keyed else ""
    shutil.copytree(quiet.path, log)
    assert found(log, key, jobs=3) == found(log, key)
    # The line behind the first block, and the last ones, belong to no share.
    assert 60 < shared.lines < 120
    (seal,) = (log / "segments").glob("*.seal")
    lines = seal.read_bytes().split(b"\n")
    lines[100] = lines[100].replace(b"stdin", b"STDIN")
    seal.write_bytes(b"\n".join(lines))
    os.utime(seal, (0, 0))
    before = shared.lines
    verdict = found(log, key, jobs=3)
    assert verdict == found(log, key)
    # Without the key nobody can tell.
    assert (b"line_altered" in verdict) == keyed
    assert shared.lines > before


def test_columns_accept_what_a_line_may_be(quiet: Quiet) -> None:
    """Whatever is accepted, each of its lines is canonical, with the values that the columns have."""
    rng = Random(1)
    (seal,) = (quiet.path / "segments").glob("*.seal")
    data = seal.read_bytes()
    blocks = whole_block_lines(data[data.index(b"\nblock ") + 1 :], 20)
    first = parse_line(blocks.splitlines()[0])
    assert isinstance(first, TaggedLine)
    assert isinstance(first.body, Block)
    start = first.index, first.body.first_entry, first.body.offset
    accepted = 0
    for _ in range(MUTATIONS * 10):
        changed = change(rng, blocks)
        columns = read_columns(changed, *start)
        if columns is None or None in (decode_column(columns.tags), decode_column(columns.digests)):
            continue
        accepted += 1
        lines = [parse_line(raw) for raw in changed.split(b"\n")[:-1]]
        for place, line in enumerate(lines):
            assert isinstance(line, TaggedLine)
            assert isinstance(line.body, Block)
            assert line.index == start[0] + place
            assert (line.body.offset, line.body.time) == (columns.bounds[place], columns.times[place])
            assert line.body.offset + line.body.size == columns.bounds[place + 1]
    assert accepted


def test_a_run_is_taken_at_all(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an honest quiet log nearly all lines are."""
    counts: list[int] = []
    take = block_runs.BlockRuns.take

    def counted(self: block_runs.BlockRuns) -> int:
        counts.append(take(self))
        return counts[-1]

    monkeypatch.setattr(block_runs.BlockRuns, "take", counted)
    # Nobody named the checkpoint key, so its signature is not one that counts.
    assert b'"tampered"' not in found(quiet.path, quiet.key)
    assert sum(counts) > 100
