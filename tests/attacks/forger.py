"""Writes on, or writes anew, a log that somebody else sealed: the reference's maker in the hands of a thief.

What they hold says what comes out. Without a way to the secrets tags are random bytes; without the signing
key there are no notes; without the carry no epoch is begun that any verifier with keys takes for the next.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.attacks.access import Access, signed_note
from tests.attacks.dump import Dump
from tests.reference.keys import Keys, text
from tests.reference.maker import Maker, Pace, Secret, dump
from tests.reference.notes import Line, b64, parse_line, sha
from tests.reference.trust import log_id_of, root_of
from tests.reference.verifier import append_leaf, context_of, mac, sealing_key

Change = Callable[[int, bytes], bytes]
"""Gets the number of an entry and the entry; gives the entry that shall stand there."""


class Forger(Maker):
    """A writer whose secrets and signatures come from stolen access, if there is any.

    Args:
        path: the log directory.
        issues: access that has secrets issued; the public half of a wrapping key is enough where one exists.
        signs: access that signs; None signs nothing.
        knows: whether the keys of the lines are known. Otherwise the tags are random.
    """

    def __init__(
        self,
        path: Path,
        origin: str,
        issues: Access | None,
        signs: Access | None = None,
        *,
        knows: bool = True,
    ) -> None:
        super().__init__(path, Keys(path / "no keys of the reference"))
        self.origin, self.issues, self.access, self.knows = origin, issues, signs, knows
        self.tags = dict[int, bytes]()
        self.head: Line = {}

    @classmethod
    def after(
        cls,
        path: Path,
        issues: Access | None,
        signs: Access | None = None,
        *,
        recovers: Access | None = None,
        dump: Dump | None = None,
    ) -> Self:
        """Whoever goes on behind the last line.

        `recovers` is a verifier's access, by which the key there and the carry become known. `dump` is of the
        agent's memory in the epoch of the last line, and gives the same.
        """
        lines = read_lines(path)
        forger = cls(path, lines[0]["origin"], issues, signs)
        for line in lines:
            forger._take(dump)
            forger.follow(line, recovers)
        forger._take(dump)
        forger.stem = max((path / "segments").glob("*.seal")).stem
        return forger

    def _take(self, dump: Dump | None) -> None:
        if dump is not None and self.size == dump.state.size:
            self.key = dump.key

    def follow(self, line: Line, recovers: Access | None = None) -> None:
        """Take over the state behind a line that stands in the log."""
        if line["kind"] == "epoch":
            self._follow_epoch(line, recovers)
        elif line["kind"] == "block":
            self.entries, self.offset = line["first"] + line["count"], line["offset"] + line["bytes"]
            self.sums = self.sums[0] + line["count"], self.sums[1] + line["bytes"]
            self.time = line["time"]
        self.key = mac(self.key, b"epochseal/v1/next\x01")
        self.tag = self.tags[line["index"]] = line["mac"]
        self._grow(line["leaf"], line["payload"].decode())
        if line["kind"] == "epoch" and line["epoch"] == 0:
            self.log = b64(log_id_of(line))
        if line["kind"] == "end":
            self.carry = mac(self.key, b"epochseal/v1/carry\x01")

    def _follow_epoch(self, head: Line, recovers: Access | None) -> None:
        if self.size == 0:
            self.size, self.frontier, self.log = head["index"], [*head["frontier"]], b64(head["log"])
            self.roots[self.size] = root_of(self.frontier)
        if head["segment"] != self.segment:
            self.offset = 0
        self.epoch, self.segment, self.head, self.time = head["epoch"], head["segment"], head, head["time"]
        self.run = head["index"] if head["link"] != "carry" else self.run
        self.entries, self.sums, self.announced = head["first_entry"], (0, 0), None
        self.pace = Pace(head["heartbeat"], head["interval"], head["max_overdue"], head["retention"])
        if recovers is None:
            return
        secret, self.carry = recovers.recover(head), bytes(32)
        if head["link"] == "carry":
            context = context_of(head)
            self.carry = AESGCM(sealing_key(secret, context)).decrypt(bytes(12), b64(head["carry"]), context)
        extracted = mac(b"epochseal/v1/epoch", secret, self.carry)
        self.key = mac(extracted, sha(head["payload"]), b"\x01")

    def ask(self, secret: bytes = b"", *, asked: tuple[int, bytes] | None = None) -> Secret:
        """A secret from the backend; one of the thief's own making where it has no access."""
        line, tag = asked = asked or (max(self.size - 1, 0), self.tag)
        head = {"origin": self.origin, "log": text(self.log), "epoch": self.epoch + 1}
        if self.issues is None:
            return Secret(secret or os.urandom(32), self.epoch + 1, asked, os.urandom(80), self.head["key"])
        plain, wrapped, key = self.issues.issue(head | {"asked": {"line": line, "tag": text(tag)}})
        return Secret(plain, self.epoch + 1, asked, wrapped, key)

    def note(self, *others: Any, size: int = -1) -> Self:  # noqa: ANN401  # Access, where the maker has Keys
        """A note where the thief can sign, with each of these too; nothing otherwise."""
        if self.access is not None:
            size = self.size if size < 0 else size
            self.put_note(signed_note(self.origin, size, self.roots[size], self.access, *others))
        return self

    def put_note(self, raw: bytes) -> None:
        """A note line, and the file `checkpoint`."""
        self._append("seal", b"note " + base64.b64encode(raw) + b"\n")
        (self.path / "checkpoint").write_bytes(raw)

    def pretend(self, lines: int, entries: int) -> Self:
        """Go on as if so many lines and entries had been there, which nobody has."""
        for _ in range(lines):
            self._grow(os.urandom(32), "")
        self.tag, self.carry, self.entries = os.urandom(32), os.urandom(32), entries
        return self

    def take_over(self, old: Access, new: Access) -> Self:
        """Name another checkpoint key, and have both sign that."""
        body = {"key": "checkpoint", "old": old.vkey(self.origin), "new": new.vkey(self.origin)}
        more = {"from_size": self.size, "who": "root", "why": "yearly", "time": self._tick()}
        self.line("rotate", dump(body | more)).sign()
        self.access = new
        return self.note(old)

    def _seal(self, payload: str) -> bytes:
        if not self.knows:
            self.key = os.urandom(32)
        leaf = super()._seal(payload)
        self.tags[self.size - 1] = self.tag
        return leaf

    def _grow(self, leaf: bytes, payload: str) -> None:
        append_leaf(self.frontier, self.size, leaf)
        self.size += 1
        self.roots[self.size] = root_of(self.frontier)
        if payload.startswith(("epoch ", "sign ")) or '{"reason":"close"' in payload:
            self.signable.append(self.size)


