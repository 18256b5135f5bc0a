"""Write the vectors of trust files beside this file: `python tests/vectors/trust/generate.py`.

They are made by hand out of docs/trust.md, so that they do not depend on the code that they test. The name of
a file is the case, or what is wrong with it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
ORIGIN = "example.com/worked"
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
LATER = Ed25519PrivateKey.from_private_bytes(bytes(range(0xC0, 0xE0)))
HEADING = "epochseal/v1/trust"


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _key_id(key: Ed25519PrivateKey, name: str) -> bytes:
    return sha256(name.encode() + b"\n\x01" + key.public_key().public_bytes_raw()).digest()[:4]


def _vkey(key: Ed25519PrivateKey, name: str = ORIGIN) -> str:
    return f"{name}+{_key_id(key, name).hex()}+{_b64(bytes([1]) + key.public_key().public_bytes_raw())}"


LOG = "log " + _b64(sha256(b"log").digest())
VKEY = f"checkpoint-key {_vkey(SIGNING)}"
EPOCH = "epoch-key file:16786d4e5ef744112f1ac45c977dffe54d67cc9de645ef8cfed3dea798f0c04e"
START = f"start {_b64(sha256(b'start').digest())} power cut on 3 May, nothing was sent meanwhile"
LATER_KEY = f"accepted-key {_vkey(LATER)} told by the owner on 2 June"
PROMISE = "promise 7776000000 0 1795428300000"
LONGER = "promise 31536000000 4 1795428300000"


def _note(origin: str = ORIGIN, size: int = 7) -> bytes:
    text = f"{origin}\n{size}\n{_b64(sha256(b'root').digest())}\n"
    signed = _b64(_key_id(SIGNING, origin) + SIGNING.sign(text.encode()))
    return f"{text}\n\u2014 {origin} {signed}\n".encode()


def _file(*lines: str, note: bytes | None = None) -> bytes:
    return "\n".join((*lines, "", "")).encode() + (_note() if note is None else note)


def _refused_lines() -> dict[str, tuple[bool, str, bytes]]:
    head = (HEADING, LOG, VKEY, EPOCH)
    return {
        "epoch-key-twice": (False, "the same key on two lines", _file(*head, EPOCH)),
        "epoch-key-with-quotation-mark": (
            False,
            "a character that no key id has",
            _file(HEADING, LOG, VKEY, 'epoch-key a"b'),
        ),
        "no-epoch-key": (False, "no epoch key is pinned", _file(HEADING, LOG, VKEY)),
        "start-without-reason": (False, "no reason", _file(*head, START.rpartition(" power")[0])),
        "start-too-short": (False, "a hash of 31 bytes", _file(*head, f"start {_b64(bytes(31))} power cut")),
        "start-unpadded": (False, "base64 without padding", _file(*head, START.replace("= power", " power"))),
        "start-twice": (False, "the same start on two lines", _file(*head, START, START)),
        "start-before-key": (False, "lines in another order", _file(HEADING, LOG, VKEY, START, EPOCH)),
        "start-by-number": (
            False,
            "an epoch's number instead of its hash",
            _file(*head, "start 7 power cut"),
        ),
        "accepted-key-of-another-log": (
            False,
            "a key under another name",
            _file(*head, f"accepted-key {_vkey(LATER, 'example.com/other')} told by the owner"),
        ),
        "accepted-key-without-reason": (False, "no reason", _file(*head, f"accepted-key {_vkey(LATER)}")),
        "promise-of-nothing": (False, "a retention of 0", _file(*head, "promise 0 0 1795428300000")),
        "promise-with-leading-zero": (
            False,
            "another spelling",
            _file(*head, PROMISE.replace(" 0 ", " 00 ")),
        ),
        "promise-of-two-numbers": (False, "no time", _file(*head, "promise 7776000000 0")),
        "promises-not-in-order": (False, "descending", _file(*head, LONGER, PROMISE)),
        "promise-twice": (False, "two of one duration", _file(*head, PROMISE, PROMISE.replace(" 0 ", " 4 "))),
        "promise-before-start": (False, "lines in another order", _file(*head, PROMISE, START)),
        "reason-with-escape": (False, "a character that steers a terminal", _file(*head, START + "\x1b[2K")),
        "reason-that-runs-backwards": (False, "U+202E", _file(*head, START + "\u202egnihton")),
        "unknown-line": (False, "a line of no known kind", _file(*head, "allow everything")),
    }


def _cases() -> dict[str, tuple[bool, str, bytes]]:
    head = (HEADING, LOG, VKEY, EPOCH)
    good = _file(*head)
    return {
        "honest": (True, "a log as it was first trusted", good),
        "accepted": (
            True,
            "a start, an epoch key and a later checkpoint key with their reasons, and a promise",
            _file(*head, "epoch-key vault:new rotated on 4 May", START, LATER_KEY, PROMISE),
        ),
        "two-promises": (True, "a log that lengthened its retention", _file(*head, PROMISE, LONGER)),
        "larger-checkpoint": (
            True,
            "well-formed; its log has been rolled back",
            _file(*head, note=_note(size=9)),
        ),
        "empty": (False, "no byte", b""),
        "byte-appended": (False, "an empty line follows", good + b"\n"),
        "cut": (False, "the last byte is missing", good[:-1]),
        "carriage-returns": (False, "lines that end in CR LF", good.replace(b"\n", b"\r\n")),
        "heading-of-another-version": (False, "another version", good.replace(b"/v1/", b"/v2/")),
        "log-missing": (False, "no log id", _file(HEADING, VKEY, EPOCH)),
        "log-too-short": (
            False,
            "a log id of 31 bytes",
            good.replace(LOG.encode(), b"log " + b64encode(bytes(31))),
        ),
        "log-unpadded": (False, "base64 without padding", good.replace(LOG.encode(), LOG[:-1].encode())),
        "key-of-another-id": (
            False,
            "a vkey whose id is another's",
            good.replace(_key_id(SIGNING, ORIGIN).hex().encode(), b"eab51591"),
        ),
        **_refused_lines(),
        "checkpoint-of-other-origin": (False, "signed for another log", _file(*head, note=_note("other"))),
        "checkpoint-altered": (False, "a larger size than was signed", good.replace(b"\n7\n", b"\n8\n")),
        "checkpoint-unsigned": (False, "no signature", good[: good.index("\u2014".encode())]),
        "checkpoint-missing": (False, "no checkpoint", _file(*head, note=b"")),
    }


def files() -> dict[str, bytes]:
    """All files by name."""
    cases = _cases()
    table = {name: {"valid": valid, "desc": desc} for name, (valid, desc, _) in cases.items()}
    return {
        **{f"{name}.trust": raw for name, (_, _, raw) in cases.items()},
        "cases.json": (json.dumps(table, indent=1) + "\n").encode(),
    }


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_bytes(content)
