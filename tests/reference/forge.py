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

from tests.reference.keys import Keys, signed_note, text
from tests.reference.notes import b64, match, parse_line, read_note, sha
from tests.reference.trust import root_of
from tests.reference.verifier import append_leaf, context_of, mac, recover, sealing_key

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
TEXTS += ["x" * 256, "%41", "%2e", "%20", "/a//%FF", "%ff", "genesis", "carry", "cold", "close", "interval"]
WHOLE = ("", "{}", '{"src":{"name":"x","offset":0}}', "[]", "[{}]")
FREE = re.compile(  # values that no other line depends on
    r'(?<=[{,]")(?:name|file|policy|offset|retention|interval|max_overdue|heartbeat|time|abandoned|src|wrapped)":'
    r'("(?:[^"\\]|\\.)*"|[0-9]+|\[.*?\]|{.*?})|(?<= )([0-9]{13})(?= )|({})$|(,"next":{.*?})'
)
CALLS = '{"line":0,"tag":"%s","calls":%s}'


def forge(rng: Random, log: Path, keys: Keys) -> str:
    """Change one line; what was done."""
    return _Forger(rng, log, keys).run()


class _Forger:
    def __init__(self, rng: Random, log: Path, keys: Keys) -> None:
        self.rng, self.log, self.keys = rng, log, keys
        self.origin, self.key, self.carry, self.tag = "", b"", b"", bytes(32)
        self.frontier, self.size = list[bytes](), 0
        self.sizes, self.tags, self.roots = {0: 0}, dict[int, bytes](), dict[int, bytes]()
        self.ids = dict[str, str]()  # the log's id, as it was and as it is now
        self.heads = list[dict[str, Any]]()  # the epoch lines to come, as they were
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
        target = self.rng.choice([one for one in texts if one] or [""])
        self.heads = [json.loads(match("tagged", one)[2]) for one in texts if one.startswith("epoch ")]
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
        self.heads = self.heads[kind == "epoch" :]
        if way == "drop":
            self.done = f"{kind} {index} dropped"
            return b""
        secret = b""
        if kind == "epoch":
            body, secret = self._header(json.loads(body))
        if kind in {"sign", "end"}:
            body = _dump(self._named_anew(json.loads(body)))
        if way == "edit":
            body = self._edited(kind, index, body)
        lines = self._seal(kind, body, secret, int(index))
        if index == "0":
            before, now = (sha(b"epochseal/v1/log", sha(b"\x00", one)) for one in (raw[:-45], lines[:-46]))
            self.ids[text(before)] = text(now)
        if way == "twice":
            self.done = f"{kind} {index} twice"
            lines += self._seal(kind, body, secret, int(index))
        return lines

    def _header(self, head: dict[str, Any]) -> tuple[str, bytes]:
        """The epoch line's JSON for the chain as it now is, and the secret with the carry."""
        context = context_of(head)
        secret, carry = recover(self.keys.epoch, b64(head["wrapped"]), context), bytes(32)
        if head["link"] == "carry":
            carry = self.carry or AESGCM(sealing_key(secret, context)).decrypt(
                bytes(12), b64(head["carry"]), context
            )
        old = head["tree"]["size"]
        if not self.tags:  # the first epoch present: its tree and what it continues stay
            self.size, self.frontier = old, [b64(item) for item in head["tree"]["frontier"]]
            self.tag, self.sizes[old] = b64(head["prev"]), old
        self._continue(head)
        head["prev"] = text(self.tag)
        head["tree"] = {"size": self.size, "frontier": [text(item) for item in self.frontier]}
        self.origin = head["origin"]
        return _dump(self._wrapped(head, secret, carry)), secret + carry

    def _continue(self, head: dict[str, Any]) -> None:
        """What an epoch's secret was asked for, as it is now."""
        asked = head["asked"]
        if asked["line"] in self.tags:
            asked["tag"] = text(self.tags[asked["line"]])
            asked["line"] = self.sizes[asked["line"]]
        head["log"] = self.ids.get(head["log"], head["log"])

    def _named_anew(self, body: dict[str, Any]) -> dict[str, Any]:
        """The start of the run, and the announced secret as the next epoch line will hold it."""
        if "run" in body:
            body["run"] = self.sizes.get(body["run"], body["run"])
        for head in self.heads[:1] if "next" in body else []:
            if body["next"]["wrapped"] == text(sha(b64(head["wrapped"]))):
                later = json.loads(_dump(head))
                secret = recover(self.keys.epoch, b64(head["wrapped"]), context_of(head))
                self._continue(later)
                body["next"]["wrapped"] = text(sha(self.keys.wrap(context_of(later), secret)))
        return body

    def _wrapped(self, head: dict[str, Any], secret: bytes, carry: bytes) -> dict[str, Any]:
        context = context_of(head)
        head["wrapped"] = text(self.keys.wrap(context, secret))
        if head["link"] == "carry":
            head["carry"] = text(AESGCM(sealing_key(secret, context)).encrypt(bytes(12), carry, context))
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
                (*[f'"{text}"' for text in TEXTS], _dump(text(bytes(32))), "1", old[:-2] + '"', old)
            )
        else:
            new = rng.choice((*WHOLE, old + " ", old + old, ',"esc":0', ',"gap":1', ',"x":1', '"esc":1,'))
        self.done = f"{kind} {index}: {old[:60]!r} at {token.start(group)} is {new[:60]!r}"
        return body[: token.start(group)] + new + body[token.end(group) :]

    def _calls(self) -> str:
        calls = [
            CALLS % (text(bytes(32)), self.rng.choice(NUMBERS[:5])) for _ in range(self.rng.randrange(3))
        ]
        return "[" + ",".join(calls) + self.rng.choice(("", "", "", ",")) + "]"

    def _source(self, old: str) -> str:
        rng = self.rng
        source = f'"name":"{rng.choice(TEXTS)}","offset":{rng.choice(NUMBERS[:5])}'
        source += rng.choice(("", f',"file":"{rng.choice(TEXTS)}"'))
        flags = [flag for flag in ("esc", "nolf", "recovered", "gap", "skipped") if rng.random() < 0.3]
        if rng.random() < 0.1:
            rng.shuffle(flags)
        source = "{" + source + "".join(f',"{flag}":{rng.choice("11111102")}' for flag in flags) + "}"
        return f'{{"src":{source}}}' if old == "{}" else source

    def _seal(self, kind: str, body: str, secret: bytes, old: int) -> bytes:
        if kind == "epoch" and self.rng.random() < 0.8:
            body = self._wrapped_again(body, secret)
        payload = f"{kind} {self.size} {body}".encode(errors="surrogatepass")
        leaf = sha(b"\x00", payload)
        if kind == "epoch":
            self.key = mac(mac(b"epochseal/v1/epoch", secret), sha(payload), b"\x01")
        self.tag = mac(self.key, b"epochseal/v1/tag", self.tag, leaf)
        self.key = mac(self.key, b"epochseal/v1/next\x01")
        held = secret[32:] if kind == "epoch" else b""  # what a bare epoch hands on
        self.carry = mac(self.key, b"epochseal/v1/carry\x01") if kind == "end" else held
        self.sizes[old], self.tags[old] = self.size, self.tag
        append_leaf(self.frontier, self.size, leaf)
        self.size += 1
        self.sizes[old + 1] = self.size
        self.roots[self.size] = root_of(self.frontier)
        return payload + b" " + text(self.tag).encode() + b"\n"

    def _wrapped_again(self, body: str, secret: bytes) -> str:
        """Wrap and seal for the context that an edited epoch line states, where its form allows."""
        try:
            parse_line(f"epoch {self.size} {body} {text(bytes(32))}".encode())
            return _dump(self._wrapped(json.loads(body), secret[:32], secret[32:]))
        except ValueError:
            return body

    def _note(self, raw: bytes) -> bytes:
        origin, size, _, _ = read_note(raw, "", [])
        new = self.sizes.get(size, -1)
        if not self.signs or new not in self.roots:
            return raw
        return signed_note(origin, new, self.roots[new], self.keys)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
