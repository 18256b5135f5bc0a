"""Time stamps of checkpoints by a time-stamping authority (RFC 3161), kept beside the log.

A stamp says that a checkpoint existed at a time which the log's own host did not choose. `timestamps/` in the
log directory holds them in pairs, named by tree size: `SIZE.checkpoint`, the signed note that was stamped,
and `SIZE.tsr`, the authority's answer (a DER TimeStampResp over the SHA-256 of the whole note).
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from pathlib import Path

import rfc3161_client
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client.errors import VerificationError as StampRefused

from epochseal.answers import build_opener
from epochseal.encoding import format_time
from epochseal.errors import (
    BackendError,
    ConfigError,
    FormatError,
    StorageError,
    Unavailable,
    VerificationError,
)
from epochseal.format.note import MAX_NOTE, VerifierKey, parse_checkpoint, parse_note, verify_note
from epochseal.keys import PublicKey
from epochseal.storage.durable import make_directory, replace_file
from epochseal.storage.opener import read_file
from epochseal.witness.growth import Trees

FOLDER = "timestamps"
_MAX_ANSWER = 1 << 20
_TIMEOUT = 20.0
_NAME = re.compile(r"([0-9]{12,19})\.(?:checkpoint|tsr)")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A checkpoint of `size` lines existed at `time` (RFC 3339), as an authority says."""

    size: int
    time: str


def request_stamp(logdir: Path, url: str) -> Stamp:
    """Have the file `checkpoint` stamped, and keep the answer; its signature is checked by `check_stamps`.

    Raises:
        Unavailable, BackendError: the authority cannot be reached, or answers something else.
        ConfigError: the address is none.
        FormatError, StorageError: there is no checkpoint to stamp, or the answer cannot be kept.
    """
    raw = _read(logdir / "checkpoint")
    size = parse_checkpoint(parse_note(raw).text).size
    request = (
        rfc3161_client.TimestampRequestBuilder()
        .data(raw)
        .hash_algorithm(rfc3161_client.HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    answer = _post(url, request.as_bytes())
    response = _decode(answer, url)
    info = response.tst_info
    # The stamp is over another text, or is an older answer sent again: it shows nothing of this checkpoint.
    if info.nonce != request.nonce or info.message_imprint.message != sha256(raw).digest():
        raise BackendError(f"the time stamp from {url} is over something else than was asked for")
    stem = logdir / FOLDER / f"{size:012d}"
    make_directory(stem.parent)
    replace_file(stem.with_suffix(".checkpoint"), raw)
    replace_file(stem.with_suffix(".tsr"), answer)
    return Stamp(size, _time(response))


def check_stamps(logdir: Path, key: PublicKey, authorities: bytes) -> Iterator[Stamp]:
    """Check every stamp: the authority's signature, the log's, and that the lines are those that were signed.

    Args:
        logdir: the log directory.
        key: the public checkpoint key.
        authorities: certificates in PEM: the roots to trust, and intermediate ones if the stamps lack them.

    Raises:
        VerificationError: a stamp or a checkpoint does not hold, or the log's lines are others.
        ConfigError: there is no certificate.
        StorageError: a file is missing or cannot be read.
    """
    roots, others = _certificates(authorities)
    stems = sorted(
        {path.with_suffix("") for path in _stamps(logdir / FOLDER)}, key=lambda stem: int(stem.name)
    )
    trees = Trees(logdir)
    for stem in stems:
        raw, answer = _read(stem.with_suffix(".checkpoint")), _read(stem.with_suffix(".tsr"))
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        verify_note(note, [VerifierKey(checkpoint.origin, key)])
        builder = rfc3161_client.VerifierBuilder()
        for certificate in roots:
            builder = builder.add_root_certificate(certificate)
        for certificate in others:
            builder = builder.add_intermediate_certificate(certificate)
        response = _decode(answer, stem.with_suffix(".tsr").name)
        try:
            builder.build().verify_message(response, raw)
        except (StampRefused, ValueError) as exc:
            raise VerificationError(f"time stamp {stem.name}.tsr does not hold: {exc}") from exc
        size = int(stem.name)
        if size != checkpoint.size or trees.at(size).root() != checkpoint.root:
            raise VerificationError(
                f"the log's first {checkpoint.size} lines are not those that were stamped"
            )
        yield Stamp(checkpoint.size, _time(response))


def _stamps(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise StorageError(f"cannot read {folder}: {exc.strerror}") from exc


def _certificates(pem: bytes) -> tuple[list[Certificate], list[Certificate]]:
    try:
        found = load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise ConfigError("the authority's file holds no certificate in PEM") from exc
    roots = [item for item in found if item.issuer == item.subject]
    if not roots:
        raise ConfigError("none of the authority's certificates is a root", "add its self-signed certificate")
    return roots, [item for item in found if item.issuer != item.subject]


def _decode(answer: bytes, where: str) -> rfc3161_client.TimeStampResponse:
    try:
        response = rfc3161_client.decode_timestamp_response(answer)
    except ValueError as exc:
        raise FormatError(f"{where}: no RFC 3161 answer: {exc}") from exc
    if response.status not in (0, 1):
        said = "; ".join(response.status_string) or "no reason"
        raise BackendError(f"{where}: the authority refused with status {response.status}: {said}")
    return response


def _time(response: rfc3161_client.TimeStampResponse) -> str:
    return format_time(int(response.tst_info.gen_time.replace(tzinfo=UTC).timestamp() * 1000))


def _post(url: str, body: bytes) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{url!r} is no URL of an authority", "write http://HOST/PATH")
    request = urllib.request.Request(url, body, {"Content-Type": "application/timestamp-query"})  # noqa: S310  # checked above
    try:
        with build_opener().open(request, timeout=_TIMEOUT) as answer:
            return bytes(answer.read(_MAX_ANSWER))
    except urllib.error.HTTPError as exc:
        with exc:
            raise Unavailable(f"{url} answered {exc.code}", "try again later") from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise Unavailable(f"cannot reach {url}: {exc}", "try again later") from exc


def _read(path: Path) -> bytes:
    return read_file(path, MAX_NOTE if path.suffix != ".tsr" else _MAX_ANSWER)
