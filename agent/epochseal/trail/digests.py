"""CloudTrail's own digest files: a signed chain of hashes over the log files that were delivered.

CloudTrail User Guide, "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file
integrity validation". Each hour's digest names the log files of that hour with the SHA-256 of each (of the
decompressed content), and quotes the signature of the digest before it. The signature of a digest itself is
in the metadata of its S3 object (`x-amz-meta-signature`), so the next digest has it, and that of the newest
is read from `FILE.signature` beside it. It is RSA with SHA-256 (PKCS #1 v1.5) over four lines:

    digestEndTime
    digestS3Bucket/digestS3Object
    SHA-256 of the digest's decompressed content, in hex
    the signature of the digest before it, in hex; `null` for the first
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from epochseal.encoding import UNREADABLE, b64decode
from epochseal.errors import ConfigError, FormatError, StorageError
from epochseal.storage.opener import GoneError, NotAFileError, read_file, read_named_file
from epochseal.trail.trail_file import TrailFile

SIGNATURE_ENDING = ".signature"
_LONGEST_SIGNATURE = 4096


class _LogFile(msgspec.Struct):
    s3Object: str  # noqa: N815  # CloudTrail's own names
    hashValue: str  # noqa: N815  # as above
    hashAlgorithm: str  # noqa: N815  # as above


class _Digest(msgspec.Struct):
    digestStartTime: str  # noqa: N815  # as above
    digestEndTime: str  # noqa: N815  # as above
    digestS3Bucket: str  # noqa: N815  # as above
    digestS3Object: str  # noqa: N815  # as above
    digestSignatureAlgorithm: str  # noqa: N815  # as above
    logFiles: list[_LogFile]  # noqa: N815  # as above
    previousDigestS3Object: str | None = None  # noqa: N815  # as above
    previousDigestHashValue: str | None = None  # noqa: N815  # as above
    previousDigestSignature: str | None = None  # noqa: N815  # as above


@dataclass(frozen=True, slots=True)
class _Read:
    path: Path
    digest: _Digest
    hash: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the digests say of the trail: `altered` files, and `gaps` that leave it incomplete."""

    altered: list[str]
    gaps: list[str]


def read_digest_key(path: Path) -> RSAPublicKey:
    """A region's public key: PEM, or as `aws cloudtrail list-public-keys` prints it (PKCS #1 DER in base64).

    Raises:
        ConfigError: it is no RSA key in one of these forms.
        StorageError: it cannot be read.
    """
    try:
        raw = read_named_file(path).strip()
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        pem = raw.startswith(b"-----BEGIN")
        key = load_pem_public_key(raw) if pem else load_der_public_key(b64decode(raw, "key"))
    except (ValueError, FormatError) as exc:
        raise ConfigError(
            f"{path} is no public key of CloudTrail",
            "write the Value that aws cloudtrail list-public-keys prints, or the key in PEM",
        ) from exc
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(f"{path} is no RSA key", "CloudTrail signs with RSA")
    return key


def check_digests(digests: Sequence[Path], trail: Sequence[Path], key: RSAPublicKey) -> Checked:
    """Hold the files of a trail against the digests, and these against their signatures and one another.

    Raises:
        FormatError: a file is not a digest file.
        StorageError: a file cannot be read.
    """
    altered: list[str] = []
    gaps: list[str] = []
    read = sorted((_read(path) for path in digests), key=lambda item: item.digest.digestEndTime)
    for before, item in zip([None, *read], read, strict=False):
        if before is not None:
            _check_link(before, item, altered, gaps)
        _check_signature(item, _signature(item, read), key, altered, gaps)
    _check_files(read, {path.name: path for path in trail}, altered, gaps)
    return Checked(altered, gaps)


def _read(path: Path) -> _Read:
    with TrailFile(path) as file:
        content = file.whole()
    try:
        digest = msgspec.json.decode(content, type=_Digest)
    except UNREADABLE as exc:
        raise FormatError(f"{path} is not a CloudTrail digest file: {exc}") from exc
    return _Read(path, digest, hashlib.sha256(content).hexdigest())


def _check_link(before: _Read, item: _Read, altered: list[str], gaps: list[str]) -> None:
    if item.digest.previousDigestS3Object != before.digest.digestS3Object:
        gaps.append(f"no digest between {before.path.name} and {item.path.name} was given, and there is one")
    elif item.digest.previousDigestHashValue != before.hash:
        altered.append(f"{before.path.name} is not the digest that {item.path.name} follows on")


def _signature(item: _Read, read: Sequence[_Read]) -> str | None:
    beside = item.path.with_name(item.path.name + SIGNATURE_ENDING)
    # What is no file has no signature, and a digest without one is told as a gap.
    with suppress(GoneError, NotAFileError):
        return read_file(beside, _LONGEST_SIGNATURE).decode("ascii", "replace").strip()
    for later in read:
        if later.digest.previousDigestS3Object == item.digest.digestS3Object:
            return later.digest.previousDigestSignature
    return None


def _check_signature(
    item: _Read, signature: str | None, key: RSAPublicKey, altered: list[str], gaps: list[str]
) -> None:
    if signature is None:
        gaps.append(
            f"the signature of {item.path.name} is not known: write it to a file {SIGNATURE_ENDING} beside it"
        )
        return
    digest = item.digest
    signed = "\n".join(
        [
            digest.digestEndTime,
            f"{digest.digestS3Bucket}/{digest.digestS3Object}",
            item.hash,
            digest.previousDigestSignature or "null",
        ]
    )
    if digest.digestSignatureAlgorithm != "SHA256withRSA":
        altered.append(f"{item.path.name} is signed with {digest.digestSignatureAlgorithm[:40]!r}")
        return
    try:
        key.verify(bytes.fromhex(signature), signed.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        altered.append(f"the signature of {item.path.name} does not hold")


def _check_files(
    read: Sequence[_Read], trail: Mapping[str, Path], altered: list[str], gaps: list[str]
) -> None:
    named: set[str] = set()
    hashes: dict[str, str] = {}
    for item in read:
        for file in item.digest.logFiles:
            name = file.s3Object.rpartition("/")[2]
            named.add(name)
            if (path := trail.get(name)) is None:
                gaps.append(f"{name} was delivered, and is not among the files that were given")
                continue
            if name not in hashes:
                with TrailFile(path) as opened:
                    hashes[name] = opened.digest()
            if file.hashAlgorithm != "SHA-256" or hashes[name] != file.hashValue:
                altered.append(f"{path.name} has another hash than {item.path.name} says")
    if unknown := sorted(set(trail) - named):
        gaps.append(f"no digest that was given names {len(unknown)} of the files, the first is {unknown[0]}")
