"""Whoever has all keys: changes one line of a log, and makes every key, tag, tree and signature anew.

A verifier has to judge what such a log says, for nothing in it is damaged. Only then does it show whether two
verifiers read fields, limits and order alike.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from epochseal.format.note import Checkpoint
from epochseal.keys import Context
from tests.integration.logs import LogKeys
from tests.reference.notes import b64, match, read_note, sha
from tests.reference.verifier import mac, parse_line, recover, root_of

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[0-9]+|[{}\[\],:]')
NUMBERS = ["0", "1", "2", str(2**63 - 1), str(2**63), "01", "1.0", "-1", "1e3", "true", "null"]
TEXTS = [
    "",
    "a b",
    "a;b",
    "a+b",
    "é",
    "a\\u0041",
    "\\/",
    "\x7f",
    "\u202e",
    "\ufeff",
    "\\u001f",
    "\\u001F",
    "\\n",
]
TEXTS += ["x" * 256, "%41", "%2e", "%20", "/a//%FF", "%ff", "genesis", "carry", "cold", "reopen", "close"]
WHOLE = ("", "{}", '{"src":{"name":"x","offset":0}}', "[]", "[{}]")
FREE = re.compile(  # values that no other line depends on
    r'(?<=[{,]")(?:name|file|policy|offset|retention|interval|max_overdue|heartbeat|time|abandoned|src)":'
    r'("(?:[^"\\]|\\.)*"|[0-9]+|\[.*?\]|{.*?})|(?<= )([0-9]{13})(?= )|({})$'
)
CALLS = '{"line":0,"tag":"%s","calls":%s}'


def forge(rng: Random, log: Path, keys: LogKeys) -> str:
    """Change one line; what was done."""
    return _Forger(rng, log, keys).run()


class _Forger:
    def __init__(self, rng: Random, log: Path, keys: LogKeys) -> None:
        self.rng, self.log, self.keys = rng, log, keys
        self.origin, self.key, self.carry, self.tag = "", b"", b"", bytes(32)
        self.frontier, self.size = list[bytes](), 0
        self.sizes, self.tags, self.roots = {0: 0}, dict[int, bytes](), dict[int, bytes]()
        self.signs = rng.random() < 0.8
        self.done = "nothing"

    def run(self) -> str:
        """Write every seal file and `checkpoint` again."""
        seals = sorted((self.log / "segments").glob("*.seal"))
        if not seals:
            return self.done
        texts = [
            line for path in seals for line in path.read_text().split("\n") if not line.startswith("note")
        ]
        target = self.rng.choice([text for text in texts if text] or [""])
        for path in seals:
            out = b"".join(
                self._line(line, line == target.encode()) for line in path.read_bytes().split(b"\n")[:-1]
            )
            path.write_bytes(out)
        checkpoint = self.log / "checkpoint"
        if checkpoint.exists():
            checkpoint.write_bytes(self._note(checkpoint.read_bytes()))
        return self.done

    def _line(self, raw: bytes, is_target: bool) -> bytes:  # noqa: FBT001 a filter's verdict, not an option
        if raw.startswith(b"note "):
            return b"note " + base64.b64encode(self._note(b64(raw[5:].decode()))) + b"\n"
        kind, index, body, _ = match("tagged", raw.decode())
        way = self.rng.choice(("edit",) * 8 + ("drop", "twice")) if is_target else ""
        if way == "drop":
            self.done = f"{kind} {index} dropped"
            return b""
        secret = b""
        if kind == "epoch":
            body, secret = self._header(json.loads(body))
        if way == "edit":
            body = self._edited(kind, index, body)
        lines = self._seal(kind, body, secret, int(index))
        if way == "twice":
            self.done = f"{kind} {index} twice"
            lines += self._seal(kind, body, secret, int(index))
        return lines

    def _header(self, head: dict[str, Any]) -> tuple[str, bytes]:
        """The epoch line's JSON for the chain as it now is, and the secret with the carry."""
        context = Context(head["origin"], b64(head["log"]), head["epoch"], b64(head["asked"]["tag"])).encode()
        secret, carry = recover(self.keys.epoch, b64(head["wrapped"]), context), bytes(32)
        if head["link"] == "carry":
            carry = self.carry or AESGCM(_sealing(secret, context)).decrypt(
                bytes(12), b64(head["carry"]), context
            )
        old = head["tree"]["size"]
        if not self.tags:  # the first epoch present: its tree and what it continues stay
            self.size, self.frontier = old, [b64(item) for item in head["tree"]["frontier"]]
            self.tag, self.sizes[old] = b64(head["prev"]), old
        asked = head["asked"]
        if asked["line"] in self.tags:
            asked["tag"] = _text(self.tags[asked["line"]])
            asked["line"] = self.sizes[asked["line"]]
        head |= {"prev": _text(self.tag), "origin": head["origin"]}
        head["tree"] = {"size": self.size, "frontier": [_text(item) for item in self.frontier]}
        self.origin = head["origin"]
        return _dump(self._wrapped(head, secret, carry)), secret + carry

    def _wrapped(self, head: dict[str, Any], secret: bytes, carry: bytes) -> dict[str, Any]:
        context = Context(head["origin"], b64(head["log"]), head["epoch"], b64(head["asked"]["tag"]))
        head["wrapped"] = _text(self.keys.wrap(context, secret).wrapped)
        if head["link"] == "carry":
            sealed = AESGCM(_sealing(secret, context.encode())).encrypt(bytes(12), carry, context.encode())
            head["carry"] = _text(sealed)
        return head

    def _edited(self, kind: str, index: str, body: str) -> str:
        rng = self.rng
        free = list(FREE.finditer(body)) if rng.random() < 0.6 else []
        token = rng.choice(free or list(TOKEN.finditer(body)))
        group = token.lastindex or 0
        old = token[group]
        if free and old[0] in "[{":
            new = self._calls() if old[0] == "[" else self._source(old)
        elif old.isdigit():
            new = rng.choice((*NUMBERS, *[str(int(old) + 1), str(max(int(old) - 1, 0))] * 5))
        elif old[0] == '"':
            new = rng.choice(
                (*[f'"{text}"' for text in TEXTS], _dump(_text(bytes(32))), "1", old[:-2] + '"', old)
            )
        else:
            new = rng.choice((*WHOLE, old + " ", old + old, ',"esc":0', ',"gap":1', ',"x":1', '"esc":1,'))
        self.done = f"{kind} {index}: {old[:60]!r} at {token.start(group)} is {new[:60]!r}"
        return body[: token.start(group)] + new + body[token.end(group) :]

    def _calls(self) -> str:
        calls = [
            CALLS % (_text(bytes(32)), self.rng.choice(NUMBERS[:5])) for _ in range(self.rng.randrange(3))
        ]
        return "[" + ",".join(calls) + self.rng.choice(("", "", "", ",")) + "]"

    def _source(self, old: str) -> str:
        rng = self.rng
        text = f'"name":"{rng.choice(TEXTS)}","offset":{rng.choice(NUMBERS[:5])}'
        text += rng.choice(("", f',"file":"{rng.choice(TEXTS)}"'))
        flags = [flag for flag in ("esc", "nolf", "recovered", "gap") if rng.random() < 0.3]
        if rng.random() < 0.1:
            rng.shuffle(flags)
        text = "{" + text + "".join(f',"{flag}":{rng.choice("11111102")}' for flag in flags) + "}"
        return f'{{"src":{text}}}' if old == "{}" else text

    def _seal(self, kind: str, body: str, secret: bytes, old: int) -> bytes:
        if kind == "epoch" and self.rng.random() < 0.8:
            body = self._wrapped_again(body, secret)
        payload = f"{kind} {self.size} {body}".encode(errors="surrogatepass")
        leaf = sha(b"\x00", payload)
        if kind == "epoch":
            self.key = mac(mac(b"epochseal/v1/epoch", secret), sha(payload), b"\x01")
        self.tag = mac(self.key, b"epochseal/v1/tag", self.tag, leaf)
        self.key = mac(self.key, b"epochseal/v1/next\x01")
        self.carry = mac(self.key, b"epochseal/v1/carry\x01") if kind == "end" else b""
        self.sizes[old], self.tags[old] = self.size, self.tag
        odd = self.size
        while odd & 1:
            leaf, odd = sha(b"\x01", self.frontier.pop(), leaf), odd >> 1
        self.frontier.append(leaf)
        self.size += 1
        self.sizes[old + 1] = self.size
        self.roots[self.size] = root_of(self.frontier)
        return payload + b" " + _text(self.tag).encode() + b"\n"

    def _wrapped_again(self, body: str, secret: bytes) -> str:
        """Wrap and seal for the context that an edited epoch line states, where its form allows."""
        try:
            parse_line(f"epoch {self.size} {body} {_text(bytes(32))}".encode())
            return _dump(self._wrapped(json.loads(body), secret[:32], secret[32:]))
        except ValueError:
            return body

    def _note(self, raw: bytes) -> bytes:
        origin, size, _, _ = read_note(raw, "", [])
        new = self.sizes.get(size, -1)
        if not self.signs or new not in self.roots:
            return raw
        return self.keys.sign(Checkpoint(origin, new, self.roots[new]))


def _sealing(secret: bytes, context: bytes) -> bytes:
    return mac(mac(bytes(32), secret), b"epochseal/v1/carry-seal", sha(context), b"\x01")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
