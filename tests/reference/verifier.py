"""A second verifier, written from docs/format.md alone; numbers in brackets are sections of that page.

It shares no line with epochseal: where the two agree, the page is what both do. It stops at the first problem
of class tampered and does not name it, reads whole files, and knows no zstd and no keys but those of `file:`.
"""

from __future__ import annotations

import hmac
import json
import re
import sys
import time
import zlib
from functools import reduce
from itertools import pairwise
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.reference.notes import (
    MAX,
    Line,
    PublicKey,
    are_recorded,
    b64,
    endorses,
    is_compromised,
    is_name,
    is_passed_over,
    known_keys,
    match,
    need,
    number,
    read_note,
    sha,
    vkey,
)

Place = tuple[int, str]
Maybe = Path | None
PrivateKey = x25519.X25519PrivateKey
UNTRUSTED = {"start_unsigned", "unknown_key", "wrong_origin", "key_retired", "key_compromised"}
NOT_LOG = {"seal", "unsealed"}
STATUS = {"verified": 0, "tampered": 1, "incomplete": 3, "untrusted": 4, "empty": 5, "no verdict": 6}
FILE = re.compile(r"([0-9]{6}|[1-9][0-9]{6,17})-([0-9]{8}T[0-9]{6}Z)\.(log|log\.gz|log\.zst|seal|unsealed)")


def mac(key: bytes, *data: bytes) -> bytes:
    """HMAC, which is HKDF-Extract; HKDF-Expand to 32 bytes is `mac(key, info, 0x01)` [3.8, 6.5]."""
    return hmac.digest(key, b"".join(data), "sha256")


