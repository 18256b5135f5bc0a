"""What the reference verifier knows of forms, notes, keys; numbers in brackets are sections of the page."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from functools import reduce
from itertools import groupby
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

Line = dict[str, Any]
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
Known = dict[bytes, tuple[PublicKey, int, int]]
MAX = 2**63 - 1
PARTS = {  # [3], each with one spelling; <,> stands behind each item of a list
    "<,>": r"(?:,(?!\])|(?=\]))",
    "<n>": "(?:0|[1-9][0-9]{0,18})",
    "<h>": "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
    "<s>": r'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f]))*"',
}
FORMS = {  # [5.4] to [5.8], what they have in common [5.2], and a signed checkpoint [8]
    "epoch": r'{"epoch":<n>,"origin":<s>,"log":"<h>","segment":[1-9]\d*,"link":"(?:genesis|carry|reopen|cold)'
    r'","key":"[!#-\[\]-~]{1,255}","wrapped":"[^"]+","carry":"(?:[A-Za-z0-9+/]{64})?",'
    r'"asked":{"line":<n>,"tag":"<h>"},"prev":"<h>","tree":{"size":<n>,"frontier":\[(?:"<h>"<,>)*\]},'
    r'"first_entry":<n>,"heartbeat":<n>,"interval":<n>,"max_overdue":<n>,"retention":<n>,'
    r'"abandoned":\[(?:{"line":<n>,"tag":"<h>","calls":<n>}<,>)*\],"time":<n>}',
    "block": r'<n> <n> <n> <n> <n> <h> (?:{}|{"src":{"name":<s>,"offset":<n>(?:,"file":(?!"")<s>)?'
    r'(?:,"esc":1)?(?:,"nolf":1)?(?:,"recovered":1)?(?:,"gap":1)?}})',
    "prune": '{"segment":<n>,"epoch":<n>,"tree_size":<n>,"root":"<h>","entries":<n>,"bytes":<n>,'
    '"policy":<s>}',
    "rotate": r'{"key":"(?:epoch|checkpoint)","old":<s>,"new":<s>,"from_size":<n>,"who":<s>,"why":<s>'
    r',"time":<n>(?:,"ticket":(?!"")<s>)?(?:,"compromised":1)?}',
    "key id": r"([!#-\[\]-~]{1,255})",
    "vkey": r"([^+]+)\+([0-9a-f]{8})\+(.+)",
    "end": r'{"reason":"(?:interval|entries|bytes|segment|close)","entries":<n>,"bytes":<n>}',
    "tagged": "(epoch|block|prune|rotate|end) (<n>) (.*) (<h>)",
    "note": r"([^\n]+)\n(<n>)\n(<h>)\n\n((?:— [^ \n]+ [^ \n]+\n){1,100})",
}


def need(holds: object) -> None:
    """The verdict is tampered unless this holds. So it is at every other ValueError."""
    if not holds:
        raise ValueError


def match(form: str, text: str) -> tuple[str, ...]:
    """The groups of one of FORMS."""
    pattern = reduce(lambda found, part: found.replace(*part), PARTS.items(), FORMS[form])
    if found := re.fullmatch(pattern, text, re.ASCII | re.DOTALL):
        return found.groups()
    raise ValueError(form)


def number(text: str) -> int:
    """[3.1]: the limit."""
    need(int(text) <= MAX)
    return int(text)


def b64(text: str) -> bytes:
    """[3.2]."""
    raw = base64.b64decode(text, validate=True)
    need(raw and base64.b64encode(raw).decode() == text)
    return raw


def is_name(text: str) -> bool:
    """[3.5]."""
    bad = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"}
    return not any(c in ";+" or unicodedata.category(c) in bad for c in text) and 0 < len(text.encode()) < 256


def sha(*data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(b"".join(data)).digest()


def key_id(public: PublicKey, name: str) -> bytes:
    """[8.3]."""
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ecdsa = isinstance(public, ec.EllipticCurvePublicKey)
    return (sha(spki) if ecdsa else sha(name.encode(), b"\n\x01", spki[-32:]))[:4]


def vkey(text: str) -> tuple[str, bytes, PublicKey]:
    """[8.3]: name, id and key."""
    name, known, encoded = match("vkey", text)
    kind, raw = b64(encoded)[:1], b64(encoded)[1:]
    need(kind in {b"\x01", b"\x02"} and is_name(name.replace(";", "_")))
    spki = bytes.fromhex("302a300506032b6570032100") + raw if kind == b"\x01" else raw
    key = serialization.load_der_public_key(spki)
    assert isinstance(key, PublicKey)  # or it is no such key
    again = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    need(again == spki and len(raw) == (32 if kind == b"\x01" else 91) and key_id(key, name).hex() == known)
    return name, key_id(key, name), key


def is_ours(public: PublicKey, name: str, signature: bytes, text: bytes) -> bool:
    """[8.4]: whether the signature has the id of this key; then it must hold."""
    if signature[:4] == key_id(public, name):
        ecdsa = isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature[4:], text, *([ec.ECDSA(hashes.SHA256())] if ecdsa else []))
    return signature[:4] == key_id(public, name)


def read_note(raw: bytes, name: str, keys: list[PublicKey]) -> tuple[str, int, bytes, set[bytes]]:
    """[8]: origin, size, root, and the ids of those keys of this name that signed."""
    need(len(raw) <= 1_000_000 and not re.search(rb"[\x00-\x09\x0b-\x1f]", raw))
    origin, size, root, lines = match("note", raw.decode())
    signatures = [(owner, b64(text)) for _, owner, text in map(str.split, lines.split("\n")[:-1])]
    names = [origin, *(owner.replace(";", "_") for owner, _ in signatures)]
    need(all(map(is_name, names)) and all(len(signature) > 4 for _, signature in signatures))
    text = raw[: raw.index(b"\n\n") + 1]
    own = [item for owner, item in signatures if owner == name]
    ours = [item[:4] for item in own for key in keys if is_ours(key, name, item, text)]
    need(len(ours) == len({*ours}))
    return origin, number(size), b64(root), {*ours}


def endorses(raw: bytes, name: str, line: Line, signable: dict[int, bytes]) -> bool:
    """[8.8]: whether a note makes a change of the checkpoint key happen."""
    keys = line["keys"]["compromised" in line :]
    try:
        found = read_note(raw, name, [key for _, _, key in keys])
    except (ValueError, InvalidSignature):
        return False
    until = line["head"].get("until")
    return found == (name, until, signable.get(until), {known for _, known, _ in keys})


def is_passed_over(raw: bytes, name: str, size: int, known: Known) -> bool:
    """[13.6]: whether an old key signed between its compromise and its replacement."""
    keys = [key for key, bound, index in known.values() if bound < size <= index]
    try:
        return bool(read_note(raw, name, keys)[3])
    except (ValueError, InvalidSignature):
        return False


def known_keys(named: PublicKey, name: str, lines: list[Line]) -> Known:
    """[13.6]: the keys that the named one leads to by endorsed lines, by id, with their bounds."""
    latest = oldest = key_id(named, name)
    known = {latest: (named, MAX, MAX)}
    for line in lines:
        (_, old, old_key), (_, new, new_key) = line["keys"]
        if old == latest and ("compromised" in line or new in known):
            break
        if old == latest:
            known |= {old: (old_key, line["from_size"], 0), new: (new_key, MAX, MAX)}
            latest = new
    for line in reversed(lines):
        (_, old, old_key), (_, new, _) = line["keys"]
        if new == oldest and line["head"]["until"] <= known[new][1] and old not in known:
            known[old], oldest = (old_key, line["from_size"], line["index"]), old
    return known


def are_recorded(heads: list[Line], lines: list[Line], size: int) -> bool:
    """[13.6], the last rule: whether there is a line for each change of the epoch key."""
    rows = [[*row] for _, row in groupby(heads, lambda head: head["key"])]
    stops = [*[row[0]["index"] for row in rows[2:]], size]
    changes = zip(rows, rows[1:], stops, strict=False)
    spans = [(one[0]["index"], stop, ("epoch", one[0]["key"], two[0]["key"])) for one, two, stop in changes]
    said = [(line["index"], (line["key"], line["old"], line["new"])) for line in lines]
    return all(any(a <= at < b and told == keys for at, told in said) for a, b, keys in spans)


def is_compromised(line: Line, heads: list[Line], size: int) -> bool:
    """[13.6]: whether epochs of a key hold lines from when on it was compromised to when it was replaced."""
    stops = [*[head["index"] for head in heads[1:]], size]
    used = [
        head["index"] < line["index"] and stop > line["from_size"]
        for head, stop in zip(heads, stops, strict=True)
        if head["key"] == line["old"]
    ]
    return line["from_size"] < line["index"] and any(used)
