"""Trails: what audit devices of Vault and CloudTrail write, plain and gzipped, and CloudTrail's digests."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from epochseal.errors import FormatError
from epochseal.trail import read_trail
from epochseal.trail.cloudtrail import read_cloudtrail
from epochseal.trail.digests import check_digests
from epochseal.trail.events import Call
from epochseal.trail.vault_audit import read_vault_audit
from tests.fuzz.scratch import scratch

VAULT_WORDS = (
    *(
        b"transit/datakey/plaintext/epoch",
        b"transit/sign/log",
        b"sys/audit/file",
        b'"batch_input":[',
        b"hmac-sha256:",
    ),
    *(
        b'"type":"response"',
        b'"time":"2026-01-01T00:00:00Z"',
        b"bG9nPW87aWQ9aTtlcG9jaD0xO3ByZXY9cA==",
        b"null",
        b"[{}]",
    ),
    *(b'"operation":"update"', b'"metadata":{"role_name":"', b"\\ud800", b'"error":"', b"1e400", b"9" * 400),
)
CLOUDTRAIL_WORDS = (
    *(
        b'"eventName":"ReEncrypt"',
        b'"eventName":"StopLogging"',
        b'"encryptionContext":{',
        b"null",
        b"[]",
        b"9" * 400,
    ),
    *(
        b'"destinationEncryptionContext":{',
        b"arn:aws:kms:eu-west-1:1:key/k",
        b"2026-01-01T00:00:00Z",
        b"\\ud800",
    ),
)


def vault_audit(data: bytes) -> None:
    """Lines of an audit device."""
    found: list[Call] = []
    times: list[int] = []
    with suppress(FormatError):
        assert read_vault_audit([data[:40], data[40:]], found.append, times.append) <= data.count(b"\n") + 1
    _join(found)


def cloudtrail(data: bytes) -> None:
    """A file of CloudTrail."""
    found: list[Call] = []
    times: list[int] = []
    with suppress(FormatError):
        read_cloudtrail(data, found.append, times.append)
    _join(found)


def _join(found: list[Call]) -> None:
    for one, other in pairwise(found):
        with suppress(FormatError):
            assert one.joined(other) is not None


def trail_file(data: bytes) -> None:
    """A file of any kind, gzipped or not, from its name on."""
    path = scratch("trail_file") / "trail"
    path.write_bytes(data)
    with suppress(FormatError):
        trail = read_trail([path, path])
        assert trail.last >= trail.first


def digest_file(data: bytes) -> None:
    """A digest of CloudTrail, which nobody has signed."""
    from tests.fuzz.keys import rsa_key  # noqa: PLC0415  # made for this target alone

    path = scratch("digest_file") / "digest"
    path.write_bytes(data)
    with suppress(FormatError):
        checked = check_digests([path], [path], rsa_key())
        assert checked.altered or checked.gaps
