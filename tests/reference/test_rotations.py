"""The reference verifier and the real one give the same verdict on logs whose keys changed, in any way.

Random sequences of changes, endorsed or not, recorded or not, compromised or not; with any of the keys named.
More of them with EPOCHSEAL_FULL=1.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from epochseal.encoding import MAX_INT
from epochseal.verifier import Request
from epochseal.verifier import verify as verify_really
from tests.integration.logs import LogKeys, LogWriter
from tests.reference import verifier as reference
from tests.reference.mutations import damage

BATCHES = 40 if os.environ.get("EPOCHSEAL_FULL") == "1" else 4
SAMPLES = 25


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> list[LogKeys]:
    """Keys for one log after the other."""
    folder = tmp_path_factory.mktemp("ring")
    made = [LogKeys(folder / str(number), f"ring {number}") for number in range(3)]
    for keys in made:
        keys.write()
    return made


def write(rng: Random, path: Path, ring: list[LogKeys]) -> int:
    """A log of some steps; the moment (ms) at which it is verified."""
    writer = LogWriter(path, ring[0], f"rotated {rng.random()}").start("genesis")
    for _ in range(rng.randrange(2, 9)):
        rng.choice((add, add, hand_over, hand_over, change_epoch_key))(rng, writer, ring)
    if rng.random() < 0.8:
        writer.end()
    return writer.time + 1000


def add(rng: Random, writer: LogWriter, ring: list[LogKeys]) -> None:
    """A block, or an epoch, sometimes by another key that nobody spoke of."""
    if rng.random() < 0.5:
        writer.block(b"entry\n")
        return
    if rng.random() < 0.4:
        writer.issuer = rng.choice(ring)
    writer.turn(rng.choice(("entries", "segment")), signed=rng.random() < 0.9)


def hand_over(rng: Random, writer: LogWriter, ring: list[LogKeys]) -> None:
    """A change of the checkpoint key, from the right one or another, endorsed as it must be or by anybody."""
    old, new = rng.choice((rng.sample(ring, 2), [writer.signer, rng.choice(ring)]))
    if old is new:
        return
    stolen, since = _stolen(rng, writer)
    if rng.random() < 0.7:
        writer.hand_over(old, new, compromised=stolen, from_size=since)
        writer.start(rng.choice(("carry", "carry", "reopen")))
        return
    writer.rotate("checkpoint", old, new, compromised=stolen, from_size=since)
    signers = rng.sample(ring, rng.randrange(3))
    writer.end("segment", signed=False)
    if signers:
        writer.signer = signers[0]
        writer.sign(*signers[1:])
    writer.start("carry")


def change_epoch_key(rng: Random, writer: LogWriter, ring: list[LogKeys]) -> None:
    """A change of the epoch key, before or after it is recorded, or of another one."""
    old, new = rng.choice((rng.sample(ring, 2), [writer.issuer, rng.choice(ring)]))
    if old is new:
        return
    if rng.random() < 0.3:
        writer.issuer = new
        writer.turn()
    stolen, since = _stolen(rng, writer)
    writer.rotate("epoch", old, new, compromised=stolen, from_size=since)
    writer.issuer = rng.choice((old, new, new))
    writer.turn()


def _stolen(rng: Random, writer: LogWriter) -> tuple[bool, int]:
    size = writer.chain.tree.size
    if rng.random() < 0.6:
        return False, MAX_INT
    return True, rng.choice((MAX_INT, size, max(size - 1, 0), rng.randint(0, size)))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_rotated_logs(batch: int, ring: list[LogKeys], tmp_path: Path) -> None:
    """Both say the same, whichever keys are named."""
    seen = set()
    for sample in range(SAMPLES):
        rng, path = Random(f"rotated {batch}-{sample}"), tmp_path / str(sample)
        now = write(rng, path, ring)
        done = damage(rng, path) if rng.random() < 0.25 else []
        for seal in path.glob("segments/*.seal"):
            os.utime(seal, (0, 0))
        for _ in range(6):
            epoch = rng.choice((None, ring, ring, rng.sample(ring, 2)))
            named, strict = rng.choice((*ring, None)), rng.random() < 0.3
            found = both(path, now, epoch, named, strict=strict)
            seen.add(found[0][0])
            tampered = found[0][0] == found[1][0] == "tampered"
            assert tampered or found[0] == found[1], (batch, sample, done, named and named.vkey, strict)
        shutil.rmtree(path)
    assert {"verified", "untrusted", "tampered"} <= seen


def both(
    path: Path, now: int, epoch: list[LogKeys] | None, named: LogKeys | None, *, strict: bool
) -> list[tuple[str, set[str]]]:
    """What the real verifier says, and what the page."""
    request = Request(
        make_recoverer=(lambda: [keys.recoverer() for keys in epoch]) if epoch else None,
        checkpoint_key=named.public if named else None,
        strict=strict,
        now=lambda: now,
    )
    verdict = verify_really(path, request)
    page = reference.verify(
        path,
        [keys.directory / "verifier" for keys in epoch] if epoch else None,
        named.directory / "auditor" / "checkpoint.pub" if named else None,
        now,
        strict=strict,
    )
    return [(verdict.verdict, {problem.kind for problem in verdict.problems}), (page[0], page[2])]
