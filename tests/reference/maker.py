"""Writes logs line by line, from docs/format.md alone; numbers in brackets are its sections.

Everything is a function of names and numbers, so that the same calls always write the same bytes. The maker
knows every rule and keeps none: what it is told to write, it writes. Time goes on by 100 ms a line.
"""

from __future__ import annotations

import copy
import json
import shutil
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.reference.keys import ORIGIN, Keys, hashed, signed_note, text
from tests.reference.notes import sha
from tests.reference.trust import root_of
from tests.reference.verifier import append_leaf, context_of, mac, sealing_key

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms: when the logs begin."""
MINUTE = 60_000
Json = dict[str, object]
Asked = tuple[int, bytes]
"""Index and tag of the line before a call for a secret."""


@dataclass(frozen=True)
class Pace:
    """The four durations of an epoch line, ms."""

    heartbeat: int = 10_000
    interval: int = MINUTE
    max_overdue: int = 0
    retention: int = 0


@dataclass(frozen=True)
class Secret:
    """A secret that was issued: for which epoch, what was asked, as it was wrapped and by whose key."""

    plain: bytes
    epoch: int
    asked: Asked
    wrapped: bytes
    key: str


class Maker:
    """One log, and the key, tag, tree and carry at its end."""

    def __init__(
        self, path: Path, keys: Keys, name: str = "log", *, time: int = START, pace: Pace | None = None
    ) -> None:
        self.path, self.keys, self.name, self.time, self.pace = path, keys, name, time, pace or Pace()
        self.origin, self.log, self.issuer, self.signer = ORIGIN, hashed("log", name), keys, keys
        self.signs = True
        self.size, self.frontier, self.tag = 0, list[bytes](), bytes(32)
        self.roots, self.signable = dict[int, bytes](), list[int]()
        self.key, self.carry = b"", bytes(32)
        self.epoch, self.segment, self.stem, self.run = -1, 0, "", 0
        self.entries, self.offset, self.sums = 0, 0, (0, 0)
        self.announced: Secret | None = None
        self.abandoned = list[Asked]()
        self._calls = 0

    def fork(self, path: Path) -> Maker:
        """A second writer who has all that this one has, and a copy of the files."""
        shutil.copytree(self.path, path)
        other = copy.copy(self)
        other.path, other.frontier, other.roots = path, [*self.frontier], {**self.roots}
        other.signable = [*self.signable]
        other.abandoned, other.name = [*self.abandoned], f"{self.name}, forked"
        return other

    def file(self, ending: str) -> Path:
        """A file of the running segment."""
        return self.path / "segments" / f"{self.stem}.{ending}"

    def ask(self, secret: bytes = b"", *, asked: Asked | None = None) -> Secret:
        """A secret for the next epoch, issued at this moment [6.1, 9.3]."""
        self._calls += 1
        plain = secret or hashed("secret", self.name, self._calls)
        asked = asked or (max(self.size - 1, 0), self.tag)
        context = context_of(self._named(asked))
        return Secret(plain, self.epoch + 1, asked, self.issuer.wrap(context, plain), self.issuer.key_id)

    def _named(self, asked: Asked) -> Json:
        named = {"line": asked[0], "tag": text(asked[1])}
        return {"origin": self.origin, "log": text(self.log), "epoch": self.epoch + 1, "asked": named}

    def begin(
        self,
        link: str,
        secret: Secret | None = None,
        *,
        segment: bool = True,
        denies: tuple[bytes, int, bytes] | None = None,
        edit: Callable[[Json], object] | None = None,
        signed: bool | None = None,
    ) -> Maker:
        """An epoch line [5.4]; the note over it where one has to be, unless told otherwise.

        `denies` is id, size and root. `edit` changes the header before it is keyed.
        """
        secret = secret or (self.announced if link == "carry" else None) or self.ask()
        context = context_of(self._named(secret.asked))
        carry = self.carry if link == "carry" else bytes(32)
        time, self.segment = self._tick(), self.segment + segment
        if segment:
            when = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime(time // 1000))
            self.stem, self.offset = f"{self.segment:06}-{when}", 0
            self._append("log", b"")
        sealed = AESGCM(sealing_key(secret.plain, context)).encrypt(bytes(12), carry, context)
        calls = [{"line": line, "tag": text(tag), "calls": 1} for line, tag in self.abandoned]
        head: Json = {"epoch": self.epoch + 1, "origin": self.origin, "log": text(self.log)}
        head |= {"segment": self.segment, "link": link, "key": secret.key, "wrapped": text(secret.wrapped)}
        head |= {
            "carry": text(sealed) if link == "carry" else "",
            "asked": self._named(secret.asked)["asked"],
        }
        frontier = [text(item) for item in self.frontier]
        head |= {"prev": text(self.tag), "tree": {"size": self.size, "frontier": frontier}}
        head |= {
            "first_entry": self.entries,
            "heartbeat": self.pace.heartbeat,
            "interval": self.pace.interval,
        }
        head |= {"max_overdue": self.pace.max_overdue, "retention": self.pace.retention}
        head |= {"abandoned": calls, "time": time}
        if denies:
            head["denies"] = {"log": text(denies[0]), "size": denies[1], "root": text(denies[2])}
        if edit:
            edit(head)
        behind_turn, self.epoch, self.sums = self.announced is not None, self.epoch + 1, (0, 0)
        self.announced, self.abandoned = None, []
        self.run = self.size if link != "carry" else self.run
        payload = f"epoch {self.size} {dump(head)}"
        self.key = mac(mac(b"epochseal/v1/epoch", secret.plain, carry), sha(payload.encode()), b"\x01")
        leaf = self._seal(payload)
        if self.epoch == 0:
            self.log = sha(b"epochseal/v1/log", leaf)
        needs_note = link != "carry" or not behind_turn
        return self.note() if (needs_note if signed is None else signed) else self

    def block(self, *entries: bytes, source: Json | None = None, time: int = -1) -> Maker:
        """Entries, each with its LF; none is a heartbeat, or with a source a position [5.5]."""
        data = b"".join(entries)
        now = self._tick() if time < 0 else time
        if entries and source is None:
            source = {"name": "stdin", "offset": self.offset + len(data)}
        self._append("log", data)
        fields = f"{self.entries} {len(entries)} {self.offset} {len(data)} {now} {text(sha(data))}"
        self.entries, self.offset = self.entries + len(entries), self.offset + len(data)
        self.sums = self.sums[0] + len(entries), self.sums[1] + len(data)
        return self.line("block", fields + " " + dump({"src": source} if source is not None else {}))

    def sign(self, secret: Secret | None = None, *, run: int = -1) -> Maker:
        """A sign line [5.8], which announces a secret if there is one."""
        body: Json = {"run": self.run if run < 0 else run}
        if secret:
            body["next"] = {"epoch": secret.epoch, "wrapped": text(sha(secret.wrapped))}
            self.abandoned += [self.announced.asked] if self.announced else []
            self.announced = secret
        return self.line("sign", dump(body))

    def note(self, *others: Keys, size: int = -1) -> Maker:
        """A signature over the tree at some size, by default as it is [8.5]; none where `signs` is False."""
        if self.signs:
            size = self.size if size < 0 else size
            raw = signed_note(self.origin, size, self.roots[size], self.signer, *others)
            self._append("seal", f"note {text(raw)}\n".encode())
            (self.path / "checkpoint").write_bytes(raw)
        return self

    def end(self, reason: str = "interval", *, run: int = -1) -> Maker:
        """An end line [5.9]; the carry is kept [6.6]."""
        body: Json = {"reason": reason, "entries": self.sums[0], "bytes": self.sums[1]}
        body |= {"run": self.run if run < 0 else run} if reason == "close" else {}
        self.line("end", dump(body))
        self.carry = mac(self.key, b"epochseal/v1/carry\x01")
        return self

    def turn(self, reason: str = "entries", *, signed: bool = True) -> Maker:
        """A whole turn [9.4]; in a new segment if the reason says so."""
        self.sign(self.ask())
        if signed:
            self.note()
        return self.end(reason).begin("carry", segment=reason == "segment")

    def close(self, *, signed: bool = True) -> Maker:
        """A clean close, with the note over it unless it could not be had."""
        self.announced = None
        self.end("close")
        return self.note() if signed else self

    def rotate(
        self, key: str, old: Keys, new: Keys, *, compromised: bool = False, from_size: int = -1
    ) -> Maker:
        """A rotate line [5.7]."""
        pair = (old.key_id, new.key_id) if key == "epoch" else (old.vkey(self.origin), new.vkey(self.origin))
        since = self.size if from_size < 0 else from_size
        body: Json = {"key": key, "old": pair[0], "new": pair[1], "from_size": since}
        body |= {"who": "alice", "why": "a test", "time": self._tick()}
        return self.line("rotate", dump(body | ({"compromised": 1} if compromised else {})))

    def hand_over(self, old: Keys, new: Keys, *, compromised: bool = False, from_size: int = -1) -> Maker:
        """Change the checkpoint key: the line, and a sign line that both keys sign [8.8]."""
        self.rotate("checkpoint", old, new, compromised=compromised, from_size=from_size).sign()
        self.signer = new
        return self.note(*([] if compromised else [old]))

    def prune(self, head: Mapping[str, object], segment: int) -> Maker:
        """A prune line [5.6] for what is before a header; sign it before the files go [11.1]."""
        tree = head["tree"]
        assert isinstance(tree, dict)
        body: Json = {
            "segment": segment,
            "epoch": max(int(str(head["epoch"])) - 1, 0),
            "tree_size": tree["size"],
        }
        body |= {"root": text(self.roots.get(int(tree["size"]), bytes(32))), "entries": head["first_entry"]}
        return self.line("prune", dump(body | {"bytes": 1, "policy": "90d"}))

    def line(self, kind: str, body: str) -> Maker:
        """Any tagged line."""
        self._seal(f"{kind} {self.size} {body}")
        return self

    def _seal(self, payload: str) -> bytes:
        leaf = sha(b"\x00", payload.encode())
        self.tag = mac(self.key, b"epochseal/v1/tag", self.tag, leaf)
        self.key = mac(self.key, b"epochseal/v1/next\x01")
        append_leaf(self.frontier, self.size, leaf)
        self.size += 1
        self.roots[self.size] = root_of(self.frontier)
        if payload.startswith(("epoch ", "sign ")) or '{"reason":"close"' in payload:
            self.signable.append(self.size)
        self._append("seal", f"{payload} {text(self.tag)}\n".encode())
        return leaf

    def _append(self, ending: str, data: bytes) -> None:
        self.file(ending).parent.mkdir(parents=True, exist_ok=True)
        with self.file(ending).open("ab") as file:
            file.write(data)

    def _tick(self) -> int:
        self.time += 100
        return self.time


def dump(value: object) -> str:
    """[3.3], for values whose keys stand in order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def headers(path: Path) -> list[Json]:
    """The epoch lines of a log, in order."""
    seals = sorted((path / "segments").glob("*.seal"))
    raws = [raw for seal in seals for raw in seal.read_text().split("\n") if raw.startswith("epoch ")]
    return [json.loads(raw.split(" ", 2)[2].rsplit(" ", 1)[0]) for raw in raws]
