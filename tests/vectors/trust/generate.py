"""Write the vectors of trust files beside this file: `python tests/vectors/trust/generate.py`.

They are made by hand out of the worked example (tests/vectors/worked) and docs/trust.md, so that they do not
depend on the code that they test. The name of a file is the case, or what is wrong with it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
WORKED = HERE.parent / "worked"
ORIGIN = "example.com/worked"
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
LOG = "log " + b64encode(bytes(range(32))).decode()
VKEY = "checkpoint-key example.com/worked+eab51590+Ac0Us3+VbpUxlP9/tzs9gdzFYdYadTgJS3w+GmQ+5fOq"
EPOCH = "epoch-key file:16786d4e5ef744112f1ac45c977dffe54d67cc9de645ef8cfed3dea798f0c04e"
HEADING = "epochseal/v1/trust"
COLD = "cold 7 power cut on 3 May, nothing was sent meanwhile"


def _note(origin: str = ORIGIN, size: int = 9) -> bytes:
    text = f"{origin}\n{size}\n{b64encode(sha256(b'other').digest()).decode()}\n"
    key_id = sha256(origin.encode() + b"\n\x01" + SIGNING.public_key().public_bytes_raw()).digest()[:4]
    signed = b64encode(key_id + SIGNING.sign(text.encode())).decode()
    return f"{text}\n\u2014 {origin} {signed}\n".encode()


def _file(*lines: str, note: bytes | None = None) -> bytes:
    seen = (WORKED / "log" / "checkpoint").read_bytes() if note is None else note
    return "\n".join((*lines, "", "")).encode() + seen


def _cases() -> dict[str, tuple[bool, str, bytes]]:
    head = (HEADING, LOG, VKEY)
    good = _file(*head, EPOCH)
    return {
        "honest": (True, "the worked example, as it was first trusted", good),
        "accepted": (
            True,
            "a cold start and a second epoch key with their reasons",
            _file(*head, EPOCH, "epoch-key vault:new rotated on 4 May", COLD),
        ),
        "larger-checkpoint": (
            True,
            "well-formed; its log has been rolled back",
            _file(*head, EPOCH, note=_note()),
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
            good.replace(b"+eab51590+", b"+eab51591+"),
        ),
        "no-epoch-key": (False, "no epoch key is pinned", _file(*head)),
        "epoch-key-twice": (False, "the same key on two lines", _file(*head, EPOCH, EPOCH)),
        "epoch-key-with-quotation-mark": (
            False,
            "a character that no key id has",
            _file(*head, 'epoch-key a"b'),
        ),
        "cold-without-reason": (False, "no reason", _file(*head, EPOCH, "cold 7")),
        "cold-with-leading-zero": (False, "another spelling", _file(*head, EPOCH, COLD.replace("7", "07"))),
        "cold-twice": (False, "the same epoch on two lines", _file(*head, EPOCH, COLD, COLD)),
        "cold-not-in-order": (False, "descending", _file(*head, EPOCH, COLD, "cold 6 another")),
        "cold-before-key": (False, "lines in another order", _file(*head, COLD, EPOCH)),
        "reason-with-escape": (
            False,
            "a character that steers a terminal",
            _file(*head, EPOCH, COLD + "\x1b[2K"),
        ),
        "reason-that-runs-backwards": (False, "U+202E", _file(*head, EPOCH, COLD + "\u202egnihton")),
        "unknown-line": (False, "a line of no known kind", _file(*head, EPOCH, "allow everything")),
        "checkpoint-of-other-origin": (
            False,
            "signed for another log",
            _file(*head, EPOCH, note=_note("other")),
        ),
        "checkpoint-altered": (False, "a larger size than was signed", good.replace(b"\n6\n", b"\n7\n")),
        "checkpoint-unsigned": (False, "no signature", good[: good.index("\u2014".encode())]),
        "checkpoint-missing": (False, "no checkpoint", _file(*head, EPOCH, note=b"")),
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
