"""`epochseal prove` and `check-proof`: from a log to somebody who has the file and the public key alone."""

from __future__ import annotations

import gzip
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import FormatError, VerificationError
from epochseal.evidence.proof import check_proof, parse_proof
from epochseal.evidence.prover import prove
from epochseal.format.note import VerifierKey
from tests import warm_program
from tests.integration.logs import ORIGIN, LogKeys, LogWriter, entry, seal, write_log

PROGRAM = str(Path(sys.executable).parent / "epochseal")


def run(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """A command of the user."""
    return warm_program.run([*map(str, words)])


def auditor(keys: LogKeys) -> tuple[str, str]:
    """The options that name the public key."""
    return "--checkpoint-key", f"file:{keys.directory}/auditor"


@pytest.mark.parametrize("compressed", [False, True])
def test_every_entry_of_a_log(tmp_path: Path, keys: LogKeys, *, compressed: bool) -> None:
    """Each of 35 entries in three segments and six epochs is proven, and the proof shows it."""
    log = write_log(tmp_path / "log", keys)
    if compressed:
        for path in log.files("log"):
            path.with_suffix(".log.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    key = VerifierKey(ORIGIN, keys.public)
    for number in range(35):
        proof = parse_proof(prove(log.path, number, keys.public).encode())
        check_proof(proof, key)
        assert (proof.number, proof.entry) == (number, entry(number))
        assert proof == parse_proof(prove(log.path, number).encode())


def test_the_commands(tmp_path: Path, keys: LogKeys) -> None:
    """A proof made with the real agent's log, by a file and by a pipe, gives the entry back on stdout."""
    seal(tmp_path / "log", keys, b"".join(map(entry, range(1000))), "--epoch-max-entries", "300")
    file, vkey = tmp_path / "700.proof", tmp_path / "log.vkey"
    vkey.write_text(VerifierKey(ORIGIN, keys.public).vkey + "\n", encoding="utf-8")
    made = run("prove", tmp_path / "log", "--entry", "700", *auditor(keys), "-o", file)
    assert (made.returncode, made.stdout, made.stderr) == (0, b"", b"")
    # Nobody reads from it: it is replaced, and not waited for.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert run("prove", tmp_path / "log", "--entry", "700", *auditor(keys), "-o", pipe).returncode == 0
    assert pipe.read_bytes() == file.read_bytes()
    unchecked = run("prove", tmp_path / "log", "--entry", "700")
    assert (unchecked.returncode, unchecked.stdout) == (0, file.read_bytes())
    assert b"name --checkpoint-key" in unchecked.stderr
    for key in (("--checkpoint-key", str(vkey)), auditor(keys)):
        checked = run("check-proof", file, *key)
        assert (checked.returncode, checked.stdout) == (0, entry(700))
        assert b"verified: entry 700 of log.example/attacks" in checked.stderr


def test_a_proof_of_one_entry_block_shows_no_other(tmp_path: Path, keys: LogKeys) -> None:
    """With --block-bytes 1B every block is one entry: nothing of its neighbours is in the file."""
    seal(tmp_path / "log", keys, b"".join(map(entry, range(40))), "--block-bytes", "1B")
    for number in (0, 20, 39):
        proof = prove(tmp_path / "log", number, keys.public)
        assert (proof.before, proof.entry, proof.after) == (b"", entry(number), b"")
        check_proof(parse_proof(proof.encode()), VerifierKey(ORIGIN, keys.public))


def test_an_escaped_entry_is_given_back_as_it_was_sent(tmp_path: Path, keys: LogKeys) -> None:
    """The proof holds the stored form, check-proof prints what the source sent, as `cat` does."""
    from epochseal.format.seal_lines import SourceMark  # noqa: PLC0415  # one test needs it

    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    writer.block(b"two\\x0alines\n", src=SourceMark("unix", 1, esc=1)).end()
    (tmp_path / "proof").write_bytes(prove(tmp_path / "log", 0, keys.public).encode())
    assert run("check-proof", tmp_path / "proof", *auditor(keys)).stdout == b"two\nlines\n"


def test_what_is_refused_when_making_one(tmp_path: Path, keys: LogKeys) -> None:
    """No such entry, no log, nothing signed yet, another key, another origin: each has its status."""
    log = write_log(tmp_path / "log", keys)
    assert run("prove", log.path, "--entry", "35", *auditor(keys)).returncode == 2
    assert run("prove", tmp_path / "none", "--entry", "0", *auditor(keys)).returncode == 5
    assert run("prove", log.path, "--entry", "0", "--origin", "log.example/other").returncode == 4
    stranger = LogKeys(tmp_path / "stranger", "keys of somebody else")
    stranger.write()
    assert run("prove", log.path, "--entry", "0", *auditor(stranger)).returncode == 4
    LogWriter(tmp_path / "open", keys).start("genesis").block(entry(0))
    unsigned = run("prove", tmp_path / "open", "--entry", "0", *auditor(keys))
    assert unsigned.returncode == 3
    assert b"no signed checkpoint vouches for line 1 yet" in unsigned.stderr
    for path in log.files("log")[:1] + log.files("seal")[:1]:
        path.unlink()
    assert run("prove", log.path, "--entry", "3", *auditor(keys)).returncode == 2


@pytest.mark.parametrize(
    ("ending", "old", "new"),
    [
        ("log", b"entry 0004", b"entry 9004"),
        ("log", b"entry 0004, as sealed.\n", b"entry 0004, as sealed, "),
        ("seal", b"block 2 3 3 69", b"block 2 3 4 69"),
        ("seal", b'"offset":138', b'"offset":139'),
        ("seal", b'"next":{"epoch":1', b'"next":{"epoch":2'),
        ("seal", b"block 1 0 3 0", b"block 1 1 3 0"),
        ("seal", b'"interval":60000', b'"interval":60001'),
    ],
    ids=["entry", "newline", "count", "source", "later-line", "earlier-line", "epoch-line"],
)
def test_a_damaged_entry_is_not_proven(
    tmp_path: Path, keys: LogKeys, ending: str, old: bytes, new: bytes
) -> None:
    """An entry whose bytes, line or tree do not verify has no proof, with the key or without."""
    log = write_log(tmp_path / "log", keys)
    path = log.files(ending)[0]
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    for key in (keys.public, None):
        with pytest.raises(VerificationError):
            prove(log.path, 4, key)
    assert run("prove", log.path, "--entry", "4", *auditor(keys)).returncode == 1


def test_damage_elsewhere_is_no_obstacle(tmp_path: Path, keys: LogKeys) -> None:
    """Another block's bytes may be gone: the entry's own and the tree are what counts."""
    log = write_log(tmp_path / "log", keys)
    path = log.files("log")[0]
    path.write_bytes(path.read_bytes().replace(b"entry 0008", b"entry 9008"))
    log.files("log")[2].unlink()
    check_proof(prove(log.path, 4, keys.public), VerifierKey(ORIGIN, keys.public))


def test_a_signature_that_came_late(tmp_path: Path, keys: LogKeys) -> None:
    """While the signer was away no checkpoint was signed: the first one behind the entry proves it."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    for first in range(0, 12, 3):
        writer.block(*map(entry, range(first, first + 3))).turn(
            "segment" if first == 6 else "entries", signed=False
        )
    writer.block(entry(12)).end()
    for number in (0, 5, 11, 12):
        proof = prove(tmp_path / "log", number, keys.public)
        assert check_proof(proof, VerifierKey(ORIGIN, keys.public)).size == writer.signed


def test_what_is_refused_when_checking_one(tmp_path: Path, keys: LogKeys) -> None:
    """A file that is none, a changed one, another key, another origin: 1, 1, 4, 4; no file is usage."""
    log = write_log(tmp_path / "log", keys)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(prove(log.path, 4).encode())
    bad.write_bytes(good.read_bytes().replace(b"entry 4", b"entry 3"))
    stranger = LogKeys(tmp_path / "stranger", "keys of somebody else")
    stranger.write()
    assert run("check-proof", good, *auditor(keys)).returncode == 0
    changed = run("check-proof", bad, *auditor(keys))
    assert (changed.returncode, changed.stdout) == (1, b"")
    assert run("check-proof", log.files("log")[0], *auditor(keys)).returncode == 1
    assert run("check-proof", good, *auditor(stranger)).returncode == 4
    assert run("check-proof", good, *auditor(keys), "--origin", "log.example/other").returncode == 4
    assert run("check-proof", tmp_path / "absent", *auditor(keys)).returncode == 2
    assert run("check-proof", good).returncode == 2


FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
ENTRIES = 1_000_000 if FULL else 100_000


@pytest.fixture(scope="module", params=["64KiB", *(["1B"] if FULL else [])])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, keys: LogKeys) -> Path:
    """A large log, in blocks of the usual size, and in the large sample of one entry too."""
    log = tmp_path_factory.mktemp("large") / "log"
    data = b"".join(b"user=%08x action=read n=%07d\n" % (n * 2654435761 % 2**32, n) for n in range(ENTRIES))
    subprocess.run(
        [
            PROGRAM,
            "seal",
            log,
            "--origin",
            ORIGIN,
            "--epoch-key",
            f"file:{keys.directory}/agent",
            "--checkpoint-key",
            f"file:{keys.directory}/agent",
            "--block-bytes",
            request.param,
        ],
        input=data,
        check=True,
        timeout=600,
    )
    return log


def numbers() -> Iterator[int]:
    """The first, the last, and some between."""
    yield from (0, ENTRIES - 1)
    yield from random.Random(7).sample(range(ENTRIES), 20 if FULL else 4)


def test_a_large_log(large: Path, keys: LogKeys) -> None:
    """First, last and random entries are proven under the first checkpoint behind them, in a small file."""
    key = VerifierKey(ORIGIN, keys.public)
    for number in numbers():
        began = time.process_time()
        raw = prove(large, number, keys.public).encode()
        made = time.process_time()
        proof = parse_proof(raw)
        check_proof(proof, key)
        checked = time.process_time()
        assert proof.entry.endswith(b"n=%07d\n" % number)
        assert len(raw) < 100_000
        print(  # noqa: T201  # figures for whoever runs the large sample with -s
            f"entry {number}: {len(raw)} B, {made - began:.3f} s to make, {checked - made:.4f} s to check, "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
        )


def test_bits_of_a_large_proof(large: Path, keys: LogKeys) -> None:
    """A proof with any one bit flipped is refused: all bits around the edges, a sample in the long middle."""
    key = VerifierKey(ORIGIN, keys.public)
    raw = bytearray(prove(large, ENTRIES // 3, keys.public).encode())
    edges = [*range(min(400, len(raw))), *range(max(len(raw) - 600, 0), len(raw))]
    middle = random.Random(3).sample(range(len(raw)), min(10_000 if FULL else 100, len(raw)))
    accepted = []
    for place in sorted({*edges, *middle}):
        for bit in range(8):
            raw[place] ^= 1 << bit
            try:
                check_proof(parse_proof(bytes(raw)), key)
                accepted.append((place, bit))
            except (FormatError, VerificationError):
                pass
            raw[place] ^= 1 << bit
    assert accepted == []
