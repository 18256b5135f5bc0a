"""The reference verifier, which knows docs/format.md only, and the real one give the same verdict.

Of class tampered the reference stops at its first problem; of the other classes the kinds are the same too.
A sample by default; 1,000 logs damaged and 1,000 forged with EPOCHSEAL_FULL=1.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from epochseal.errors import BackendError, StorageError
from epochseal.verifier import Request
from epochseal.verifier import verify as verify_really
from tests.integration.logs import MODES, Log, LogKeys, Mode
from tests.reference import notes
from tests.reference import verifier as reference
from tests.reference.forge import forge
from tests.reference.made import late_note, seal_random_log, write_random_log
from tests.reference.mutations import damage

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
BATCHES = 40 if FULL else 10
SAMPLES = 25
POOL = 24 if FULL else 6
VECTORS = Path(__file__).parents[1] / "vectors"
CASES = sorted(path.parent.name for path in (VECTORS / "log").glob("*/case.json"))
NOTES = sorted(path.name for path in (VECTORS / "note").glob("note-*.json"))
WORKED_EPOCH_KEY = bytes(range(0x60, 0x80))
"""The private wrapping key of the page's worked example."""
Found = tuple[str, set[str]]


@dataclass(frozen=True)
class Given:
    """What a verifier is given besides the log."""

    now: int
    epoch: LogKeys | None
    checkpoint: LogKeys | None
    origin: str = ""
    max_age: int = -1
    strict: bool = False

    def __str__(self) -> str:
        """For a failure."""
        keys = [name for name in ("epoch", "checkpoint") if getattr(self, name)]
        return f"{keys} at {self.now}, origin {self.origin!r}, age {self.max_age}, strict {self.strict}"


def really(log: Path, given: Given) -> Found:
    """What epochseal says."""
    for path in (log / "segments").glob("*.seal"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0))
    request = Request(
        make_recoverer=given.epoch.recoverer if given.epoch else None,
        checkpoint_key=given.checkpoint.public if given.checkpoint else None,
        origin=given.origin or None,
        max_age=None if given.max_age < 0 else given.max_age,
        strict=given.strict,
        now=lambda: given.now,
    )
    try:
        verdict = verify_really(log, request)
    except (StorageError, BackendError):
        return "no verdict", set()
    return verdict.verdict, {problem.kind for problem in verdict.problems}


def by_the_page(log: Path, given: Given) -> Found:
    """What the reference says."""
    verdict, status, kinds = reference.verify(
        log,
        given.epoch.directory / "verifier" if given.epoch else None,
        given.checkpoint.directory / "auditor" / "checkpoint.pub" if given.checkpoint else None,
        given.now,
        origin=given.origin,
        age=given.max_age,
        strict=given.strict,
    )
    assert reference.STATUS[verdict] == status
    return verdict, kinds


def differ(log: Path, given: Given) -> list[str]:
    """In what they differ, if they do."""
    real, ours = really(log, given), by_the_page(log, given)
    if real == ours or real[0] == ours[0] == "tampered":
        return []
    return [f"epochseal says {real}, the page {ours}: {given}"]


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


def _givens(rng: Random, log: Log, strangers: LogKeys) -> list[Given]:
    """With keys, without, and thrice with whatever comes."""
    return [
        Given(log.now, log.keys, log.keys),
        Given(log.now, None, log.keys),
        *(_any_given(rng, log, strangers) for _ in range(3)),
    ]


def _any_given(rng: Random, log: Log, strangers: LogKeys) -> Given:
    return Given(
        log.now + rng.choice((0, 0, 0, 40_000, 10**7, 2**62, -200_000)),
        rng.choice((log.keys, log.keys, None, None, strangers)),
        rng.choice((*[log.keys] * 8, None, strangers)),
        rng.choice(("", "", "", "log.example/attacks", "log.example/other")),
        rng.choice((-1, -1, -1, 0, 10**9)),
        rng.random() < 0.2,
    )


