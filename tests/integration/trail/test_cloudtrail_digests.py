"""CloudTrail's digest files: a chain made exactly as AWS documents it, and each way to break it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from epochseal.errors import ConfigError, FormatError
from epochseal.trail import check_digests, read_digest_key
from tests.integration.trail import cloudtrail as ct

BUCKET = "trail-of-example"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """The region's key."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Chain:
    """Three hours of a trail and their digests."""

    folder: Path
    key: RSAPrivateKey
    files: list[Path]
    digests: list[Path]

    def check(self) -> tuple[list[str], list[str]]:
        """What is altered, and what is missing."""
        public = self.folder / "region.key"
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        public.write_bytes(base64.b64encode(der) + b"\n")
        checked = check_digests(self.digests, self.files, read_digest_key(public))
        return checked.altered, checked.gaps

    def edit(self, number: int, change: Callable[[dict[str, object]], None]) -> None:
        """Change one digest, as somebody could who has no key."""
        path = self.digests[number]
        content = json.loads(gzip.decompress(path.read_bytes()))
        change(content)
        path.write_bytes(gzip.compress(json.dumps(content).encode()))


@pytest.fixture
def chain(key: RSAPrivateKey, tmp_path: Path) -> Chain:
    """Each digest names two log files; the signature of the last lies beside it."""
    made = Chain(tmp_path, key, [], [])
    previous: dict[str, str | None] = {"object": None, "hash": None, "signature": None}
    for hour in range(3):
        events = [ct.foreign(hour * 3_600_000 + number) for number in range(20)]
        files = ct.deliver(tmp_path / f"hour{hour}", events, 2, seed=hour)
        made.files += files
        name = f"{ct.ACCOUNT}_CloudTrail-Digest_{ct.REGION}_audit_20260101T{hour:02d}0000Z.json.gz"
        content = {
            "awsAccountId": ct.ACCOUNT,
            "digestStartTime": f"2026-01-01T{hour:02d}:00:00Z",
            "digestEndTime": f"2026-01-01T{hour + 1:02d}:00:00Z",
            "digestS3Bucket": BUCKET,
            "digestS3Object": f"AWSLogs/{ct.ACCOUNT}/CloudTrail-Digest/{name}",
            "digestPublicKeyFingerprint": "31e8b5433410dfb61a9dc45cc65b22ff",
            "digestSignatureAlgorithm": "SHA256withRSA",
            "previousDigestS3Bucket": BUCKET if hour else None,
            "previousDigestS3Object": previous["object"],
            "previousDigestHashValue": previous["hash"],
            "previousDigestHashAlgorithm": "SHA-256" if hour else None,
            "previousDigestSignature": previous["signature"],
            "logFiles": [
                {
                    "s3Bucket": BUCKET,
                    "s3Object": f"AWSLogs/{ct.ACCOUNT}/CloudTrail/{path.name}",
                    "hashValue": hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest(),
                    "hashAlgorithm": "SHA-256",
                }
                for path in files
            ],
        }
        raw = json.dumps(content).encode()
        signed = "\n".join(
            [
                str(content["digestEndTime"]),
                f"{BUCKET}/{content['digestS3Object']}",
                hashlib.sha256(raw).hexdigest(),
                previous["signature"] or "null",
            ]
        )
        signature = key.sign(signed.encode(), PKCS1v15(), SHA256()).hex()
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw))
        made.digests.append(path)
        previous = {
            "object": str(content["digestS3Object"]),
            "hash": hashlib.sha256(raw).hexdigest(),
            "signature": signature,
        }
    made.digests[-1].with_name(made.digests[-1].name + ".signature").write_text(f"{previous['signature']}\n")
    return made


def test_whole_chain(chain: Chain) -> None:
    """Signatures, links and hashes hold, in whatever order the files are named."""
    assert chain.check() == ([], [])
    chain.digests.reverse()
    chain.files.reverse()
    assert chain.check() == ([], [])


def test_newest_without_signature(chain: Chain) -> None:
    """Only S3 has the signature of the newest digest: without it the trail is incomplete, not trusted."""
    chain.digests[-1].with_name(chain.digests[-1].name + ".signature").unlink()
    altered, gaps = chain.check()
    assert altered == []
    assert len(gaps) == 1
    assert ".signature" in gaps[0]


def test_log_file_altered(chain: Chain) -> None:
    """One more blank in a delivered file."""
    path = chain.files[2]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b" "))
    altered, gaps = chain.check()
    assert (len(altered), gaps) == (1, [])
    assert path.name in altered[0]


def test_log_file_missing_and_unknown(chain: Chain) -> None:
    """A delivered file that was not given, and one that nobody delivered."""
    gone = chain.files.pop(0)
    other = chain.folder / "other.json.gz"
    other.write_bytes(gone.read_bytes())
    chain.files.append(other)
    altered, gaps = chain.check()
    assert altered == []
    assert sorted(text.split(" ")[0] for text in gaps) == sorted([gone.name, "no"])


def test_digest_missing(chain: Chain) -> None:
    """A link of the chain that was not given is a gap."""
    del chain.digests[1]
    altered, gaps = chain.check()
    assert altered == []
    assert any("no digest between" in text for text in gaps)


@pytest.mark.parametrize("number", range(3))
def test_digest_altered(chain: Chain, number: int) -> None:
    """A file taken off a digest's list: its signature does not hold, and the next does not follow on it."""
    chain.edit(number, lambda digest: digest["logFiles"].pop())  # type: ignore[attr-defined]  # a list
    altered, _ = chain.check()
    assert f"the signature of {chain.digests[number].name} does not hold" in altered
    assert len(altered) == (2 if number < 2 else 1)


def test_other_algorithm(chain: Chain) -> None:
    """A digest that claims another signature scheme is refused, not believed."""
    chain.edit(2, lambda digest: digest.update(digestSignatureAlgorithm="none"))
    altered, _ = chain.check()
    assert altered == [f"{chain.digests[2].name} is signed with 'none'"]


def test_key_of_another_region(chain: Chain) -> None:
    """No signature holds with another key."""
    chain.key = generate_private_key(public_exponent=65537, key_size=2048)
    altered, _ = chain.check()
    assert len(altered) == 3


def test_files_of_another_form(chain: Chain, tmp_path: Path) -> None:
    """What is no digest, or no key, is refused with its name."""
    path = tmp_path / "no-digest.json"
    path.write_text('{"Records": []}', encoding="utf-8")
    chain.digests.append(path)
    with pytest.raises(FormatError, match=r"no-digest\.json is not a CloudTrail digest file"):
        chain.check()
    for text in ("", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"no-digest\.json is no public key"):
            read_digest_key(path)
