"""Write the vectors of proofs beside this file: `python tests/vectors/proof/generate.py`.

They are made by hand out of docs/proofs.md, so that they do not depend on the code that they test. The name
of a file is the case or the attack. The log that they are of has two runs: the second one begins at line 7.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).parent
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
ORIGIN = "example.com/worked"
DASH = "\u2014"
ENTRIES = [b"user=alice action=login\n", b"user=bob action=delete id=7\n"]


def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _epoch(index: int, epoch: int, link: str, first_entry: int) -> bytes:
    tag = _b64(bytes(32) if epoch == 0 else sha256(b"tag").digest())
    header = {
        "epoch": epoch,
        "origin": ORIGIN,
        "log": _b64(sha256(b"log").digest()),
        "segment": epoch + 1,
        "link": link,
        "key": "file:" + sha256(b"key").hexdigest(),
        "wrapped": _b64(bytes(80)),
        "carry": _b64(bytes(48)) if link == "carry" else "",
        "asked": {"line": max(index - 1, 0), "tag": tag},
        "prev": tag,
        "tree": {"size": index, "frontier": [_b64(sha256(b"node").digest())] * index.bit_count()},
        "first_entry": first_entry,
        "heartbeat": 10_000,
        "interval": 300_000,
        "max_overdue": 3_600_000,
        "retention": 0,
        "abandoned": [],
        "time": 1_795_428_000_000 + 300_000 * epoch,
    }
    return f"epoch {index} {json.dumps(header, separators=(',', ':'))}".encode()


def _block(index: int, first: int, data: bytes, time: int) -> bytes:
    source = f'{{"src":{{"name":"stdin","offset":{len(data)}}}}}' if data else "{}"
    entries, offset = data.count(b"\n"), 0 if data else 52
    counts = f"{first} {entries} {offset} {len(data)} {time}"
    return f"block {index} {counts} {_b64(sha256(data).digest())} {source}".encode()


LINES = [
    _epoch(0, 0, "genesis", 0),
    _block(1, 0, b"".join(ENTRIES), 1_795_428_000_050),
    b'sign 2 {"run":0,"next":{"epoch":1,"wrapped":"%b"}}' % b64encode(sha256(bytes(80)).digest()),
    b'end 3 {"reason":"interval","entries":2,"bytes":52}',
    _epoch(4, 1, "carry", 2),
    _block(5, 2, b"", 1_795_428_310_000),
    b'end 6 {"reason":"close","entries":0,"bytes":0,"run":0}',
    _epoch(7, 2, "cold", 2),
    _block(8, 2, b"", 1_795_428_610_000),
    b'end 9 {"reason":"close","entries":0,"bytes":0,"run":7}',
]

Fields = dict[str, list[bytes]]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _note(origin: str, size: int, root: bytes, *more: str) -> bytes:
    text = "\n".join((origin, str(size), b64encode(root).decode(), *more)) + "\n"
    public = SIGNING.public_key().public_bytes_raw()
    key_id = sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    signed = b64encode(key_id + SIGNING.sign(text.encode())).decode()
    return f"{text}\n{DASH} {origin} {signed}\n".encode()


def _root_of(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return _node(_root_of(leaves[:left]), _root_of(leaves[left:]))


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """The siblings of a leaf, the lowest first (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if index < left:
        return [*_path(index, leaves[:left]), _root_of(leaves[left:])]
    return [*_path(index - left, leaves[left:]), _root_of(leaves[:left])]


def _parts(entry: int, size: int = 3) -> Fields:
    """A proof of an entry under the checkpoint of this size."""
    lines = LINES[:size]
    leaves = [sha256(b"\x00" + payload).digest() for payload in lines]
    before, after = b"".join(ENTRIES[:entry]), b"".join(ENTRIES[entry + 1 :])
    return {
        "head": [b"epochseal/v1/proof"],
        "payload": [lines[1]],
        "before": [b"before " + b64encode(before)],
        "entry": [b"entry %d " % entry + b64encode(ENTRIES[entry])],
        "after": [b"after " + b64encode(after)],
        "last": [b"last " + lines[-1]],
        "last path": [b"path " + b64encode(item) for item in _path(len(lines) - 1, leaves)],
        "tlog": [b"c2sp.org/tlog-proof@v1"],
        "index": [b"index 1"],
        "path": [b64encode(item) for item in _path(1, leaves)],
        "empty": [b""],
        "note": _note(ORIGIN, len(lines), _root_of(leaves)).splitlines(),
    }


def _joined(parts: Fields) -> bytes:
    return b"\n".join(line for lines in parts.values() for line in lines) + b"\n"


def _with(name: str, change: Callable[[list[bytes]], list[bytes]], entry: int = 1) -> bytes:
    parts = _parts(entry)
    return _joined({**parts, name: change(parts[name])})


def _another_signature(lines: list[bytes]) -> list[bytes]:
    return [*lines, f"{DASH} witness.example/w ".encode() + b64encode(b"abcd" + bytes(72))]


def _other_character(line: bytes, place: int) -> bytes:
    other = b"B" if line[place : place + 1] == b"A" else b"A"
    return line[:place] + other + line[place + 1 :]


def _attacks_on_the_last_leaf() -> dict[str, tuple[str, str, bytes]]:
    """What is signed over it, and from where on it vouches, decide whether a checkpoint proves anything."""
    good = _parts(1)
    header, closed, later = _parts(1, 5), _parts(1, 7), _parts(1, 10)
    end = _parts(1, 4)
    heartbeat = {**closed, "payload": [LINES[5]], "index": [b"index 5"]}
    return {
        "last-leaf-is-a-header": (
            "tampered",
            "the checkpoint of a start vouches for its own line alone",
            _joined(header),
        ),
        "last-leaf-is-an-end-without-close": ("tampered", "nobody signs there", _joined(end)),
        "last-leaf-is-the-block": (
            "tampered",
            "a block line says nothing of a run",
            _joined({**_parts(1, 2), "last": [b"last " + LINES[1]]}),
        ),
        "run-behind-block": (
            "tampered",
            "a later run signed over what its start found on the disk",
            _joined(later),
        ),
        "run-set-back": (
            "tampered",
            "the run of a later checkpoint, changed to that of the block",
            _joined({**later, "last": [later["last"][0].replace(b'"run":7', b'"run":0')]}),
        ),
        "last-leaf-of-another-checkpoint": (
            "tampered",
            "the sign line of an earlier checkpoint, under a later one",
            _joined({**later, "last": good["last"], "last path": good["last path"]}),
        ),
        "last-leaf-renumbered": (
            "tampered",
            "the sign line of an earlier checkpoint with the index of the last line",
            _joined({**later, "last": [good["last"][0].replace(b"sign 2", b"sign 9")]}),
        ),
        "last-leaf-altered": (
            "tampered",
            "another secret is announced",
            _joined({**good, "last": [good["last"][0].replace(b'"epoch":1', b'"epoch":2')]}),
        ),
        "last-leaf-missing": (
            "tampered",
            "a proof without what its checkpoint vouches for",
            _joined({**good, "last": [], "last path": []}),
        ),
        "last-path-missing": ("tampered", "no way from the last leaf", _joined({**closed, "last path": []})),
        "last-path-too-long": (
            "tampered",
            "one hash too many",
            _joined({**closed, "last path": [*closed["last path"], closed["last path"][0]]}),
        ),
        "last-path-without-end": (
            "tampered",
            "more hashes than a tree is high",
            _joined({**closed, "last path": closed["last path"] * 33}),
        ),
        "paths-exchanged": (
            "tampered",
            "the way of one line as that of the other",
            _joined(
                {
                    **closed,
                    "last path": [b"path " + item for item in closed["path"]],
                    "path": [item.removeprefix(b"path ") for item in closed["last path"]],
                }
            ),
        ),
        "heartbeat": ("tampered", "a block line without entries", _joined(heartbeat)),
    }


def _cases() -> dict[str, tuple[str, str, bytes]]:
    good = _joined(_parts(1))
    moved = _with("before", lambda _: [b"before "], 1)
    root = b64decode(_parts(1)["note"][2])
    return {
        "entry-1": ("proven", "the second of two entries", good),
        "entry-0": ("proven", "the first of two entries", _joined(_parts(0))),
        "entry-1-closed": ("proven", "the same under the checkpoint of a clean close", _joined(_parts(1, 7))),
        **_attacks_on_the_last_leaf(),
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
            _with("payload", lambda _: [b'end 1 {"reason":"close","entries":0,"bytes":0,"run":0}']),
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
            _with("note", lambda _: _note(ORIGIN, 3, sha256(b"other").digest()).splitlines()),
        ),
        "extension": (
            "tampered",
            "an extension line",
            _with("note", lambda _: _note(ORIGIN, 3, root, "more").splitlines()),
        ),
        "other-origin": (
            "untrusted",
            "the same key for another log",
            _with("note", lambda _: _note("example.com/other", 3, root).splitlines()),
        ),
        "signature-altered": (
            "tampered",
            "a bit of the signature",
            _with("note", lambda x: [*x[:4], _other_character(x[4], -40)]),
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
        "checkpoint.pub": SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    }


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_bytes(content)