def _batch(
    batch: str, folder: Path, strangers: LogKeys, make: Callable[[Random, Path], tuple[Log, object]]
) -> list[str]:
    """Make logs of seeds and verify each in five ways: where the two verifiers differ."""
    found = []
    for sample in range(SAMPLES):
        rng, path = Random(f"{batch}-{sample}"), folder / str(sample)
        log, done = make(rng, path)
        for given in _givens(rng, log, strangers):
            found += [f"{batch}-{sample} {done}: {text}" for text in differ(path, given)]
        shutil.rmtree(path)
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_logs(batch: int, keys: LogKeys, strangers: LogKeys, pool: list[Log], tmp_path: Path) -> None:
    """Both say the same of logs with random options, sealed by the agent or written, and randomly damaged."""

    def make(rng: Random, path: Path) -> tuple[Log, object]:
        if rng.random() < 0.3:
            source = rng.choice(pool)
            shutil.copytree(source.path, path)
            log = replace(source, path=path)
        else:
            log = write_random_log(rng, path, keys)
        return log, damage(rng, path)

    assert not _batch(f"damaged {batch}", tmp_path, strangers, make)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forged_logs(batch: int, keys: LogKeys, strangers: LogKeys, tmp_path: Path) -> None:
    """Both say the same of logs in which one line was changed and all made anew around it, with all keys."""

    def make(rng: Random, path: Path) -> tuple[Log, object]:
        return write_random_log(rng, path, keys), forge(rng, path, keys)

    assert not _batch(f"forged {batch}", tmp_path, strangers, make)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_vector(name: str, mode: Mode, keys: LogKeys) -> None:
    """Both say of a log vector what its file says."""
    case = json.loads((VECTORS / "log" / name / "case.json").read_text())
    given = Given(case["now"], keys if mode == "keys" else None, keys)
    assert not differ(VECTORS / "log" / name, given)
    folder = VECTORS / "log" / "keys"
    keys_folder = folder / "verifier" if mode == "keys" else None
    found = reference.verify(
        VECTORS / "log" / name, keys_folder, folder / "auditor" / "checkpoint.pub", given.now
    )
    assert found[:2] == (case[mode]["verdict"], case[mode]["exit"])


@pytest.mark.parametrize("mode", MODES)
def test_worked_example(mode: Mode, tmp_path: Path) -> None:
    """The log of the page is verified, in keys mode with the private key that the page states."""
    private = X25519PrivateKey.from_private_bytes(WORKED_EPOCH_KEY)
    (tmp_path / "epoch.key").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    folder = VECTORS / "worked"
    found = reference.verify(
        folder / "log",
        tmp_path if mode == "keys" else None,
        folder / "keys" / "auditor" / "checkpoint.pub",
        1795428320000,
    )
    assert found == ("verified", 0, set())


@pytest.mark.parametrize("name", NOTES)
def test_note_vector(name: str) -> None:
    """The reference accepts the signed notes that the vectors say, as far as they could be checkpoints."""
    case = json.loads((VECTORS / "note" / name).read_text())
    raw = case["note"].encode() if "note" in case else bytes.fromhex(case["note_hex"])
    found = {_signed(raw, vkey) for vkey in case["vkeys"]}
    if case["expect"] == "ok" and raw.rsplit(b"\n\n", 1)[0].count(b"\n") == 2:
        assert "signed" in found
        assert "bad" not in found
    elif case["expect"] in {"unknown key", "configuration error"}:
        assert found <= {"unknown"}
    else:
        assert "bad" in found


def test_late_signature_of_an_expired_segment(keys: LogKeys, tmp_path: Path) -> None:
    """By the page a note that came late is no trace of tampering once what it covers has expired."""
    log = late_note(tmp_path / "log", keys)
    assert by_the_page(log.path, Given(log.now, keys, keys)) == ("verified", set())
    assert by_the_page(log.path, Given(log.now, None, keys)) == ("verified", set())
    for recovers in (keys, None):
        assert not differ(log.path, Given(log.now, recovers, keys))


def _signed(raw: bytes, vkey: str) -> str:
    name, _, key = vkey.split("+", 2)
    kind, *data = base64.b64decode(key)
    public = (
        load_der_public_key(bytes(data)) if kind == 2 else Ed25519PublicKey.from_public_bytes(bytes(data))
    )
    assert isinstance(public, notes.PublicKey)
    try:
        return "signed" if notes.read_note(raw, name, [public])[3] else "unknown"
    except (ValueError, InvalidSignature):
        return "bad"
