"""The reference verifier, which knows docs/format.md only, and the real one give the same verdict.

Of class tampered the reference stops at its first problem; otherwise the kinds of problems are the same too.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from epochseal.errors import BackendError, StorageError
from epochseal.verifier import Request
from epochseal.verifier import verify as verify_really
from tests.integration.logs import Log, LogKeys
from tests.reference import verifier as reference
from tests.reference.forge import forge
from tests.reference.made import seal_random_log, write_random_log
from tests.reference.mutations import damage

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
BATCHES = 40 if FULL else 10
SAMPLES = 50
POOL = 24 if FULL else 6
VECTORS = Path(__file__).parents[1] / "vectors"
Found = tuple[str, set[str]]


@dataclass(frozen=True)
class Given:
    """What a verifier is given besides the log."""

    now: int
    epoch: LogKeys | None
    checkpoint: LogKeys | None
    origin: str | None = None
    max_age: int | None = None
    strict: bool = False

    def describe(self) -> str:
        """For a failure."""
        return (
            f"epoch key {bool(self.epoch)}, checkpoint key {bool(self.checkpoint)}, origin {self.origin}, "
            f"now {self.now}, max age {self.max_age}"
        )


def _really(log: Path, given: Given) -> Found:
    for path in (log / "segments").glob("*.seal"):
        os.utime(path, (0, 0))
    request = Request(
        make_recoverer=given.epoch.recoverer if given.epoch else None,
        checkpoint_key=given.checkpoint.public if given.checkpoint else None,
        origin=given.origin,
        max_age=given.max_age,
        strict=given.strict,
        now=lambda: given.now,
    )
    try:
        verdict = verify_really(log, request)
    except (StorageError, BackendError):
        return "no verdict", set()
    return verdict.verdict, {problem.kind for problem in verdict.problems}


def _by_the_page(log: Path, given: Given) -> Found:
    verdict, status, kinds = reference.verify(
        log,
        given.epoch.directory / "verifier" if given.epoch else None,
        given.checkpoint.directory / "auditor" / "checkpoint.pub" if given.checkpoint else None,
        given.now,
        origin=given.origin or "",
        age=-1 if given.max_age is None else given.max_age,
        strict=given.strict,
    )
    numbers = {"verified": 0, "tampered": 1, "incomplete": 3, "untrusted": 4, "empty": 5, "no verdict": 6}
    assert numbers[verdict] == status
    return verdict, kinds


def _agree(log: Path, given: Given) -> str:
    """The verdict of both; fails if they differ."""
    real, ours = _really(log, given), _by_the_page(log, given)
    same = real == ours if real[0] != "tampered" else ours[0] == "tampered"
    assert same, f"the verifier says {real}, the page {ours}, of {given.describe()}"
    return real[0]


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> LogKeys:
    """Keys that made nothing here."""
    made = LogKeys(tmp_path_factory.mktemp("strangers") / "keys", "keys of strangers")
    made.write()
    return made


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, keys: LogKeys) -> list[Log]:
    """Logs that the real agent sealed."""
    folder = tmp_path_factory.mktemp("pool")
    return [seal_random_log(Random(number), folder / str(number), keys) for number in range(POOL)]


def _given(rng: Random, log: Log, strangers: LogKeys) -> Given:
    later = rng.choice((0, 0, 0, 40_000, 10**7, 2**62, -200_000))
    return Given(
        log.now + later,
        rng.choice((log.keys, log.keys, log.keys, None, None, None, strangers)),
        rng.choice((*[log.keys] * 8, None, strangers)),
        rng.choice((None, None, None, "log.example/attacks", "log.example/other")),
        rng.choice((None, None, None, 0, 10**9)),
        rng.random() < 0.2,
    )


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_logs(batch: int, keys: LogKeys, strangers: LogKeys, pool: list[Log], tmp_path: Path) -> None:
    """Logs with random options and random damage: both verifiers say the same of each."""
    differ = []
    for sample in range(SAMPLES):
        seed = f"{batch}-{sample}"
        rng, path = Random(seed), tmp_path / seed
        if rng.random() < 0.3:
            source = rng.choice(pool)
            shutil.copytree(source.path, path)
            log = replace(source, path=path)
        else:
            log = write_random_log(rng, path, keys)
        done = damage(rng, path)
        givens = [replace(_given(rng, log, strangers), epoch=epoch) for epoch in (keys, None)]
        for given in [*givens, Given(log.now, keys, keys), Given(log.now, None, keys), _given(rng, log, strangers)]:
            try:
                _agree(path, given)
            except AssertionError as error:
                differ.append(f"{seed} {done}: {error}")
        shutil.rmtree(path)
    assert not differ, "\n".join(differ)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forged_logs(batch: int, keys: LogKeys, strangers: LogKeys, tmp_path: Path) -> None:
    """Logs in which one line was changed and everything made anew around it, by somebody who has all keys."""
    differ = []
    for sample in range(SAMPLES):
        seed = f"forged {batch}-{sample}"
        rng, path = Random(seed), tmp_path / seed
        log = write_random_log(rng, path, keys)
        done = forge(rng, path, keys)
        for given in (Given(log.now, keys, keys), Given(log.now, None, keys), _given(rng, log, strangers)):
            try:
                _agree(path, given)
            except AssertionError as error:
                differ.append(f"{seed} {done}: {error}")
        shutil.rmtree(path)
    assert not differ, "\n".join(differ)