def read_lines(path: Path) -> list[Line]:
    """All tagged lines of a log, in order."""
    return [line for seal in _seals(path) for line in map(parse_line, _raws(seal)) if line["kind"] != "note"]


def cut_back(path: Path, size: int) -> None:
    """Take away every line from index `size` on, the entries and files that go with them, and later notes."""
    checkpoint = b""
    for seal in _seals(path):
        kept, length = list[bytes](), 0
        for raw in _raws(seal):
            line = parse_line(raw)
            if line["kind"] == "note":
                if int(line["raw"].split(b"\n")[1]) <= size:
                    kept.append(raw)
                    checkpoint = line["raw"]
            elif line["index"] < size:
                kept.append(raw)
                length = line["offset"] + line["bytes"] if line["kind"] == "block" else length
        if not any(not raw.startswith(b"note ") for raw in kept):
            seal.unlink()
            seal.with_suffix(".log").unlink()
            continue
        seal.write_bytes(b"".join(raw + b"\n" for raw in kept))
        os.truncate(seal.with_suffix(".log"), length)
    (path / "checkpoint").unlink(missing_ok=True)
    if checkpoint:
        (path / "checkpoint").write_bytes(checkpoint)


def rewrite(
    path: Path,
    change: Change,
    *,
    issues: Access | None = None,
    recovers: Access | None = None,
    first: int = 1,
    close: bool = True,
) -> None:
    """Write a log anew from line `first` on, with other entries, and drop every note over what is new.

    With access that `issues` and access that `recovers` every tag, carry and announcement is right; with none
    the tags are random. `close` keeps the `end` of a clean close.
    """
    lines, old = read_lines(path), path.with_name("rewritten")
    shutil.copytree(path, old)
    contents = {
        parse_line(_raws(seal)[0])["segment"]: seal.with_suffix(".log").read_bytes() for seal in _seals(old)
    }
    cut_back(path, first)
    forger = Forger(path, lines[0]["origin"], issues, knows=recovers is not None)
    for line in lines[:first]:
        forger.follow(line, recovers)
    forger.stem = max((path / "segments").glob("*.seal")).stem
    heads = [line for line in lines if line["kind"] == "epoch"]
    for line in lines[first:]:
        if line["kind"] != "end" or line["reason"] != "close" or close:
            _write_again(forger, line, heads[min(forger.epoch + 1, len(heads) - 1)], contents, change)
    shutil.rmtree(old)


def _write_again(
    forger: Forger, line: Line, coming: Line, contents: dict[int, bytes], change: Change
) -> None:
    if line["kind"] == "epoch":
        _begin_again(forger, line)
    elif line["kind"] == "block":
        place = slice(line["offset"], line["offset"] + line["bytes"])
        entries = contents[forger.segment][place].splitlines(keepends=True)
        changed = [change(number, entry) for number, entry in enumerate(entries, line["first"])]
        forger.block(*changed, source=line.get("src"), time=line["time"])
    elif line["kind"] == "sign":
        forger.sign(_secret_again(forger, coming) if "next" in line else None)
    elif line["kind"] == "end":
        forger.end(line["reason"])
    else:
        raise ValueError(f"a log with a {line['kind']} line is not written again here")


def _secret_again(forger: Forger, head: Line) -> Secret:
    """The secret of an epoch to come: of its old wrapped form, unless another tag is quoted by now."""
    asked = head["asked"]["line"], forger.tags[head["asked"]["line"]]
    if forger.issues is not None:
        return forger.ask(asked=asked)
    return Secret(os.urandom(32), head["epoch"], asked, b64(head["wrapped"]), head["key"])


def _begin_again(forger: Forger, head: Line) -> None:
    kept = ("heartbeat", "interval", "max_overdue", "retention", "abandoned", "time")
    forger.head, forger.time = head, head["time"] - 100
    if forger.announced is None:
        forger.announced = _secret_again(forger, head)
    forger.begin(
        head["link"],
        forger.announced,
        segment=head["segment"] != forger.segment,
        edit=lambda made: made.update({key: head[key] for key in kept}),
        signed=False,
    )


def _seals(path: Path) -> list[Path]:
    return sorted((path / "segments").glob("*.seal"))


def _raws(seal: Path) -> list[bytes]:
    return seal.read_bytes().split(b"\n")[:-1]
