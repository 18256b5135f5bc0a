"""Write the vectors of proofs beside this file: `python tests/vectors/proof/generate.py`.

They are made by hand out of the worked example (tests/vectors/worked) and docs/proofs.md, so that they do not
depend on the code that they test. The name of a file is the case or the attack.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
WORKED = HERE.parent / "worked"
SEGMENT = WORKED / "log" / "segments" / "000001-20261123T100000Z"
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
ORIGIN = "example.com/worked"
DASH = "\u2014"

Fields = dict[str, list[bytes]]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _note(origin: str, size: int, root: bytes, *more: str) -> bytes:
    text = "\n".join((origin, str(size), b64encode(root).decode(), *more)) + "\n"
    public = SIGNING.public_key().public_bytes_raw()
    key_id = sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    signed = b64encode(key_id + SIGNING.sign(text.encode())).decode()
    return f"{text}\n{DASH} {origin} {signed}\n".encode()


def _parts(entry: int) -> Fields:
    lines = [line for line in SEGMENT.with_suffix(".seal").read_bytes().splitlines() if line[:5] != b"note "]
    payloads = [line.rpartition(b" ")[0] for line in lines]
    leaves = [sha256(b"\x00" + payload).digest() for payload in payloads]
    root = _node(_node(leaves[0], leaves[1]), _node(leaves[2], leaves[3]))
    entries = SEGMENT.with_suffix(".log").read_bytes().splitlines(keepends=True)
    bytes_of = [b"".join(entries[:entry]), entries[entry], b"".join(entries[entry + 1 :])]
    return {
        "head": [b"epochseal/v1/proof"],
        "payload": [payloads[1]],
        "before": [b"before " + b64encode(bytes_of[0])],
        "entry": [b"entry %d " % entry + b64encode(bytes_of[1])],
        "after": [b"after " + b64encode(bytes_of[2])],
        "tlog": [b"c2sp.org/tlog-proof@v1"],
        "index": [b"index 1"],
        "path": [b64encode(leaves[0]), b64encode(_node(leaves[2], leaves[3]))],
        "empty": [b""],
        "note": _note(ORIGIN, 4, root).splitlines(),
    }


def _joined(parts: Fields) -> bytes:
    return b"\n".join(line for lines in parts.values() for line in lines) + b"\n"


def _with(name: str, change: Callable[[list[bytes]], list[bytes]], entry: int = 1) -> bytes:
    parts = _parts(entry)
    return _joined({**parts, name: change(parts[name])})


def _root(parts: Fields) -> bytes:
    return b64decode(parts["note"][2])


def _another_signature(lines: list[bytes]) -> list[bytes]:
    return [*lines, f"{DASH} witness.example/w ".encode() + b64encode(b"abcd" + bytes(72))]


def _cases() -> dict[str, tuple[str, str, bytes]]:
    good = _joined(_parts(1))
    moved = _with("before", lambda _: [b"before "], 1)
    root = _root(_parts(1))
    return {
        "entry-1": ("proven", "the second of two entries", good),
        "entry-0": ("proven", "the first of two entries", _joined(_parts(0))),
        "entry-renumbered": (
            "tampered",
            "another number",
            _with("entry", lambda x: [x[0].replace(b"y 1", b"y 0")]),
        ),
        "entry-renumbered-beyond": (
            "tampered",
            "a number past the block",
            _with("entry", lambda x: [x[0].replace(b"y 1", b"y 2")]),
        ),
        "entry-altered": (
            "tampered",
            "another id in the entry",
            _with("entry", lambda _: [b"entry 1 " + b64encode(b"user=bob action=delete id=8\n")]),
        ),
        "entry-split": (
            "tampered",
            "one entry passed off as the end of another",
            _with("entry", lambda _: [b"entry 1 " + b64encode(b"action=delete id=7\n")]),
        ),
        "neighbour-left-out": ("tampered", "the entries before it are missing", moved),
        "payload-altered": (
            "tampered",
            "another time in the line",
            _with("payload", lambda x: [x[0].replace(b"1795428000050", b"1795428000051")]),
        ),
        "payload-respelled": (
            "tampered",
            "two blanks",
            _with("payload", lambda x: [x[0].replace(b" 52 ", b"  52 ")]),
        ),
        "payload-of-an-end": (
            "tampered",
            "the line of an end",
            _with("payload", lambda _: [b'end 1 {"reason":"close","entries":0,"bytes":0}']),
        ),
        "path-too-short": ("tampered", "one hash is missing", _with("path", lambda x: x[:1])),
        "path-too-long": ("tampered", "one hash too many", _with("path", lambda x: [*x, x[0]])),
        "path-swapped": ("tampered", "the hashes in another order", _with("path", lambda x: x[::-1])),
        "path-without-end": ("tampered", "more hashes than a tree is high", _with("path", lambda x: x * 33)),
        "index-plus-1": (
            "tampered",
            "another index than the line has",
            _with("index", lambda _: [b"index 2"]),
        ),
        "extra-data": (
            "tampered",
            "data that nothing authenticates",
            _with("tlog", lambda x: [*x, b"extra YWJj"]),
        ),
        "size-zero": (
            "tampered",
            "a signed tree of no line",
            _with("note", lambda _: _note(ORIGIN, 0, root).splitlines()),
        ),
        "other-root": (
            "tampered",
            "a signed tree of other lines",
            _with("note", lambda _: _note(ORIGIN, 4, sha256(b"other").digest()).splitlines()),
        ),
        "extension": (
            "tampered",
            "an extension line",
            _with("note", lambda _: _note(ORIGIN, 4, root, "more").splitlines()),
        ),
        "other-origin": (
            "untrusted",
            "the same key for another log",
            _with("note", lambda _: _note("example.com/other", 4, root).splitlines()),
        ),
        "signature-altered": (
            "tampered",
            "a bit of the signature",
            _with("note", lambda x: [*x[:4], x[4].replace(b"6rUVkF5v", b"6rUVkF5u")]),
        ),
        "signature-of-stranger": (
            "untrusted",
            "another key id",
            _with("note", lambda x: [*x[:4], x[4].replace(b" 6rUV", b" 7rUV")]),
        ),
        "signature-unchecked": (
            "untrusted",
            "a signature that nobody checks",
            _with("note", _another_signature),
        ),
        "carriage-returns": ("tampered", "lines that end in CR LF", good.replace(b"\n", b"\r\n")),
        "cut": ("tampered", "the last byte is missing", good[:-1]),
        "byte-appended": ("tampered", "a byte follows", good + b"\n"),
        "heading-of-another-version": (
            "tampered",
            "another version",
            good.replace(b"/v1/proof", b"/v2/proof"),
        ),
        "empty": ("tampered", "no byte", b""),
    }


def files() -> dict[str, bytes]:
    """All files by name."""
    cases = _cases()
    table = {name: {"expect": expect, "desc": desc} for name, (expect, desc, _) in cases.items()}
    return {
        **{f"{name}.proof": raw for name, (_, _, raw) in cases.items()},
        "cases.json": (json.dumps(table, indent=1) + "\n").encode(),
        "checkpoint.pub": (WORKED / "keys" / "auditor" / "checkpoint.pub").read_bytes(),
    }


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_bytes(content)