def parse_line(raw: bytes) -> Line:
    """[5]: a tagged line, or a note."""
    need(len(raw) <= 1_048_576)
    if raw.startswith(b"note "):
        return {"kind": "note", "raw": b64(raw[5:].decode())}
    kind, index, body, tag = match("tagged", raw.decode())
    match(kind, body)
    line: Line = {"kind": kind, "index": number(index), "payload": raw[:-45], "mac": b64(tag)}
    if kind == "block":
        *numbers, digest, body = body.split(" ", 6)
        line |= dict(zip(("first", "count", "offset", "bytes", "time"), map(number, numbers), strict=True))
        need((line["bytes"] >= line["count"] > 0 and body != "{}") or line["bytes"] == line["count"] == 0)
        line["digest"] = b64(digest)
    line |= json.loads(body, parse_int=number)
    if kind == "rotate":
        need(
            line["from_size"] <= line["index"]
            and ("compromised" in line or line["from_size"] == line["index"])
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
        begins = [0, 0, "A" * 43 + "=", {"line": 0, "tag": "A" * 43 + "="}]
        need(line["epoch"] or begins == [line[key] for key in ("index", "first_entry", "prev", "asked")])
    return line


def recover(private: PrivateKey, wrapped: bytes, context: bytes) -> bytes:
    """[6.2]: the epoch secret."""
    kem, suite, enc = b"HPKE-v1KEM\x00\x20", b"HPKE-v1HPKE\x00\x20\x00\x01\x00\x02", wrapped[:32]
    public = private.public_key().public_bytes_raw()
    prk = mac(b"", kem, b"eae_prk", private.exchange(x25519.X25519PublicKey.from_public_bytes(enc)))
    secret = mac(mac(prk, b"\x00\x20", kem, b"shared_secret", enc, public, b"\x01"), suite, b"secret")
    info = mac(b"", suite, b"info_hash", b"epochseal/v1/wrap", context)
    schedule = b"\x00" + mac(b"", suite, b"psk_id_hash") + info
    key = mac(secret, b"\x00\x20", suite, b"key", schedule, b"\x01")
    nonce = mac(secret, b"\x00\x0c", suite, b"base_nonce", schedule, b"\x01")[:12]
    return AESGCM(key).decrypt(nonce, wrapped[32:], b"")


def root_of(frontier: list[bytes]) -> bytes:
    """[7.4]."""
    return reduce(lambda root, left: sha(b"\x01", left, root), frontier[-2::-1], *frontier[-1:] or [sha()])


def content(path: Path, sealed: int) -> tuple[bytes, bool]:
    """[10.4]: the plain bytes up to the sealed length, and whether anything is left."""
    raw, plain = path.read_bytes(), b""
    if path.suffix == ".log":
        return raw[:sealed], len(raw) > sealed
    if path.suffix == ".zst":
        raise OSError("no zstd here")
    need(raw)
    while raw and len(plain) <= sealed:
        member = zlib.decompressobj(31)
        plain += member.decompress(raw, sealed + 1 - len(plain))
        need(member.eof or len(plain) > sealed)
        raw = member.unused_data
    return plain[:sealed], len(plain) > sealed


class Verifier:
    """One run over a log; `kinds` are the problems found so far, `size` and `frontier` the tree."""

    def __init__(self, private: list[PrivateKey], public: PublicKey | None, origin: str, now: int) -> None:
        self.private = {f"file:{sha(key.public_key().public_bytes_raw()).hex()}": key for key in private}
        self.public, self.expected, self.now = public, origin, now
        self.rotates, self.retired, self.known = (
            list[Line](),
            set[str](),
            dict[bytes, tuple[PublicKey, int, int]](),
        )
        self.kinds, self.epochs, self.prunes = set[str](), list[Line](), list[Line]()
        self.notes = list[tuple[int, bytes]]()  # each with the size of the tree in front of it
        self.signable, self.valid, self.tags = dict[int, bytes](), {0}, dict[int, bytes]()
        self.size, self.entries, self.offset, self.time = 0, 0, 0, 0
        self.frontier, self.tag = list[bytes](), b""
        self.key, self.carry = b"", b""  # of the running epoch, and of the one that ended; empty: unknown

    def note_if(self, holds: object, kind: str) -> None:
        """A problem that is not of class tampered."""
        self.kinds |= {kind} if holds else set()

    def read(self, logdir: Path, age: int, *, strict: bool) -> None:
        """[13]."""
        checkpoint = (logdir / "checkpoint").read_bytes() if (logdir / "checkpoint").exists() else None
        stems: dict[Place, set[str]] = {}
        for path in (logdir / "segments").glob("*"):
            if path.is_file() and (found := FILE.fullmatch(path.name)):
                stems.setdefault((int(found[1]), f"{found[1]}-{found[2]}"), set()).add(found[3])
        whole = sorted(place for place, ends in stems.items() if "seal" in ends and len(ends - NOT_LOG) > 0)
        need(len({segment for segment, _ in stems}) == len(stems))
        need(all(before + 1 == after for (before, _), (after, _) in pairwise(whole)))
        for place in whole:
            self.segment(logdir / "segments", place, stems[place], last=place == max(stems))
        self.checkpoints(checkpoint)
        newest = max(stems, default=(0, "/"))
        begun = {newest} - {newest for path in logdir.glob(f"*/{newest[1]}.*") if path.stat().st_size}
        half = max({*stems} - {*whole} - begun, default=(-1, ""))
        need(half[0] <= (self.judge(age) if self.epochs else -1))
        self.note_if(strict and any(head["link"] == "reopen" for head in self.epochs[1:]), "reopen_strict")
        self.note_if(
            strict and not are_recorded(self.epochs, self.counted(self.rotates), self.size), "rotation_strict"
        )

    def segment(self, folder: Path, place: Place, ends: set[str], *, last: bool) -> None:
        """[13.3] and the lines."""
        ending, *other = sorted(ends - NOT_LOG)
        *lines, torn = (folder / f"{place[1]}.seal").read_bytes().split(b"\n")
        self.note_if(torn, "torn_line")
        items = [parse_line(raw) for raw in lines]
        blocks = [item for item in items if item["kind"] == "block"]
        sealed = blocks[-1]["offset"] + blocks[-1]["bytes"] if blocks else 0
        data, more = content(folder / f"{place[1]}.{ending}", sealed)
        need(not other and (last or (lines and not torn)) and (not lines or lines[0].startswith(b"epoch ")))
        self.offset = 0
        for item in items:
            self.line(item, place, data)
        closed = self.epochs and self.epochs[-1]["ended"] == "close"
        need(not more or (lines and last and ending == "log" and not closed))
        need("unsealed" not in ends or not closed)
        self.note_if("unsealed" in ends, "unsealed_bytes")

    def line(self, line: Line, place: Place, data: bytes) -> None:
        """[13.4]."""
        if line["kind"] == "note":
            self.notes.append((self.size, line["raw"]))
            return
        if line["kind"] == "epoch":
            self.begin(line, *place)
        head, leaf, odd = self.epochs[-1], sha(b"\x00", line["payload"]), self.size
        need(line["index"] == self.size and not head["ended"])
        if self.key:
            need(line["mac"] == mac(self.key, b"epochseal/v1/tag", self.tag, leaf))
            self.key = mac(self.key, b"epochseal/v1/next\x01")
        self.tags[self.size] = self.tag = line["mac"]
        while odd & 1:  # [7.4]
            leaf, odd = sha(b"\x01", self.frontier.pop(), leaf), odd >> 1
        self.frontier, self.size = [*self.frontier, leaf], self.size + 1
        if line["kind"] == "block":
            stored = data[self.offset : self.offset + line["bytes"]]
            need((line["first"], line["offset"], line["bytes"]) == (self.entries, self.offset, len(stored)))
            need(sha(stored) == line["digest"] and stored[-1:] in {b"", b"\n"})
            self.entries, self.offset = self.entries + line["count"], self.offset + line["bytes"]
            sums = zip(head["sums"], (line["count"], line["bytes"], 1), strict=True)
            self.time, head["sums"] = line["time"], [sum(pair) for pair in sums]
        self.prunes += [line] if line["kind"] == "prune" else []
        self.signable |= {self.size: root_of(self.frontier)} if line["kind"] in {"epoch", "end"} else {}
        if line["kind"] == "rotate":
            self.rotates.append(line | {"head": head})
            self.retired ^= self.retired & {line["new"]} | {line["old"]} - self.retired
        if line["kind"] == "end":
            head["until"] = self.size
            need([line["entries"], line["bytes"]] == head["sums"][:2])
            head["ended"] = line["reason"]
            self.carry = mac(self.key, b"epochseal/v1/carry\x01") if self.key else b""

    def begin(self, head: Line, segment: int, stem: str) -> None:
        """[13.5] and the keys of [13.4]; from here on the chain goes on from what this epoch line says."""
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(min(head["time"] // 1000, 253402300799)))
        opens = not self.epochs or self.epochs[-1]["segment"] != segment
        need(head["segment"] == segment and (not opens or stem == f"{segment:06}-{when}"))
        if self.epochs:
            before = self.epochs[-1]
            link, ended, line = head["link"], before["ended"], head["asked"]["line"]
            goes_on = (before["origin"], before["log"], before["epoch"] + 1, self.entries, self.size)
            need(goes_on == tuple(head[key] for key in ("origin", "log", "epoch", "first_entry", "index")))
            need((head["frontier"], b64(head["prev"])) == (self.frontier, self.tag))
            need(link == "cold" or (ended and link == "carry") or (ended == "close" and link == "reopen"))
            asked = self.tags.get(line) == b64(head["asked"]["tag"])
            need(asked and (link == "carry" or line == self.size - 1))
            self.note_if(link == "cold", "cold_start")
        self.size, self.frontier, self.entries = head["index"], [*head["frontier"]], head["first_entry"]
        carried, self.carry, self.key, self.tags = self.carry, b"", b"", {}
        self.tag, self.time = b64(head["prev"]), head["time"]
        self.epochs.append(head | {"sums": [0, 0, 0], "ended": ""})
        self.note_if(head["key"] in self.retired, "key_retired")
        self.note_if(self.private and head["key"] not in self.private, "unknown_key")
        if head["key"] not in self.private:
            return
        start = f"log={head['origin']};".encode()  # [6.1]
        place = f"id={head['log']};epoch={head['epoch']};prev={head['asked']['tag']}".encode()
        context = start + b";" * (-len(start) % 3) + place
        secret, carry = recover(self.private[head["key"]], b64(head["wrapped"]), context), bytes(32)
        if head["link"] == "carry":
            sealing = mac(mac(bytes(32), secret), b"epochseal/v1/carry-seal", sha(context), b"\x01")
            carry = AESGCM(sealing).decrypt(bytes(12), b64(head["carry"]), context)
        need(len(secret) == 32 and (head["link"] != "carry" or carried in {b"", carry}))
        self.key = mac(mac(b"epochseal/v1/epoch", secret, carry), sha(head["payload"]), b"\x01")

    def checkpoints(self, checkpoint: bytes | None) -> None:
        """[13.6]: the notes and the file."""
        first: Line = self.epochs[0] if self.epochs else {"origin": "", "index": 0, "frontier": []}
        origin, oldest, highest, name = first["origin"], first["index"], 0, self.expected or first["origin"]
        self.signable |= {oldest: root_of(first["frontier"])} if oldest else {}
        notes = [*self.notes, *([(MAX, checkpoint)] if checkpoint is not None else [])]
        lines = [line for line in self.rotates if line["key"] == "checkpoint"]
        for line in lines:
            fits = {item for item, _, _ in line["keys"]} == {name}
            line["endorsed"] = fits and any(endorses(raw, name, line, self.signable) for _, raw in notes)
        if self.public and name:
            self.known = known_keys(self.public, name, [line for line in lines if line["endorsed"]])
        for place, raw in notes:
            size = read_note(raw, "", [])[1]
            keys = [key for key, bound, _ in self.known.values() if size <= bound]
            theirs, size, root, known = read_note(raw, name, keys)
            need(origin in {"", theirs})
            passed = is_passed_over(raw, name, size, self.known)
            self.note_if(self.public and name and not known and not passed, "unknown_key")
            if known or not (self.public and name):
                need(size < oldest or self.signable.get(size) == root)
                need(place == MAX or highest <= size <= place)
                highest, self.valid = max(highest, size), self.valid | ({size} if known else set())

    def counted(self, lines: list[Line]) -> list[Line]:
        """Of lines about the log itself those that count: in public mode, what is signed."""
        return [line for line in lines if self.private or line["index"] < max(self.valid)]

    def judge(self, limit: int) -> int:
        """[13.6] who began the chains, [13.7] and [13.8]; the number of the last segment that has expired."""
        first, last, signed, age = self.epochs[0], self.epochs[-1], max(self.valid), self.now - self.time
        for head in self.epochs:
            size, begins = head["index"], head["link"] != "carry"
            self.note_if((begins or head is first) and signed <= size, "start_unsigned")
            self.note_if(begins and head["sums"][2] and size + 1 not in self.valid, "start_unsigned")
            closing = head["link"] == "reopen" and head is not first and size not in self.valid
            self.note_if(closing and not self.private, "close_unsigned")
        for line in [line for line in self.rotates if "compromised" in line]:
            old, new = (item in self.known for item in line["ids"])
            early = line["from_size"] < line["index"]
            self.note_if(old and not new, "key_compromised")
            self.note_if(not self.private and old and new and early and line["endorsed"], "key_compromised")
            self.note_if(self.private and is_compromised(line, self.epochs, self.size), "key_compromised")
        self.note_if(self.expected not in {"", first["origin"]}, "wrong_origin")
        prune: Line = max(
            self.counted(self.prunes), key=lambda line: int(line["segment"]), default={"segment": -1}
        )
        early = prune["segment"] < first["segment"] - 1 or first["time"] + first["retention"] > self.now
        self.note_if(first["epoch"] and early, "prefix_missing")
        if first["epoch"] and not early and prune["segment"] == first["segment"] - 1:
            need((prune["tree_size"], b64(prune["root"])) == (first["index"], root_of(first["frontier"])))
            need((prune["entries"], prune["epoch"]) == (first["first_entry"], first["epoch"] - 1))
        self.note_if(not last["ended"] and age > (3 * last["heartbeat"] if limit < 0 else limit), "open_end")
        self.note_if(last["ended"] not in {"", "close"}, "next_epoch_missing")
        self.note_if(last["ended"] == "close" and self.public and signed < self.size, "close_unsigned")
        self.note_if(age < -120_000, "future_time")
        for head in [head for head in self.epochs if head["index"] < signed < self.size][-1:]:
            self.note_if(self.now - head["time"] > head["interval"] + head["max_overdue"], "unsigned_tail")
        return int(prune["segment"])


def verify(
    log: Path,
    keys: Maybe | list[Path],
    public: Maybe,
    now: int,
    *,
    origin: str = "",
    age: int = -1,
    strict: bool = False,
) -> tuple[str, int, set[str]]:
    """Verdict, exit status and kinds of problems (of class tampered none) of the log in a folder.

    `keys` is a folder with `epoch.key` or several (None: public mode), `public` a checkpoint key, `now` ms.
    The rest is optional: the origin expected, the greatest age of an open end (ms; -1: 13.8), and strict.
    """
    folders = [keys] if isinstance(keys, Path) else keys or []
    private = [
        serialization.load_pem_private_key((path / "epoch.key").read_bytes(), None) for path in folders
    ]
    signer = public and serialization.load_pem_public_key(public.read_bytes())
    assert isinstance(signer, PublicKey | None)  # for the type
    run = Verifier([key for key in private if isinstance(key, PrivateKey)], signer, origin, now)
    try:
        run.read(log, age, strict=strict)
        passed = "incomplete" if run.kinds else "verified" if run.epochs else "empty"
        verdict = "untrusted" if run.kinds & UNTRUSTED else passed
    except (ValueError, InvalidTag, InvalidSignature, zlib.error):
        verdict = "tampered"
    except OSError:
        verdict = "no verdict"
    return verdict, STATUS[verdict], run.kinds


if __name__ == "__main__":
    given = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    folders = [Path(given[key]) if key in given else None for key in ("--epoch-key", "--checkpoint-key")]
    signer = folders[1] and folders[1] / "checkpoint.pub"
    found = verify(Path(sys.argv[1]), folders[0], signer, int(given.get("--now", time.time_ns() // 10**6)))
    sys.exit(sys.stdout.write(" ".join([found[0], *sorted(found[2])]) + "\n") and found[1])
