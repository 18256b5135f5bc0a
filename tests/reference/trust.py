"""What a log that was read is worth: keys, checkpoints, runs, pins; numbers in brackets are sections."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby, pairwise

from tests.reference.notes import MAX, Line, PublicKey, b64, key_id, need, read_note, sha, signers

Known = dict[bytes, tuple[PublicKey, int, int]]
"""By id: key, bound, and for keys reached backwards the INDEX of the line that replaced them, else 0."""


def root_of(frontier: list[bytes]) -> bytes:
    """[7.4]."""
    return reduce(lambda root, left: sha(b"\x01", left, root), frontier[-2::-1], *frontier[-1:] or [sha()])


def log_id_of(first: Line) -> str:
    """[5.11]: the id of the log that a line with index 0 began."""
    return base64.b64encode(sha(b"epochseal/v1/log", first["leaf"])).decode()


@dataclass
class Pins:
    """[13.8]: what somebody remembers of a log; a size of 0 is no checkpoint.

    Ids and vkeys are texts, leaves and the root bytes.
    """

    origin: str
    log: str
    key: PublicKey
    size: int
    root: bytes
    wrapping: set[str] = field(default_factory=set)
    accepted: set[bytes] = field(default_factory=set)
    checkpoint_keys: set[str] = field(default_factory=set)
    promises: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class Given:
    """[13.1], but for the keys that recover secrets: `keyed` is keys mode; "" and -1 stand for none."""

    keyed: bool
    public: PublicKey | None
    now: int
    origin: str = ""
    log: str = ""
    age: int = -1
    strict: bool = False
    pins: Pins | None = None


@dataclass
class Chain:
    """What was read.

    `notes`: each with the size of the tree in front of it; `short`: the indices of blocks that end behind the
    end of the log file; `aside`: number of the segment and kind, for each file of bytes that were set aside.
    """

    epochs: list[Line] = field(default_factory=list)
    notes: list[tuple[int, bytes]] = field(default_factory=list)
    short: list[int] = field(default_factory=list)
    aside: list[tuple[int, str]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    size: int = 0
    entries: int = 0
    time: int = 0


class Judge:
    """13.5 (runs) to 13.11, over a chain that is whole."""

    def __init__(self, chain: Chain, given: Given) -> None:
        self.chain, self.given, self.kinds, self.pins = chain, given, chain.kinds, given.pins
        self.epochs = chain.epochs
        self.lines = [line for head in self.epochs for line in head["lines"]]
        self.rotates = [line for line in self.lines if line["kind"] == "rotate"]
        self.expected = given.origin or (self.pins.origin if self.pins else "")
        self.public = given.public or (self.pins.key if self.pins else None)
        self.name = self.expected or (self.epochs[0]["origin"] if self.epochs else "")
        self.accepted = self.pins.accepted if self.pins else set[bytes]()
        self.runs, self.last_leaves, self.valid = list[Line](), dict[int, Line](), set[int]()
        self.copied, self.any_valid, self.known = 0, False, Known()
        self.found = set[str]()  # by 13.8

    def note_if(self, holds: object, kind: str) -> None:
        """A problem that is not of class tampered."""
        self.kinds |= {kind} if holds else set()

    def judge(self) -> int:
        """Every rule; the number of the last segment that has expired."""
        self.find_runs()
        self.find_keys()
        self.checkpoints()
        self.expectations()
        for head in self.epochs:
            head["trusted"] = self.is_trusted(head)
        self.starts()
        self.pinned_keys()
        self.kinds |= self.found
        counted = [line for line in self.lines if self.counts(line)]
        self.rotations([line for line in counted if line["kind"] == "rotate"])
        prunes = [line for line in counted if line["kind"] == "prune"]
        prune: Line = max(prunes, key=lambda line: int(line["segment"]), default={"segment": -1})
        if self.epochs:
            self.beginning(prune, proven=not self.found)
            self.end()
        openers = {head["segment"]: head for head in reversed(self.epochs)}
        for segment, kind in self.chain.aside:  # [13.3], the last three rules
            if segment + 1 not in openers or openers[segment + 1]["leaf"] not in self.accepted:
                need(kind != "bad_unsealed")
                self.kinds.add(kind)
        return int(prune["segment"])

    def find_runs(self) -> None:
        """[13.5]."""
        for head in self.epochs:
            if head["link"] != "carry" or not self.runs:
                start = head["index"] if head["link"] != "carry" else None
                self.runs.append({"start": start, "epochs": [], "entries": 0, "top": 0, "vouched": 0})
            run = head["run"] = self.runs[-1]
            run["epochs"].append(head)
            run["entries"] += head["sums"][0]
            for line in [line for line in head["lines"] if line["above"]]:
                self.last_leaves[line["index"] + 1] = line
                if line["kind"] != "epoch":
                    need(run["start"] is not None or line["run"] < self.epochs[0]["index"])
                    run["start"] = line["run"] if run["start"] is None else run["start"]
                    need(line["run"] == run["start"])

    def endorsed(self, line: Line) -> int:
        """[8.8, 13.6]: the smallest checkpoint that makes a change of the key happen, or 0."""
        keys = [key for _, _, key in line["keys"]]["compromised" in line :]
        sizes, pair, run = [], (line["old"], line["new"]), line["head"]["run"]
        same = [o["index"] for o in self.rotates if (o["old"], o["new"]) == pair and o["head"]["run"] is run]
        until = min((index for index in same if index > line["index"]), default=MAX)
        for _, raw in self.chain.notes:
            _, size, root, _ = read_note(raw, "", [])
            leaf = self.last_leaves.get(size)
            fits = leaf and leaf["kind"] != "epoch" and leaf["head"]["run"] is run
            if leaf and fits and line["index"] < size <= until and root == leaf["above"]:
                done = signers(raw, self.name, keys) == {*line["ids"]["compromised" in line :]}
                sizes += [size] if done else []
        return min(sizes, default=0)

    def find_keys(self) -> None:
        """[13.6, 13.8]: known keys."""
        for line in self.rotates:
            fits = line["keys"] and {name for name, _, _ in line["keys"]} == {self.name}
            line["endorsed"] = self.endorsed(line) if fits else 0
        if self.public is None or not self.name:
            return
        self.known = self.keys_from(self.pins.key if self.pins else self.public)
        if self.pins and key_id(self.public, self.name) not in self.known:
            theirs = self.keys_from(self.public)
            speaks = key_id(self.pins.key, self.name) in theirs
            self.known = theirs if speaks else self.known
            self.found |= set() if speaks else {"unknown_key"}

    def keys_from(self, named: PublicKey) -> Known:
        """The keys that one leads to by endorsed lines."""
        lines = [line for line in self.rotates if line["endorsed"]]
        latest = oldest = key_id(named, self.name)
        known = {latest: (named, MAX, 0)}
        for line in lines:
            (_, old, old_key), (_, new, new_key) = line["keys"]
            if old == latest and ("compromised" in line or new in known or not self.leads_on(line)):
                break
            if old == latest:
                known |= {old: (old_key, line["from_size"], 0), new: (new_key, MAX, 0)}
                latest = new
        for line in reversed(lines):
            (_, old, old_key), (_, new, _) = line["keys"]
            if new == oldest and line["endorsed"] <= known[new][1] and old not in known:
                known[old], oldest = (old_key, line["from_size"], line["index"]), old
        return known

    def leads_on(self, line: Line) -> bool:
        """[13.8]: pins go forwards to what was accepted, or was sealed in the run that they know."""
        if not self.pins or line["new"] in self.pins.checkpoint_keys:
            return True
        return bool(line["holds"] and line["head"]["run"] is self.pinned_run())

    def pinned_run(self) -> Line | None:
        """[13.8]."""
        assert self.pins
        size, first = self.pins.size, self.epochs[0]
        if size == first["index"] and first["link"] == "carry":
            return self.runs[0]
        runs = [line["head"]["run"] for line in self.lines if line["index"] == size - 1]
        return runs[0] if runs else None

    def root_at(self, size: int) -> bytes | None:
        """[13.6]: the root at a signable size."""
        first = self.epochs[0] if self.epochs else None
        if first and first["epoch"] and size == first["index"]:
            return root_of(first["frontier"])
        return self.last_leaves[size]["above"] if size in self.last_leaves else None

    def checkpoints(self) -> None:
        """[13.6]: the notes and the file; then the blocks that a copy of the log file lacks [13.4]."""
        origin, oldest = (self.epochs[0]["origin"], self.epochs[0]["index"]) if self.epochs else ("", 0)
        highest = 0
        for place, raw in self.chain.notes:
            size = read_note(raw, "", [])[1]
            keys = [key for key, bound, _ in self.known.values() if size <= bound]
            theirs, size, root, signed = read_note(raw, self.name, keys)
            need(origin in {"", theirs})
            if self.known and not signed:
                passed = [key for key, bound, index in self.known.values() if bound < size <= index]
                self.note_if(not signers(raw, self.name, passed), "unknown_key")
                continue
            need(size <= self.chain.size)
            need(size < oldest or self.root_at(size) == root)
            need(place == MAX or highest <= size <= place)
            highest, self.copied = max(highest, size), size if place == MAX else 0
            if signed:
                self.any_valid = True
                self.take(size)
        need(all(index >= self.copied for index in self.chain.short))
        self.note_if(self.chain.short, "log_behind")

    def take(self, size: int) -> None:
        """A valid checkpoint: what it vouches for [8.5]."""
        if size in self.last_leaves:
            leaf = self.last_leaves[size]
            run = leaf["head"]["run"]
            self.valid.add(size)
            run["top"] = max(run["top"], size)
            run["vouched"] = max(run["vouched"], size if leaf["kind"] != "epoch" else 0)

    def expectations(self) -> None:
        """[13.8] up to the pinned checkpoint."""
        first, given, pins = self.epochs[0] if self.epochs else None, self.given, self.pins
        log = (first["log"] if first["epoch"] else log_id_of(first)) if first else ""
        told = {given.origin, pins.origin if pins else ""} - {""}
        self.found |= {"wrong_origin"} if first and told - {first["origin"]} else set()
        self.found |= {"wrong_log"} if first and given.log not in {"", log} else set()
        if not pins or (first and first["origin"] != pins.origin):
            return
        if first and log != pins.log:
            need(not self.any_valid)
            self.found.add("wrong_log")
            return
        if not pins.size:
            return
        need(self.chain.size >= pins.size)
        if first and pins.size < first["index"]:
            self.found |= {"trust_expired"} - ({"trust_expired"} if first["leaf"] in self.accepted else set())
            return
        need(self.root_at(pins.size) == pins.root)
        self.take(pins.size)

    def pinned_keys(self) -> None:
        """[13.8] behind the pinned checkpoint."""
        if not self.pins or not self.epochs:
            return
        for head in self.epochs:
            along = head["before"] and head["link"] == "carry" and head["before"]["moved"]
            if not self.given.keyed:
                along = along and head["trusted"] and head["run"] is self.pinned_run()
            head["moved"] = head["key"] in self.pins.wrapping or along
            self.found |= set() if head["moved"] else {"unknown_key"}
        first, now = self.epochs[0], self.given.now
        for kept, index, last in self.pins.promises:
            need(first["index"] <= index or min(last, first["time"]) + kept <= now)

    def is_trusted(self, head: Line) -> bool:
        """[13.7]."""
        if self.given.keyed and head["leaf"] in self.accepted:
            return True
        before, top = head["before"], head["run"]["top"]
        turned = head["link"] == "carry" and before and before["ended"] not in {"", "close"}
        signs = [line for line in before["lines"] if "next" in line] if turned else []
        digest = base64.b64encode(sha(b64(head["wrapped"]))).decode()
        if signs and signs[-1]["next"] != {"epoch": head["epoch"], "wrapped": digest}:
            return False
        return bool(top > head["index"] or (signs and top > signs[-1]["index"]))

    def starts(self) -> None:
        """[13.7]."""
        for run in self.runs:
            start = run["epochs"][0]
            known = start["leaf"] in self.accepted
            need("denies" not in start or known)
            if not run["entries"]:
                continue
            for head in run["epochs"]:
                kind = "epoch_unsigned" if head["link"] == "carry" else "start_unsigned"
                bare = head["resumes"] and len(head["lines"]) == 1
                self.note_if(not head["trusted"] and not bare, kind)
            self.note_if(start["link"] == "cold" and not known, "cold_start")
            if not self.given.keyed and run is not self.runs[-1]:
                blocks = [line for head in run["epochs"] for line in head["lines"] if line.get("count")]
                self.note_if(any(line["index"] >= run["vouched"] for line in blocks), "unvouched")

    def counts(self, line: Line) -> bool:
        """[13.7]."""
        vouched = line["index"] < line["head"]["run"]["vouched"]
        return bool(line["head"]["trusted"] and (vouched or line["holds"]))

    def rotations(self, lines: list[Line]) -> None:
        """[13.5, 13.9], of those lines that count."""
        keyed, retired, turns = (
            self.given.keyed,
            set[str](),
            [line for line in lines if line["key"] == "epoch"],
        )
        for head in self.epochs:
            self.note_if(head["key"] in retired, "key_retired")
            for line in [line for line in turns if line["head"] is head]:
                retired = {*retired, line["old"]} - {line["new"]}
        for line in [line for line in lines if "compromised" in line]:
            old, new = (item in self.known for item in line["ids"])
            early = line["from_size"] < line["index"]
            self.note_if(old and not new, "key_compromised")
            self.note_if(not keyed and old and new and early and line["endorsed"], "key_compromised")
            theirs = [one for one in self.lines if one["head"]["key"] == line["old"]]
            used = any(line["from_size"] <= one["index"] < line["index"] for one in theirs)
            self.note_if(keyed and line["key"] == "epoch" and used, "key_compromised")
        rows = [[*row] for _, row in groupby(self.epochs, lambda head: head["key"])]
        for olds, news in pairwise(rows):
            first, pair = olds[0]["index"], [olds[0]["key"], news[0]["key"]]
            told = any(
                line["ids"] == pair and first <= line["head"]["index"] <= news[-1]["index"] for line in turns
            )
            self.note_if(self.given.strict and not told, "rotation_strict")

    def beginning(self, prune: Line, *, proven: bool) -> None:
        """[11.2, 13.10]; `proven` is that 13.8 found nothing."""
        first, now = self.epochs[0], self.given.now
        if not first["epoch"]:
            return
        promised = [head["time"] + head["retention"] for head in self.epochs if head["trusted"]][:1]
        missing = prune["segment"] < first["segment"] - 1 or max(promised, default=MAX) > now
        self.note_if(missing, "prefix_missing")
        if not missing and prune["segment"] == first["segment"] - 1:
            root = base64.b64encode(root_of(first["frontier"])).decode()
            need((prune["tree_size"], prune["root"]) == (first["index"], root))
            need((prune["entries"], prune["epoch"]) == (first["first_entry"], first["epoch"] - 1))
        proven = first["leaf"] in self.accepted or bool(
            proven and self.pins and self.pins.size > first["index"]
        )
        self.note_if(self.given.log and not proven, "beginning_unproven")

    def end(self) -> None:
        """[13.11]."""
        last, given, age, signed = (
            self.epochs[-1],
            self.given,
            self.given.now - self.chain.time,
            max(self.valid, default=0),
        )
        limit = 3 * last["heartbeat"] if given.age < 0 else given.age
        self.note_if(not last["ended"] and age > limit, "open_end")
        self.note_if(last["ended"] not in {"", "close"}, "next_epoch_missing")
        self.note_if(age < -120_000, "future_time")
        unsigned = self.public and signed < self.chain.size
        self.note_if(last["ended"] == "close" and unsigned and last["run"]["entries"], "close_unsigned")
        under = [head for head in self.epochs if head["run"]["top"] > head["index"]]
        fixed = [head for head in self.epochs if head["trusted"]] if given.keyed else under
        busy = [run for run in self.runs if run["entries"]]
        if unsigned and fixed and busy and fixed[-1]["run"] is busy[-1]:
            head, spans = fixed[-1], 1 if given.keyed else 2
            late = given.now - head["time"] > spans * head["interval"] + head["max_overdue"]
            self.note_if(late, "unsigned_tail")
