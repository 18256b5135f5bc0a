"""Writes the vectors beside it: a checkpoint with a cosignature, as it should be and as it must not be.

`python tests/vectors/cosignature/generate.py` writes them again, byte for byte. The messages are put together
here by hand from C2SP tlog-cosignature, not by the code that is tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
NAME = "witness.example/w1"
TIME = 1_795_428_400
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
TEXT = "log.example/worked\n6\n88m1iIWttJjo6doMAxYLwMqCLugwd4xaQFWdPeXMN/o=\n"


def raw(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of its public half."""
    return key.public_key().public_bytes_raw()


def key_id(name: str, kind: bytes, key: bytes) -> bytes:
    """The 4 bytes of C2SP signed-note."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key).digest()[:4]


def line(name: str, identity: bytes, data: bytes) -> str:
    """One signature line."""
    return f"\u2014 {name} {base64.b64encode(identity + data).decode()}\n"


def signed(
    time: int, text: str = TEXT, key: Ed25519PrivateKey = WITNESS, head: str = "cosignature/v1"
) -> bytes:
    """Time and signature."""
    return time.to_bytes(8, "big") + key.sign(f"{head}\ntime {time}\n{text}".encode())


def note(*lines: str, text: str = TEXT) -> str:
    """The log's own signature, then these."""
    name = "log.example/worked"
    log = line(name, key_id(name, b"\x01", raw(LOG)), LOG.sign(text.encode()))
    return f"{text}\n{log}{''.join(lines)}"


def main() -> None:
    """Write all of them."""
    identity = key_id(NAME, b"\x04", raw(WITNESS))
    good = signed(TIME)
    other_text = TEXT.replace("\n6\n", "\n7\n")
    stranger = line("witness.example/w2", b"abcd", good)

    def one(data: bytes, key: bytes = identity) -> str:
        return note(line(NAME, key, data))

    cosigned, bad = line(NAME, identity, good), "verification failure"
    moment, log_id = TIME.to_bytes(8, "big"), key_id(NAME, b"\x01", raw(WITNESS))
    cases: dict[str, tuple[str, str, int | str | None]] = {
        "good": ("as C2SP tlog-cosignature says", note(cosigned), TIME),
        "beside-a-stranger": ("one by an unknown witness is ignored", note(stranger, cosigned), TIME),
        "time-0": ("the first second", one(signed(0)), 0),
        "absent": ("only the log has signed", note(), None),
        "stranger": ("only an unknown witness has cosigned", note(stranger), None),
        "id-of-a-log-key": ("the id of type 0x01 over the same key: another key", one(good, log_id), None),
        "time-changed": ("the time is signed", one((TIME + 1).to_bytes(8, "big") + good[8:]), bad),
        "time-beyond-63-bits": ("a time is at most 2^63-1", one(signed(2**63)), bad),
        "text-changed": ("over another size", one(signed(TIME, other_text)), bad),
        "plain-signature": ("over the text alone", one(moment + WITNESS.sign(TEXT.encode())), bad),
        "other-header": ("another first line", one(signed(TIME, head="cosignature/v2")), bad),
        "other-key": ("another witness under this name and id", one(signed(TIME, key=LOG)), bad),
        "byte-short": ("63 bytes of signature", one(good[:-1]), bad),
        "byte-after": ("65 bytes of signature", one(good + b"\x00"), bad),
        "without-time": ("64 bytes, and no time", one(good[8:]), bad),
        "twice": ("two by one witness", note(cosigned, line(NAME, identity, signed(TIME + 60))), bad),
    }
    material = base64.b64encode(b"\x04" + raw(WITNESS)).decode()
    vkey = f"{NAME}+{identity.hex()}+{material}"
    for name, (desc, text, expect) in cases.items():
        case = {"desc": desc, "vkey": vkey, "note": text, "expect": expect}
        (HERE / f"{name}.json").write_text(
            json.dumps(case, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
