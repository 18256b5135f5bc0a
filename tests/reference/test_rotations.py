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

from tests.reference.agreement import Given, by_the_page, really
from tests.reference.keys import ORIGIN, Keys, text
from tests.reference.maker import Maker
from tests.reference.mutations import damage
from tests.reference.trust import Pins

BATCHES = 40 if os.environ.get("EPOCHSEAL_FULL") == "1" else 4
SAMPLES = 25


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> list[Keys]:
    """Keys for one log after the other."""
    folder = tmp_path_factory.mktemp("ring")
    return [Keys(folder / str(number), f"ring {number}").write() for number in range(3)]


def write(rng: Random, path: Path, ring: list[Keys]) -> Maker:
    """A log of some steps."""
    log = Maker(path, ring[0], f"rotated {rng.random()}").begin("genesis")
    for _ in range(rng.randrange(2, 9)):
        rng.choice((add, add, hand_over, hand_over, change_epoch_key))(rng, log, ring)
    if rng.random() < 0.8:
        log.close()
    return log


def add(rng: Random, log: Maker, ring: list[Keys]) -> None:
    """A block, a turn, or a start, sometimes by another key that nobody spoke of."""
    if rng.random() < 0.5:
        log.block(b"entry\n")
        return
    if rng.random() < 0.3:
        log.issuer = rng.choice(ring)
    if rng.random() < 0.2:
        log.close().begin(rng.choice(("carry", "carry", "cold")))
    else:
        log.turn(rng.choice(("entries", "segment")), signed=rng.random() < 0.9)


def hand_over(rng: Random, log: Maker, ring: list[Keys]) -> None:
    """A change of the checkpoint key, from the right one or another, endorsed as it must be or by anybody."""
    old, new = rng.choice((rng.sample(ring, 2), [log.signer, rng.choice(ring)]))
    if old is new:
        return
    stolen, since = _stolen(rng, log)
    if rng.random() < 0.7:
        log.hand_over(old, new, compromised=stolen, from_size=since)
        return
    log.rotate("checkpoint", old, new, compromised=stolen, from_size=since)
    signers = rng.sample(ring, rng.randrange(3))
    if rng.random() < 0.5:
        log.sign()
    else:
        log.close(signed=False)
    if signers:
        log.signer = signers[0]
        log.note(*signers[1:])
    if rng.random() < 0.3:
        log.begin("cold")


def change_epoch_key(rng: Random, log: Maker, ring: list[Keys]) -> None:
    """A change of the epoch key, before or after it is recorded, or of another one."""
    old, new = rng.choice((rng.sample(ring, 2), [log.issuer, rng.choice(ring)]))
    if old is new:
        return
    if rng.random() < 0.3:
        log.issuer = new
        log.turn()
    stolen, since = _stolen(rng, log)
    log.rotate("epoch", old, new, compromised=stolen, from_size=since)
    log.issuer = rng.choice((old, new, new))
    log.turn()


def _stolen(rng: Random, log: Maker) -> tuple[bool, int]:
    if rng.random() < 0.6:
        return False, -1
    return True, rng.choice((-1, log.size, max(log.size - 1, 0), rng.randint(0, log.size)))


def remembered(rng: Random, log: Maker, ring: list[Keys]) -> Pins:
    """Pins of the first key at some size, with keys that a person has accepted or without."""
    size = rng.choice(log.signable)
    accepted = {keys.vkey() for keys in ring if rng.random() < 0.3}
    wrapping = {keys.key_id for keys in ring if rng.random() < 0.8}
    first = rng.choice((ring[0], ring[0], rng.choice(ring))).checkpoint.public_key()
    return Pins(ORIGIN, text(log.log), first, size, log.roots[size], wrapping, checkpoint_keys=accepted)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_rotated_logs(batch: int, ring: list[Keys], tmp_path: Path) -> None:
    """Both say the same, whichever keys are named."""
    seen = set()
    for sample in range(SAMPLES):
        rng, path = Random(f"rotated {batch}-{sample}"), tmp_path / str(sample)
        log = write(rng, path, ring)
        done = damage(rng, path) if rng.random() < 0.25 else []
        for _ in range(6):
            given = Given(
                log.time + 1000,
                rng.choice(((), tuple(ring), tuple(ring), tuple(rng.sample(ring, 2)))),
                rng.choice((*ring, None)),
                strict=rng.random() < 0.3,
                pins=remembered(rng, log, ring) if rng.random() < 0.4 else None,
            )
            real, page = really(path, given), by_the_page(path, given)
            seen.add(real[0])
            tampered = real[0] == page[0] == "tampered"
            assert tampered or real == page, (batch, sample, done, str(given))
        shutil.rmtree(path)
    assert {"verified", "untrusted", "tampered"} <= seen
