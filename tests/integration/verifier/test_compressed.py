"""A log of forty segments as it looks after some time: half of it compressed, its beginning expired."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from epochseal.errors import ConfigError
from epochseal.evidence.extract import extract
from epochseal.storage.opener import LogFile
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, sealed_entries, verify
from epochseal.verifier.log_streams import Stream, open_stream
from epochseal.verifier.reading_budget import Reading
from epochseal.verifier.sealed_entries import SealedEntries
from tests.integration.agents import Place, kinds, warnings

SEGMENTS, SEGMENT, EXPIRED = 40, 512 << 10, 4
ENTRY = 128


def make_entries(count: int, seed: int) -> bytes:
    """Entries that differ and compress as logs do."""
    chance = random.Random(seed)
    words = [
        b"user=%04x action=%s result=%d" % (chance.randrange(65536), action, chance.randrange(600))
        for action in (b"read", b"write", b"login")
        for _ in range(50)
    ]
    lines = [b"%012d %s " % (seed + number, words[chance.randrange(150)]) for number in range(count)]
    return b"".join(line.ljust(ENTRY - 1, b".") + b"\n" for line in lines)


def all_entries() -> bytes:
    """What is sealed: forty segments but for a hundred entries."""
    return make_entries(SEGMENTS * SEGMENT // ENTRY - 100, 0)


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Forty segments of 512 KiB; every second one is compressed, and the first four have expired."""
    folder = tmp_path_factory.mktemp("aged")
    place = Place(folder, folder)
    options = ("--segment-bytes", f"{SEGMENT}B", "--epoch-max-entries", "2000")
    entries = all_entries()
    # A segment has ended when the next one begins: that of the last ones that expire begins here.
    before = EXPIRED * SEGMENT + 50 * ENTRY
    place.seal(entries[:before], *options)
    time.sleep(0.1)
    between = time.time()
    # On a busy machine `prune` looks at its clock this much later than we do, and expires no more by it.
    time.sleep(2.5)
    place.seal(entries[before:], *options)
    keep = f"{int((time.time() - between) * 1000)}ms"
    done = place.run("prune", str(place.log), "--keep", keep, *place.remembering, *place.agent_keys)
    assert done.returncode == 0, done.stderr
    for number, path in enumerate(sorted(place.log.glob("segments/*.log"))):
        if number % 4 == 0:
            replace(path, ".gz", gzip.compress(path.read_bytes(), 1))
        elif number % 4 == 1:
            replace(path, ".zst", zstandard.compress(path.read_bytes(), 1))
    return place


@pytest.fixture
def place(aged: Place, tmp_path: Path) -> Place:
    """A copy of it, to be damaged."""
    copy = Place(tmp_path, tmp_path)
    shutil.copytree(aged.log, copy.log)
    return copy


def replace(path: Path, suffix: str, data: bytes) -> Path:
    """Put a compressed file in the place of a plain one."""
    compressed = path.with_name(path.name + suffix)
    compressed.write_bytes(data)
    path.unlink()
    return compressed


def compressed(place: Place, suffix: str, number: int = 3) -> Path:
    """One of the compressed files."""
    return sorted(place.log.glob(f"segments/*{suffix}"))[number]


