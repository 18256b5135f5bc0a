"""The codec of rotate lines: one spelling, values that fit each other; the reference reads them alike."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from epochseal.encoding import MAX_INT
from epochseal.errors import FormatError
from epochseal.format.note import VerifierKey
from epochseal.format.seal_lines import Rotate, TaggedLine, encode_body, encode_line, parse_line
from epochseal.keys import PublicKey
from tests.reference import notes as reference

TAG = bytes(range(32))
NAME = "log.example/lines"


def _key(number: int) -> str:
    return VerifierKey(NAME, PublicKey("ed25519", hashlib.sha256(b"%d" % number).digest())).vkey


def _p256() -> str:
    spki = (
        derive_private_key(7, SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return VerifierKey(NAME, PublicKey("ecdsa-p256", spki)).vkey


def _line(**fields: object) -> bytes:
    """Line 9 with some fields changed; without its newline."""
    values: dict[str, object] = {
        "key": "checkpoint",
        "old": _key(1),
        "new": _key(2),
        "from_size": 9,
        "who": "a",
        "why": "b",
        "time": 5,
    }
    body = Rotate(**{**values, **fields})  # type: ignore[arg-type]  # some are wrong on purpose
    return encode_line(encode_body(9, body), TAG)[:-1]


GOOD: dict[str, dict[str, object]] = {
    "planned": {},
    "with a ticket": {"ticket": "SEC-7"},
    "compromised": {"compromised": 1, "from_size": 0},
    "compromised now": {"compromised": 1, "ticket": "x"},
    "to P-256": {"new": _p256()},
    "any text": {"who": "ä\u202e\n\u0001", "why": "", "ticket": '"\\'},
    "epoch key": {"key": "epoch", "old": "vault:v1:transit/epoch", "new": "vault:v2:transit/epoch"},
}
BAD: dict[str, dict[str, object]] = {
    "one key twice": {"new": _key(1)},
    "one epoch key twice": {"key": "epoch", "old": "a", "new": "a"},
    "planned, from earlier": {"from_size": 8},
    "from later": {"from_size": 10, "compromised": 1},
    "flag 2": {"compromised": 2},
    "another kind": {"key": "agent"},
    "key ids of a checkpoint key": {"old": "a", "new": "b"},
    "key id with a blank": {"key": "epoch", "old": "a b", "new": "c"},
    "empty key id": {"key": "epoch", "old": "", "new": "c"},
    "id of another key": {"new": _key(2).replace("+", "+0", 1)[:-1]},
    "key of another type": {"new": f"{NAME}+00000000+{base64.b64encode(bytes([4]) + bytes(32)).decode()}"},
    "key too short": {"new": f"{NAME}+00000000+{base64.b64encode(bytes([1]) + bytes(31)).decode()}"},
    "name with a blank": {"new": _key(2).replace("log.", "log ", 1)},
}


@pytest.mark.parametrize("name", GOOD)
def test_round_trip(name: str) -> None:
    """What is written is read as it was, by both readers."""
    raw = _line(**GOOD[name])
    line = parse_line(raw)
    assert isinstance(line, TaggedLine)
    assert isinstance(line.body, Rotate)
    assert encode_line(encode_body(line.index, line.body), line.tag)[:-1] == raw
    found = reference.parse_line(raw)
    assert (found["old"], found["new"]) == (line.body.old, line.body.new)


@pytest.mark.parametrize("name", BAD)
def test_values_that_do_not_fit_are_refused(name: str) -> None:
    """By both readers."""
    raw = _line(**BAD[name])
    with pytest.raises(FormatError):
        parse_line(raw)
    with pytest.raises((ValueError, AssertionError)):
        reference.parse_line(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"time":5', b'"time":05'),
        (b'"time":5', b'"time":5,"ticket":""'),
        (b'"time":5', b'"time":5,"compromised":0'),
        (b'"time":5', b'"time":5,"compromised":1,"ticket":"x"'),
        (b'"time":5', b'"time":5,"more":1'),
        (b'"who":"a","why":"b"', b'"why":"b","who":"a"'),
        (b'"from_size":9', b'"from_size":"9"'),
        (b'"from_size":9', b'"from_size":%d' % (MAX_INT + 1)),
        (b"rotate 9", b"rotate 09"),
    ],
)
def test_one_spelling(old: bytes, new: bytes) -> None:
    """Another spelling is refused by both readers."""
    raw = _line()
    assert raw.count(old) == 1
    with pytest.raises(FormatError):
        parse_line(raw.replace(old, new))
    with pytest.raises((ValueError, AssertionError)):
        reference.parse_line(raw.replace(old, new))
