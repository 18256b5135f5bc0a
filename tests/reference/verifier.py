"""A second verifier, written from docs/format.md alone: numbers in brackets are the sections of that page.

It shares no line with epochseal, so that where the two agree the page is what both of them do. It stops at the first
problem of class tampered, reads files as a whole, searches for nothing that was moved, and knows `file:` keys only.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
import time
import unicodedata
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

ZERO = bytes(32)
MAX = 2**63 - 1
CLASSES = dict.fromkeys(("start_unsigned", "unknown_key", "wrong_origin"), 4) | dict.fromkeys(
    "cold_start prefix_missing open_end next_epoch_missing torn_line unsealed_bytes future_time unsigned_tail "
    "close_unsigned reopen_strict".split(),
    3,
)
NUMBER, HASH = "(0|[1-9][0-9]{0,18})", "([A-Za-z0-9+/]{43}=)"
BLOCK = re.compile(rf"{NUMBER} {NUMBER} {NUMBER} {NUMBER} {NUMBER} {HASH} (\{{.*\}})", re.DOTALL)
TAGGED = re.compile(rf"(epoch|block|prune|end) {NUMBER} (.*) {HASH}", re.DOTALL)
NAME = re.compile(r"([0-9]{6}|[1-9][0-9]{6,17})-([0-9]{8}T[0-9]{6}Z)\.(log|log\.gz|log\.zst|seal|unsealed)")
NOTE = re.compile(rf"([^\n]+)\n{NUMBER}\n{HASH}\n\n((?:— [^ \n]+ [A-Za-z0-9+/=]+\n){{1,100}})")


class Tampered(Exception):
    """A problem of class tampered: the verdict is known. Its argument is the kind."""


class Unreadable(Exception):
    """A file cannot be read: there is no verdict."""


def need(holds: object, kind: str) -> None:
    """Raise Tampered(kind) unless `holds`."""
    if not holds:
        raise Tampered(kind)


def b64(text: str) -> bytes:
    """[3.2], raising ValueError for any other spelling."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError(text)
    return raw


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256; HKDF-Expand to 32 bytes is `mac(key, info + 0x01)` and HKDF-Extract `mac(salt, ikm)` [6.5]."""
    return hmac.digest(key, data, "sha256")


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


# -- values and lines [3, 5]


def is_number(value: object) -> bool:
    """[3.1] in JSON."""
    return type(value) is int and 0 <= value <= MAX


def is_origin(value: object) -> bool:
    """[3.5]."""
    bad = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"}
    return (
        isinstance(value, str)
        and not any(char in ";+" or unicodedata.category(char) in bad for char in value)
        and 1 <= len(value.encode()) <= 255
    )


def is_file(value: object) -> bool:
    """[3.7]."""
    plain = re.compile(
        r"[A-Za-z0-9._~/-]|%(?!2[DEF]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2}"
    )
    return isinstance(value, str) and not plain.sub("", value)


def is_base64(value: object, low: int = 32, high: int = 32) -> bool:
    """[3.2], of this many bytes."""
    return isinstance(value, str) and low <= len(b64(value)) <= high


def fits(value: object, form: Any) -> bool:
    """The value has the form: a predicate, [form of every item], a tuple of choices, or {key: form}, "?" optional."""
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, tuple):
        return type(value) is type(form[0]) and value in form
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        forms = {key.strip("?"): inner for key, inner in form.items() if key[-1] != "?" or key[:-1] in value}
        return list(value) == list(forms) and all(fits(value[key], forms[key]) for key in forms)
    return bool(form(value))


def is_text(value: object) -> bool:
    """Any JSON string."""
    return isinstance(value, str)


SOURCE = {
    "name": is_text,
    "offset": is_number,
    "file?": is_file,
    "esc?": (1,),
    "nolf?": (1,),
    "recovered?": (1,),
}
FORMS: dict[str, Any] = {
    "epoch": {
        "epoch": is_number,
        "origin": is_origin,
        "log": is_base64,
        "segment": lambda value: is_number(value) and value > 0,
        "link": ("genesis", "carry", "reopen", "cold"),
        "key": lambda value: is_text(value) and re.fullmatch(r"[!#-\[\]-~]{1,255}", value),
        "wrapped": lambda value: is_base64(value, 1, 4096),
        "carry": lambda value: value == "" or is_base64(value, 48, 48),
        "asked": {"line": is_number, "tag": is_base64},
        "prev": is_base64,
        "tree": {"size": is_number, "frontier": [is_base64]},
        **dict.fromkeys(("first_entry", "heartbeat", "interval", "max_overdue", "retention"), is_number),
        "abandoned": [{"line": is_number, "tag": is_base64, "calls": is_number}],
        "time": is_number,
    },
    "block": {"src?": SOURCE},
    "prune": {
        **dict.fromkeys(("segment", "epoch", "tree_size"), is_number),
        "root": is_base64,
        **dict.fromkeys(("entries", "bytes"), is_number),
        "policy": is_text,
    },
    "end": {
        "reason": ("interval", "entries", "bytes", "segment", "close"),
        "entries": is_number,
        "bytes": is_number,
    },
}


@dataclass
class Line:
    """A tagged line."""

    kind: str
    index: int
    payload: bytes
    tag: bytes
    fields: dict[str, Any]

    @property
    def leaf(self) -> bytes:
        """[7.2]."""
        return sha(b"\x00" + self.payload)


def parse_line(raw: bytes) -> Line | bytes:
    """A tagged line, or the bytes of a note; raises Tampered("line_altered")."""
    try:
        text = raw.decode()
        if text.startswith("note ") and len(raw) <= 1_048_576:
            return b64(text[5:])
        match = TAGGED.fullmatch(text)
        if match is None or len(raw) > 1_048_576 or int(match[2]) > MAX:
            raise ValueError(text)
        values, data = {}, match[3]
        if match[1] == "block":
            block = BLOCK.fullmatch(data)
            if block is None:
                raise ValueError(data)
            first, entries, offset, size, when = numbers = [int(block[item]) for item in range(1, 6)]
            data = block[7]
            values = {"first": first, "entries": entries, "offset": offset, "bytes": size, "time": when}
            values |= {"digest": b64(block[6])}
            if (
                max(numbers) > MAX
                or entries > size
                or bool(entries) != bool(size)
                or bool(entries) != (data != "{}")
            ):
                raise ValueError(data)
        fields = json.loads(data)
        if json.dumps(fields, ensure_ascii=False, separators=(",", ":")) != data or not fits(
            fields, FORMS[match[1]]
        ):
            raise ValueError(data)
        if match[1] == "epoch" and not _header_holds(fields, int(match[2])):
            raise ValueError(data)
        return Line(match[1], int(match[2]), raw[:-45], b64(match[4]), fields | values)
    except (ValueError, RecursionError):
        raise Tampered("line_altered") from None


def _header_holds(head: dict[str, Any], index: int) -> bool:
    size, first = head["tree"]["size"], head["link"] == "genesis"
    return (
        index == size
        and len(head["tree"]["frontier"]) == size.bit_count()
        and bool(head["carry"]) == (head["link"] == "carry")
        and (head["epoch"] == 0) == first
        and (
            not first or (index, head["first_entry"], head["prev"]) == (0, 0, base64.b64encode(ZERO).decode())
        )
    )


# -- keys and checkpoints [6, 7, 8]


def open_sealed(suite_key: bytes, nonce: bytes, sealed: bytes, aad: bytes, kind: str) -> bytes:
    """AES-256-GCM; anything that does not open, or not to 32 bytes, is a problem of this kind."""
    try:
        plain = AESGCM(suite_key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):
        raise Tampered(kind) from None
    need(len(plain) == 32, kind)
    return plain


def recover(private: X25519PrivateKey, wrapped: bytes, context: bytes) -> bytes:
    """[6.2]: the epoch secret."""

    def extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
        return mac(salt or ZERO, b"HPKE-v1" + suite + label + material)

    def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
        return mac(prk, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01")[:size]

    kem, suite, enc = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02", wrapped[:32]
    try:
        dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    except ValueError:
        raise Tampered("key_refused") from None
    shared = extract(kem, b"", b"eae_prk", dh)
    shared = expand(kem, shared, b"shared_secret", enc + private.public_key().public_bytes_raw(), 32)
    info = extract(suite, b"", b"info_hash", b"epochseal/v1/wrap" + context)
    schedule = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + info
    secret = extract(suite, shared, b"secret", b"")
    nonce = expand(suite, secret, b"base_nonce", schedule, 12)
    return open_sealed(expand(suite, secret, b"key", schedule, 32), nonce, wrapped[32:], b"", "key_refused")


def append(frontier: list[bytes], size: int, leaf: bytes) -> None:
    """[7.4]."""
    while size & 1:
        leaf = sha(b"\x01" + frontier.pop() + leaf)
        size >>= 1
    frontier.append(leaf)


def root_of(frontier: list[bytes]) -> bytes:
    """[7.4]."""
    root = frontier[-1] if frontier else sha(b"")
    for left in reversed(frontier[:-1]):
        root = sha(b"\x01" + left + root)
    return root


def read_note(raw: bytes, name: str | None, public: Any) -> tuple[str, int, bytes, bool]:
    """[8]: origin, size, root and whether `public`, of this name, signed; raises Tampered("checkpoint_bad")."""
    try:
        text = raw.decode()
        match = NOTE.fullmatch(text)
        if match is None or len(raw) > 1_000_000 or any(char < " " and char != "\n" for char in text):
            raise ValueError(text)
        lines = [line.split(" ")[1:] for line in match[4].splitlines()]
        if not is_origin(match[1]) or int(match[2]) > MAX or not all(is_origin(owner) for owner, _ in lines):
            raise ValueError(text)
        known = [b64(signature) for owner, signature in lines if owner == name]
        if any(len(b64(signature)) < 5 for _, signature in lines):
            raise ValueError(text)
        known = [
            signature[4:] for signature in known if public and signature[:4] == key_id(str(name), public)
        ]
        if len(known) > 1:
            raise ValueError(text)
        for signature in known:
            extra = (ECDSA(SHA256()),) if isinstance(public, EllipticCurvePublicKey) else ()
            public.verify(signature, raw[: raw.index(b"\n\n") + 1], *extra)
        return match[1], int(match[2]), b64(match[3]), bool(known)
    except (ValueError, InvalidSignature):
        raise Tampered("checkpoint_bad") from None


def key_id(name: str, public: Any) -> bytes:
    """[8.3]."""
    if isinstance(public, Ed25519PublicKey):
        return sha(name.encode() + b"\n\x01" + public.public_bytes_raw())[:4]
    return sha(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))[:4]


# -- the log [2, 10, 13]


def content(path: Path, sealed: int) -> tuple[bytes, bool]:
    """The plain bytes up to the sealed length, and whether anything is left [10.4]."""
    raw = path.read_bytes()
    if path.suffix == ".log":
        return raw[:sealed], len(raw) > sealed
    if path.suffix == ".zst":
        raise OSError("this verifier has no zstd")
    plain = b""
    while raw and len(plain) <= sealed:
        member = zlib.decompressobj(31)
        try:
            plain += member.decompress(raw, sealed + 1 - len(plain))
        except zlib.error:
            raise Tampered("entries_missing") from None
        raw = member.unused_data
        need(member.eof or len(plain) > sealed, "entries_missing")
    return plain[:sealed], len(plain) > sealed


class Verifier:
    """One run: `kinds` are the problems found so far."""

    def __init__(self, public: Any, private: X25519PrivateKey | None, origin: str | None, now: int) -> None:
        self.public, self.private, self.expected, self.now = public, private, origin, now
        self.kinds: set[str] = set()
        self.epochs: list[dict[str, Any]] = []  # the fields of each epoch line; "blocks" and "ended" are ours
        self.notes: list[tuple[int, bytes]] = []  # each with the size of the tree in front of it
        self.prunes: list[Line] = []
        self.signable: dict[int, bytes] = {}
        self.valid: set[int] = {0}
        self.tags: dict[int, bytes] = {}
        self.size, self.frontier, self.tag, self.entries, self.offset, self.last_time = (
            0,
            list[bytes](),
            ZERO,
            0,
            0,
            0,
        )
        self.key: bytes | None = None
        self.carry: bytes | None = None

    def read(self, logdir: Path, max_age: int | None, *, strict: bool) -> None:
        """[13.2] and everything behind it."""
        raw = (logdir / "checkpoint").read_bytes() if (logdir / "checkpoint").exists() else None
        stems: dict[tuple[int, str], set[str]] = {}
        for path in (logdir / "segments").glob("*"):
            match = NAME.fullmatch(path.name)
            if match and int(match[1]):
                stems.setdefault((int(match[1]), f"{match[1]}-{match[2]}"), set()).add(match[3])
        ordered = sorted(stems)
        for (number, _), (follower, _) in zip(ordered, ordered[1:], strict=False):
            need(number != follower, "segment_duplicate")
            need(number + 1 == follower, "segment_missing")
        for place in ordered:
            self.segment(logdir / "segments", place, stems[place], last=place == ordered[-1])
        self.checkpoints(raw)
        if self.epochs:
            self.starts()
            self.beginning()
            self.end(max_age)
        if strict and any(head["link"] == "reopen" for head in self.epochs[1:]):
            self.kinds.add("reopen_strict")

    def segment(self, folder: Path, place: tuple[int, str], endings: set[str], *, last: bool) -> None:
        """[13.3] and [13.4]."""
        logs = sorted(endings - {"seal", "unsealed"})
        need(len(logs) < 2, "segment_duplicate")
        need(logs and "seal" in endings, "segment_incomplete")
        *lines, torn = (folder / f"{place[1]}.seal").read_bytes().split(b"\n")
        need(last or not torn, "line_altered")
        self.kinds |= {"torn_line"} if torn else set()
        items = [parse_line(raw) for raw in lines]
        need(not items or (isinstance(items[0], Line) and items[0].kind == "epoch"), "line_misplaced")
        blocks = [item.fields for item in items if isinstance(item, Line) and item.kind == "block"]
        sealed = blocks[-1]["offset"] + blocks[-1]["bytes"] if blocks else 0
        data, more = content(folder / f"{place[1]}.{logs[0]}", sealed)
        need(items or (last and not more), "segment_incomplete")
        self.offset = 0
        for item in items:
            if isinstance(item, bytes):
                self.notes.append((self.size, item))
            else:
                self.line(item, place, data)
        closed = bool(items) and self.epochs[-1]["ended"] == "close"
        need(not more or (last and logs == ["log"] and not closed), "foreign_bytes")
        need("unsealed" not in endings or not closed, "bad_unsealed")
        self.kinds |= {"unsealed_bytes"} if "unsealed" in endings else set()

    def line(self, line: Line, place: tuple[int, str], data: bytes) -> None:
        """[13.4] for one tagged line."""
        if line.kind == "epoch":
            self.begin(line, *place)
        head, fields = self.epochs[-1], line.fields
        need(line.index >= self.size and not head["ended"], "line_misplaced")
        need(line.index == self.size, "line_missing")
        if self.key is not None:
            need(line.tag == mac(self.key, b"epochseal/v1/tag" + self.tag + line.leaf), "line_altered")
            self.key = mac(self.key, b"epochseal/v1/next\x01")
        append(self.frontier, self.size, line.leaf)
        self.tags[line.index] = self.tag = line.tag
        self.size += 1
        if line.kind == "block":
            need((fields["first"], fields["offset"]) == (self.entries, self.offset), "counters")
            block = data[self.offset : self.offset + fields["bytes"]]
            need(len(block) == fields["bytes"], "entries_missing")
            need(sha(block) == fields["digest"] and block[-1:] in {b"", b"\n"}, "entries_altered")
            self.entries += fields["entries"]
            self.offset += fields["bytes"]
            self.last_time = fields["time"]
            head["blocks"] += 1
            head["sums"] = [head["sums"][0] + fields["entries"], head["sums"][1] + fields["bytes"]]
        elif line.kind == "prune":
            self.prunes.append(line)
        else:
            self.signable[self.size] = root_of(self.frontier)
        if line.kind == "end":
            need([fields["entries"], fields["bytes"]] == head["sums"], "counters")
            head["ended"] = fields["reason"]
            self.carry = None if self.key is None else mac(self.key, b"epochseal/v1/carry\x01")

    def begin(self, line: Line, number: int, stem: str) -> None:
        """An epoch line: [13.5], then the keys of [13.4]."""
        head = line.fields | {"blocks": 0, "sums": [0, 0], "ended": ""}
        when = datetime.fromtimestamp(min(head["time"] // 1000, 253402300799), UTC)
        need(head["segment"] == number, "segment_renamed")
        if not self.epochs or self.epochs[-1]["segment"] != number:
            need(stem == f"{number:06}-{when:%Y%m%dT%H%M%SZ}", "segment_renamed")
        frontier, prev = [b64(item) for item in head["tree"]["frontier"]], b64(head["prev"])
        if self.epochs:
            self.join(self.epochs[-1], head, frontier, prev)
        self.size, self.frontier, self.tag, self.entries = (
            head["tree"]["size"],
            frontier,
            prev,
            head["first_entry"],
        )
        self.last_time, self.key, before = head["time"], None, self.carry
        self.carry, self.tags = None, {}
        self.epochs.append(head)
        if self.private is None:
            return
        if head["key"] != f"file:{sha(self.private.public_key().public_bytes_raw()).hex()}":
            self.kinds.add("unknown_key")
            return
        start = f"log={head['origin']};"
        start += ";" * (-len(start.encode()) % 3)
        context = f"{start}id={head['log']};epoch={head['epoch']};prev={head['asked']['tag']}".encode()
        secret, carry = recover(self.private, b64(head["wrapped"]), context), ZERO
        if head["link"] == "carry":
            seal_key = mac(mac(ZERO, secret), b"epochseal/v1/carry-seal" + sha(context) + b"\x01")
            carry = open_sealed(seal_key, bytes(12), b64(head["carry"]), context, "line_altered")
            need(before in {None, carry}, "link_broken")
        self.key = mac(mac(b"epochseal/v1/epoch", secret + carry), sha(line.payload) + b"\x01")

    def join(self, before: dict[str, Any], head: dict[str, Any], frontier: list[bytes], prev: bytes) -> None:
        """[13.5] for every epoch but the first one present."""
        link, asked = head["link"], head["asked"]
        need((head["origin"], head["log"]) == (before["origin"], before["log"]), "foreign_log")
        need(head["epoch"] > before["epoch"], "epoch_misplaced")
        need(head["epoch"] == before["epoch"] + 1, "epoch_missing")
        need(link != "genesis", "link_broken")
        if link == "cold":
            self.kinds.add("cold_start")
        need(link == "cold" or before["ended"], "end_missing")
        need(link != "reopen" or before["ended"] == "close", "link_broken")
        need(head["tree"]["size"] == self.size, "line_missing")
        need(frontier == self.frontier, "tree_broken")
        need(prev == self.tag, "link_broken")
        need(head["first_entry"] == self.entries, "counters")
        last = asked == {"line": max(self.size - 1, 0), "tag": head["prev"]}
        need(last or (link == "carry" and self.tags.get(asked["line"]) == b64(asked["tag"])), "link_broken")

    def checkpoints(self, raw: bytes | None) -> None:
        """[13.6], the notes and the file."""
        origin = self.epochs[0]["origin"] if self.epochs else None
        name, highest = self.expected or origin, 0
        for place, note in [*self.notes, *([(MAX, raw)] if raw is not None else [])]:
            theirs, size, root, known = read_note(note, name, self.public)
            need(origin in {None, theirs}, "checkpoint_bad")
            need(size <= self.size, "checkpoint_ahead")
            need(self.signable.get(size) == root, "checkpoint_mismatch")
            need(place == MAX or highest <= size <= place, "line_misplaced")
            highest = max(size, highest)
            if known:
                self.valid.add(size)
            elif self.public is not None:
                self.kinds.add("unknown_key")

    def starts(self) -> None:
        """[13.6], who began the chains."""
        signed = max(self.valid)
        for head in self.epochs:
            size = head["tree"]["size"]
            if head["link"] != "carry":
                if size + 1 not in self.valid and (head["blocks"] or signed <= size):
                    self.kinds.add("start_unsigned")
            elif head is self.epochs[0] and signed <= size:
                self.kinds.add("start_unsigned")
            if head["link"] == "reopen" and self.private is None and size not in self.valid:
                self.kinds.add("close_unsigned")

    def beginning(self) -> None:
        """[13.7]."""
        first, signed = self.epochs[0], max(self.valid)
        if self.expected not in {None, first["origin"]}:
            self.kinds.add("wrong_origin")
        if first["epoch"] == 0:
            return
        found = [line.fields for line in self.prunes if self.private is not None or line.index < signed]
        prune = max(found, key=lambda fields: int(fields["segment"]), default=None)
        if (
            prune is None
            or prune["segment"] < first["segment"] - 1
            or first["time"] + first["retention"] > self.now
        ):
            self.kinds.add("prefix_missing")
        if prune is not None and prune["segment"] == first["segment"] - 1:
            root = root_of([b64(item) for item in first["tree"]["frontier"]])
            stated = (prune["tree_size"], b64(prune["root"]), prune["entries"], prune["epoch"])
            held = (first["tree"]["size"], root, first["first_entry"], first["epoch"] - 1)
            need(stated == held, "prune_broken")

    def end(self, max_age: int | None) -> None:
        """[13.8]."""
        last, signed, age = self.epochs[-1], max(self.valid), self.now - self.last_time
        reached = [head for head in self.epochs if head["tree"]["size"] <= signed]
        late = (
            reached and self.now - reached[-1]["time"] > reached[-1]["interval"] + reached[-1]["max_overdue"]
        )
        limit = 3 * last["heartbeat"] if max_age is None else max_age
        found = {
            "open_end": not last["ended"] and age > limit,
            "next_epoch_missing": last["ended"] not in {"", "close"},
            "future_time": age < -120_000,
            "unsigned_tail": signed < self.size and late,
        }
        self.kinds |= {kind for kind, holds in found.items() if holds}


def verify(
    logdir: Path,
    epoch_key_dir: Path | None,
    checkpoint_pub: Path | None,
    now_ms: int,
    *,
    origin: str | None = None,
    max_age: int | None = None,
    strict: bool = False,
) -> tuple[str, int, set[str]]:
    """Verdict, exit status and kinds of problems; of class tampered the first one only.

    `epoch_key_dir` holds `epoch.key` (none: public mode), `checkpoint_pub` is a file in PEM; times are in ms.
    """
    public = load_pem_public_key(checkpoint_pub.read_bytes()) if checkpoint_pub else None
    private = (
        load_pem_private_key((epoch_key_dir / "epoch.key").read_bytes(), None) if epoch_key_dir else None
    )
    if private is not None and not isinstance(private, X25519PrivateKey):
        raise TypeError("epoch.key is not an X25519 key")
    run = Verifier(public, private, origin, now_ms)
    try:
        run.read(logdir, max_age, strict=strict)
    except Tampered as problem:
        return "tampered", 1, run.kinds | {str(problem)}
    except OSError:
        return "no verdict", 6, run.kinds
    classes = {CLASSES[kind] for kind in run.kinds}
    if 4 in classes:
        return "untrusted", 4, run.kinds
    if classes:
        return "incomplete", 3, run.kinds
    return ("verified", 0, run.kinds) if run.epochs else ("empty", 5, run.kinds)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logdir", type=Path)
    parser.add_argument("--epoch-key", type=Path, metavar="DIR")
    parser.add_argument("--checkpoint-key", type=Path, metavar="DIR")
    parser.add_argument("--now", type=int, metavar="MS", default=time.time_ns() // 1_000_000)
    args = parser.parse_args()
    public = args.checkpoint_key / "checkpoint.pub" if args.checkpoint_key else None
    verdict, status, kinds = verify(args.logdir, args.epoch_key, public, args.now)
    sys.stdout.write(" ".join([verdict, *sorted(kinds)]) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