def plain(path: Path) -> bytes:
    """What a compressed file holds."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else zstandard.decompress(data)


def pack(suffix: str, data: bytes) -> bytes:
    """One gzip member or zstd frame."""
    return gzip.compress(data, 1) if suffix == ".gz" else zstandard.compress(data, 1)


# --- nothing is wrong -----------------------------------------------------------------------------------


def test_it_verifies_with_one_and_two_processes(aged: Place) -> None:
    """Both forms of a segment and both numbers of processes give one verdict; the retention is a warning."""
    verdicts = [aged.verify(jobs=jobs) for jobs in (1, 2)]
    assert verdicts[0] == verdicts[1]
    verdict = verdicts[0]
    assert (verdict.verdict, kinds(verdict)) == ("verified", [])
    assert set(warnings(verdict)) == {"pruned", "beginning_unproven"}
    assert verdict.segments >= SEGMENTS - EXPIRED
    assert verdict.entries == SEGMENTS * SEGMENT // ENTRY - 100
    for jobs in (1, 2):
        assert aged.verify("public", jobs=jobs).verdict == "verified"


def test_its_entries_are_those_that_were_sent(aged: Place) -> None:
    """Decompressed and in order, without those that have expired."""
    verdict = aged.verify()
    (first,) = (warning.first_entry for warning in verdict.warnings if warning.kind == "pruned")
    assert first >= EXPIRED * SEGMENT // ENTRY
    digest = hashlib.sha256()
    extract(aged.log, aged.keys.recoverer(), verdict, digest.update)
    assert digest.digest() == hashlib.sha256(all_entries()[first * ENTRY :]).digest()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_any_number_of_members(place: Place, suffix: str) -> None:
    """Compressed in many members or frames, empty ones among them, a segment is the same segment."""
    path = compressed(place, suffix)
    data = plain(path)
    pieces = [data[at : at + 77_777] for at in range(0, len(data), 77_777)]
    path.write_bytes(b"".join(pack(suffix, piece) + pack(suffix, b"") for piece in pieces))
    assert kinds(place.verify()) == []


def test_other_levels_and_tools(place: Place) -> None:
    """How well a segment is compressed, and by which program, does not matter."""
    first, second = compressed(place, ".gz", 0), compressed(place, ".gz", 1)
    data = plain(first)
    first.write_bytes(
        subprocess.run(["gzip", "-9", "-c"], input=data, capture_output=True, check=True).stdout
    )
    second.write_bytes(gzip.compress(plain(second), 0))
    third = compressed(place, ".zst")
    third.write_bytes(
        zstandard.ZstdCompressor(level=12, write_checksum=True, write_content_size=False).compress(
            plain(third)
        )
    )
    assert kinds(place.verify()) == []


# --- something is ---------------------------------------------------------------------------------------


def _missing(place: Place) -> None:
    list_segments(place.log).segments[4].remove()


def _missing_log(place: Place) -> None:
    compressed(place, ".gz").unlink()


def _exchanged_logs(place: Place) -> None:
    one, two = compressed(place, ".gz", 2), compressed(place, ".gz", 5)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _exchanged_pairs(place: Place) -> None:
    one, two = list_segments(place.log).segments[4:9:4]
    for mine, its in ((one.logs[0], two.logs[0]), (one.seal, two.seal)):
        assert mine is not None
        assert its is not None
        first, second = mine.read_bytes(), its.read_bytes()
        mine.write_bytes(second)
        its.write_bytes(first)


def _renamed(place: Place) -> None:
    segment = list_segments(place.log).segments[4]
    for path in (segment.logs[0], segment.seal):
        assert path is not None
        path.rename(path.with_name(path.name.replace(segment.stem, f"{segment.number:06d}-20200101T000000Z")))


def _other_bytes(suffix: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        path = compressed(place, suffix)
        data = bytearray(plain(path))
        data[100_000] ^= 0x01
        path.write_bytes(pack(suffix, bytes(data)))

    return change


def _both_forms(suffix: str) -> Callable[[Place], None]:
    def add(place: Place) -> None:
        path = compressed(place, suffix)
        path.with_suffix("").write_bytes(plain(path))

    return add


def _both_compressed(place: Place) -> None:
    path = compressed(place, ".gz")
    path.with_suffix(".zst").write_bytes(zstandard.compress(plain(path)))


def _behind(suffix: str, data: bytes) -> Callable[[Place], None]:
    def append(place: Place) -> None:
        with compressed(place, suffix).open("ab") as file:
            file.write(data)

    return append


def _longer(suffix: str) -> Callable[[Place], None]:
    def add(place: Place) -> None:
        path = compressed(place, suffix)
        path.write_bytes(pack(suffix, plain(path) + b"one more\n"))

    return add


def _cut(suffix: str, left: float) -> Callable[[Place], None]:
    def cut(place: Place) -> None:
        path = compressed(place, suffix)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(int(size * left) if left < 1 else size - int(left))

    return cut


ATTACKS: dict[str, tuple[Callable[[Place], None], str]] = {
    "a segment is missing": (_missing, "segment_missing"),
    "a log file is missing": (_missing_log, "segment_incomplete"),
    "two log files are exchanged": (_exchanged_logs, "entries_altered"),
    "two segments are exchanged": (_exchanged_pairs, "segment_renamed"),
    "a segment is renamed": (_renamed, "segment_renamed"),
    "gzip: other bytes": (_other_bytes(".gz"), "entries_altered"),
    "zstd: other bytes": (_other_bytes(".zst"), "entries_altered"),
    "gzip: plain form beside it": (_both_forms(".gz"), "segment_duplicate"),
    "zstd: plain form beside it": (_both_forms(".zst"), "segment_duplicate"),
    "gzip and zstd": (_both_compressed, "segment_duplicate"),
    "gzip: one more entry": (_longer(".gz"), "foreign_bytes"),
    "zstd: one more entry": (_longer(".zst"), "foreign_bytes"),
    "gzip: another member": (_behind(".gz", gzip.compress(b"one more\n")), "foreign_bytes"),
    "zstd: another frame": (_behind(".zst", zstandard.compress(b"one more\n")), "foreign_bytes"),
    "gzip: garbage behind": (_behind(".gz", b"garbage"), "foreign_bytes"),
    "zstd: garbage behind": (_behind(".zst", b"garbage"), "foreign_bytes"),
    "gzip: zero bytes behind": (_behind(".gz", bytes(512)), "foreign_bytes"),
    "zstd: zero bytes behind": (_behind(".zst", bytes(512)), "foreign_bytes"),
    "gzip: half of it": (_cut(".gz", 0.5), "entries_missing"),
    "zstd: half of it": (_cut(".zst", 0.5), "entries_missing"),
    "gzip: without its trailer": (_cut(".gz", 8), "foreign_bytes"),
    "gzip: empty": (_cut(".gz", 0.0), "entries_missing"),
    "zstd: empty": (_cut(".zst", 0.0), "entries_missing"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_detected(place: Place, name: str) -> None:
    """Tampered, of this kind, with keys and two processes, and with a public key alone."""
    attack, kind = ATTACKS[name]
    attack(place)
    for verdict in (place.verify(jobs=2), place.verify("public")):
        assert verdict.verdict == "tampered"
        assert kind in kinds(verdict)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_other_damage_stays_where_it_is(place: Place, suffix: str) -> None:
    """One changed byte in a compressed segment is reported with the entries of its block, and no others."""
    _other_bytes(suffix)(place)
    (problem,) = place.verify().problems
    assert f"{problem.segment:06d}" == compressed(place, suffix).name[:6]
    assert problem.first_line <= 100_000 // ENTRY + 1 <= problem.last_line
    assert problem.last_entry - problem.first_entry < (64 << 10) // ENTRY


# --- bombs ----------------------------------------------------------------------------------------------


class _Counted:
    """Counts what the decompressors give."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.largest = 0
        patch.setattr(sealed_entries, "open_stream", self._open)

    def _open(self, path: Path, file: LogFile) -> Stream:
        return _CountedStream(open_stream(path, file), self)


