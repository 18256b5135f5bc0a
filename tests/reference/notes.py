"""What the reference verifier knows of forms, lines and notes; numbers in brackets are sections."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import reduce
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

Line = dict[str, Any]
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
MAX = 2**63 - 1
PARTS = {  # [3], each with one spelling; <,> stands behind each item of a list
    "<,>": r"(?:,(?!\])|(?=\]))",
    "<n>": "(?:0|[1-9][0-9]{0,18})",
    "<1>": "[1-9][0-9]{0,18}",
    "<h>": "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
    "<s>": r'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f]))*"',
    "<k>": r"[!#-\[\]-~]{1,255}",
}
FORMS = {  # [5.4] to [5.9], what they have in common [5.2], and a signed checkpoint [8]
    "epoch": r'{"epoch":<n>,"origin":<s>,"log":"<h>","segment":<1>,"link":"(?:genesis|carry|cold)'
    r'","key":"<k>","wrapped":"[^"]+","carry":"(?:[A-Za-z0-9+/]{64})?",'
    r'"asked":{"line":<n>,"tag":"<h>"},"prev":"<h>","tree":{"size":<n>,"frontier":\[(?:"<h>"<,>)*\]},'
    r'"first_entry":<n>,"heartbeat":<n>,"interval":<n>,"max_overdue":<n>,"retention":<n>,'
    r'"abandoned":\[(?:{"line":<n>,"tag":"<h>","calls":<1>}<,>){0,64}\],"time":<n>'
    r'(?:,"denies":{"log":"<h>","size":<1>,"root":"<h>"})?}',
    "block": r'<n> <n> <n> <n> <n> <h> (?:{}|{"src":{"name":<s>,"offset":<n>(?:,"file":(?!"")<s>)?'
    r'(?:,"esc":1)?(?:,"nolf":1)?(?:,"recovered":1)?(?:,"gap":1(?:,"skipped":<1>)?)?}})',
    "prune": '{"segment":<n>,"epoch":<n>,"tree_size":<n>,"root":"<h>","entries":<n>,"bytes":<n>,'
    '"policy":<s>}',
    "rotate": r'{"key":"(?:epoch|checkpoint)","old":<s>,"new":<s>,"from_size":<n>,"who":<s>,"why":<s>'
    r',"time":<n>(?:,"ticket":(?!"")<s>)?(?:,"compromised":1)?}',
    "sign": '{"run":<n>(?:,"next":{"epoch":<n>,"wrapped":"<h>"})?}',
    "end": r'{"reason":"(?:(?:interval|entries|bytes|segment)","entries":<n>,"bytes":<n>'
    '|close","entries":<n>,"bytes":<n>,"run":<n>)}',
    "key id": "(<k>)",
    "vkey": r"([^+]+)\+([0-9a-f]{8})\+(.+)",
    "tagged": "(epoch|block|prune|rotate|sign|end) (<n>) (.*) (<h>)",
    "note": r"([^\n]+)\n(<n>)\n(<h>)\n\n((?:— [^ \n]+ [^ \n]+\n){1,100})",
}
BAD_IN_NAMES = """;-; +-+ 0-20 7f-a0 ad-ad 600-605 61c-61c 6dd-6dd 70f-70f 890-891 8e2-8e2 1680-1680 180e-180e
2000-200f 2028-202f 205f-206f 3000-3000 d800-dfff feff-feff fff0-fffb 110bd-110bd 110cd-110cd 13430-1343f
1bca0-1bca3 1d173-1d17a e0000-e0fff""".replace(";", "3b").replace("+", "2b")  # [3.5]
RANGES = [[int(end, 16) for end in item.split("-")] for item in BAD_IN_NAMES.split()]
BAD = {chr(code) for low, high in RANGES for code in range(low, high + 1)}
FIRST = [0, 0, "A" * 43 + "=", {"line": 0, "tag": "A" * 43 + "="}]


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
    return 0 < len(text.encode()) < 256 and BAD.isdisjoint(text)


def sha(*data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(b"".join(data)).digest()


def parse_line(raw: bytes) -> Line:
    """[5]: a tagged line, or a note."""
    need(len(raw) <= 1_048_576 and b"\x00" not in raw)
    if raw.startswith(b"note "):
        return {"kind": "note", "raw": b64(raw[5:].decode())}
    kind, index, body, tag = match("tagged", raw.decode())
    match(kind, body)
    line: Line = {"kind": kind, "index": number(index), "payload": raw[:-45], "mac": b64(tag)}
    line["leaf"] = sha(b"\x00", line["payload"])  # [6.5]
    if kind == "block":
        *numbers, digest, body = body.split(" ", 6)
        line |= dict(zip(("first", "count", "offset", "bytes", "time"), map(number, numbers), strict=True))
        need((line["bytes"] >= line["count"] > 0 and body != "{}") or line["bytes"] == line["count"] == 0)
        line["digest"] = b64(digest)
    line |= json.loads(body, parse_int=number)
    if kind == "rotate":
        need(
            line["from_size"] == line["index"]
            or ("compromised" in line and line["from_size"] < line["index"])
        )
        pair = line["old"], line["new"]
        line["keys"] = [vkey(text) for text in pair] if line["key"] == "checkpoint" else []
        line["ids"] = [known for _, known, _ in line["keys"]] or [match("key id", text)[0] for text in pair]
        need(len({*line["ids"]}) == 2)
    if kind == "epoch":
        line["frontier"] = [b64(item) for item in line["tree"]["frontier"]]
        need(line["index"] == line["tree"]["size"] and len(line["frontier"]) == line["index"].bit_count())
        need(len(b64(line["wrapped"])) <= 4096 and (line["link"] == "carry") == (line["carry"] != ""))
        need(is_name(line["origin"]) and (line["link"] == "genesis") == (line["epoch"] == 0))
        need(line["epoch"] or [line[key] for key in ("index", "first_entry", "prev", "asked")] == FIRST)
        need("denies" not in line or line["link"] != "carry")
    need(line.get("run", -1) < line["index"])
    return line


def key_id(public: PublicKey, name: str) -> bytes:
    """[8.3]."""
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ecdsa = isinstance(public, ec.EllipticCurvePublicKey)
    return (sha(spki) if ecdsa else sha(name.encode(), b"\n\x01", spki[-32:]))[:4]


def vkey(text: str) -> tuple[str, bytes, PublicKey]:
    """[8.3], as in a rotate line [5.7]: name, id and key."""
    name, known, encoded = match("vkey", text)
    kind, raw = b64(encoded)[:1], b64(encoded)[1:]
    need(kind in {b"\x01", b"\x02"} and is_name(name))
    spki = bytes.fromhex("302a300506032b6570032100") + raw if kind == b"\x01" else raw
    key = serialization.load_der_public_key(spki)
    need(isinstance(key, PublicKey))
    assert isinstance(key, PublicKey)  # for the type
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


def signers(raw: bytes, name: str, keys: list[PublicKey]) -> set[bytes]:
    """The ids of the keys that signed a note; none if it is bad."""
    try:
        return read_note(raw, name, keys)[3]
    except (ValueError, InvalidSignature):
        return set()
