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
from dataclasses import replace
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

from tests.reference import notes
from tests.reference import verifier as reference
from tests.reference.agreement import Given, by_the_page, differ
from tests.reference.forge import forge
from tests.reference.keys import ORIGIN, Keys
from tests.reference.made import MadeLog, make_random_log, random_pins
from tests.reference.mutations import damage
from tests.reference.scenarios import SCENARIOS, make
from tests.reference.sealed import seal_random_log

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
BATCHES = 40 if FULL else 10
SAMPLES = 25
POOL = 24 if FULL else 6
MODES = ("keys", "public")
VECTORS = Path(__file__).parents[1] / "vectors"
CASES = sorted(path.parent.name for path in (VECTORS / "log").glob("*/case.json"))
NOTES = sorted(path.name for path in (VECTORS / "note").glob("note-*.json"))
WORKED_EPOCH_KEY = bytes(range(0x60, 0x80))
"""The private wrapping key of the page's worked example."""
WORKED_NOW = 1795428320000


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys that made nothing here."""
    return Keys(tmp_path_factory.mktemp("strangers") / "keys", "keys of strangers").write()


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, made_keys: Keys) -> list[MadeLog]:
    """Logs that the real agent sealed."""
    folder = tmp_path_factory.mktemp("pool")
    return [seal_random_log(Random(number), folder / str(number), made_keys) for number in range(POOL)]


def _givens(rng: Random, log: MadeLog, strangers: Keys) -> list[Given]:
    """With keys, without, twice with pins, and thrice with whatever comes."""
    pins = random_pins(rng, log)
    return [
        Given(log.now, (log.keys,), log.keys),
        Given(log.now, (), log.keys),
        Given(log.now, (log.keys,), log.keys, pins=pins),
        Given(log.now, (), None, pins=pins),
        *(_any_given(rng, log, strangers) for _ in range(3)),
    ]


def _any_given(rng: Random, log: MadeLog, strangers: Keys) -> Given:
    return Given(
        log.now + rng.choice((0, 0, 0, 40_000, 10**7, 2**62, -200_000)),
        rng.choice(((log.keys,), (log.keys,), (), (), (strangers,), (strangers, log.keys))),
        rng.choice((*[log.keys] * 8, None, strangers)),
        rng.choice(("", "", "", ORIGIN, "log.example/other")),
        rng.choice(("", "", log.log, base64.b64encode(bytes(32)).decode())),
        rng.choice((-1, -1, -1, 0, 10**9)),
        rng.random() < 0.2,
        random_pins(rng, log) if rng.random() < 0.3 else None,
    )


def _batch(
    batch: str, folder: Path, strangers: Keys, make_log: Callable[[Random, Path], tuple[MadeLog, object]]
) -> list[str]:
    """Make logs of seeds and verify each in seven ways: where the two verifiers differ."""
    found = []
    for sample in range(SAMPLES):
        rng, path = Random(f"{batch}-{sample}"), folder / str(sample)
        log, done = make_log(rng, path)
        for given in _givens(rng, log, strangers):
            found += [f"{batch}-{sample} {done}: {text}" for text in differ(path, given)]
        shutil.rmtree(path)
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_logs(
    batch: int, made_keys: Keys, strangers: Keys, pool: list[MadeLog], tmp_path: Path
) -> None:
    """Both say the same of logs with random options, sealed by the agent or made, and randomly damaged."""

    def make_log(rng: Random, path: Path) -> tuple[MadeLog, object]:
        if rng.random() < 0.3:
            source = rng.choice(pool)
            shutil.copytree(source.path, path)
            log = replace(source, path=path)
        else:
            log = make_random_log(rng, path, made_keys)
        return log, damage(rng, path)

    assert not _batch(f"damaged {batch}", tmp_path, strangers, make_log)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forged_logs(batch: int, made_keys: Keys, strangers: Keys, tmp_path: Path) -> None:
    """Both say the same of logs in which one line was changed and all made anew around it, with all keys."""

    def make_log(rng: Random, path: Path) -> tuple[MadeLog, object]:
        return make_random_log(rng, path, made_keys), forge(rng, path, made_keys)

    assert not _batch(f"forged {batch}", tmp_path, strangers, make_log)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, mode: str, made_keys: Keys, tmp_path: Path) -> None:
    """Both say the same of each small log."""
    log = make(name, tmp_path / "log", made_keys)
    given = Given(log.time + 1000, (made_keys,) if mode == "keys" else (), made_keys)
    assert not differ(log.path, given)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_vector(name: str, mode: str) -> None:
    """The reference says of a log vector what its file says."""
    case = json.loads((VECTORS / "log" / name / "case.json").read_text())
    folder, expected = VECTORS / "log" / "keys", case[mode]
    keys = folder / "verifier" if mode == "keys" else None
    signer = folder / "auditor" / "checkpoint.pub"
    verdict, status, kinds = reference.verify(VECTORS / "log" / name, keys, signer, case["now"])
    assert (verdict, status) == (expected["verdict"], expected["exit"])
    assert verdict == "tampered" or set(expected.get("kinds", [])) <= kinds


@pytest.mark.parametrize("mode", MODES)
def test_worked_example(mode: str, tmp_path: Path) -> None:
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
        WORKED_NOW,
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


def test_late_signature_of_an_expired_segment(made_keys: Keys, tmp_path: Path) -> None:
    """By the page a note that came late is no trace of tampering once what it covers has expired."""
    log = make("late_note_of_what_expired", tmp_path / "log", made_keys)
    now = log.time + 1000
    assert by_the_page(log.path, Given(now, (made_keys,), made_keys)) == ("verified", set())
    assert by_the_page(log.path, Given(now, (), made_keys)) == ("verified", set())


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