class _CountedStream:
    def __init__(self, real: Stream, counted: _Counted) -> None:
        self._counted = counted
        self._real = real
        self.check_whole = real.check_whole

    def readinto(self, into: memoryview) -> int:
        count = self._real.readinto(into)
        self._counted.bytes += count
        self._counted.largest = max(self._counted.largest, count)
        return count


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("where", ["behind", "instead"])
def test_a_bomb_is_never_unpacked(
    place: Place, suffix: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 GiB of zeros in a file: no more than the sealed bytes and one byte are ever decompressed."""
    path = compressed(place, suffix)
    sealed = len(plain(path))
    bomb = pack(suffix, bytes(64 << 20)) * 1024
    path.write_bytes((path.read_bytes() if where == "behind" else b"") + bomb)
    counted = _Counted(monkeypatch)
    verdict = place.verify()
    others = sum(
        len(plain(log))
        for item in list_segments(place.log).segments
        for log in item.logs
        if log.suffix != ".log" and log != path
    )
    assert verdict.verdict == "tampered"
    assert counted.bytes <= others + sealed + 1
    assert counted.largest <= 1 << 20


def test_a_bomb_costs_no_memory(place: Place) -> None:
    """The same in a process of its own, with a limit on its memory."""
    for suffix in (".gz", ".zst"):
        compressed(place, suffix).write_bytes(pack(suffix, bytes(64 << 20)) * 64)
    script = (
        "import resource; from epochseal.cli.program import main;"
        "resource.setrlimit(resource.RLIMIT_DATA, (120 << 20,) * 2); main()"
    )
    words = [sys.executable, "-c", script, "verify", str(place.log), *place.verifier_keys, "--jobs", "1"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"TAMPERED" in done.stdout


def test_without_the_library_zstd_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that cannot be read for want of a library gets no verdict, but a hint."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"\.zst is compressed with zstd") as caught:
        verify(place.log, Request(make_recoverer=place.keys.recoverer, checkpoint_key=place.keys.public))
    assert caught.value.hint == "in a checkout: pip install '.[zstd]'"


def test_a_segment_that_is_compressed_after_it_was_listed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier that listed the plain file reads the compressed one in its place."""
    real = SealedEntries.__init__

    def opening(self: SealedEntries, path: Path, sealed: int, reading: Reading, **options: bool) -> None:
        if path.suffix == ".log" and path.exists():
            replace(path, ".gz", gzip.compress(path.read_bytes(), 1))
        real(self, path, sealed, reading, **options)

    monkeypatch.setattr(SealedEntries, "__init__", opening)
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict)) == ("verified", [])
