"""Which checkpoint keys a log went through, and how far each is believed (docs/format.md, 8.8 and 13.6).

From the key that the operator named the verifier goes on to later ones by the signatures of the old key, and
back to earlier ones by those of the new key, over any number of rotations.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import msgspec

from epochseal.encoding import MAX_INT
from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import (
    Checkpoint,
    HeldSignatures,
    Note,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_note,
)
from epochseal.verifier.joined_log import JoinedLog, RotateLine

_Waiting = dict[int, dict[bytes, dict[bytes, deque["Rotation"]]]]
"""Lines that are not endorsed yet, in order: by run, and by the ids of the new and old key that must sign."""


class Rotation(msgspec.Struct):
    """A rotate line of two checkpoint keys with the name that notes are checked with.

    `endorsed` is the size of the smallest checkpoint that endorses it, 0 if there is none. One beyond `until`
    does not: another line of these two keys stands below it, since this one came to nothing.
    """

    line: RotateLine
    old: VerifierKey
    new: VerifierKey
    endorsed: int = 0
    until: int = MAX_INT

    @property
    def compromised(self) -> bool:
        """Whether somebody else may have had the old key."""
        return bool(self.line.body.compromised)


def find_rotations(log: JoinedLog, notes: Iterable[bytes], name: str, held: HeldSignatures) -> list[Rotation]:
    """The changes of keys called `name`, in order, each with what endorses it among these notes."""
    rotations = []
    for line in log.rotates:
        if line.body.key == "checkpoint":
            old, new = parse_vkey(line.body.old), parse_vkey(line.body.new)
            if {old.name, new.name} == {name}:
                rotations.append(Rotation(line, old, new))
    waiting: _Waiting = defaultdict(lambda: defaultdict(lambda: defaultdict(deque)))
    latest: dict[tuple[int, VerifierKey, VerifierKey], Rotation] = {}
    for item in rotations:
        run = id(item.line.epoch.run)
        if (before := latest.get((run, item.old, item.new))) is not None:
            before.until = item.line.index
        latest[run, item.old, item.new] = item
        waiting[run][item.new.key_id][b"" if item.compromised else item.old.key_id].append(item)
    if rotations:
        for checkpoint, note in sorted(_parsed(notes), key=lambda pair: pair[0].size):
            _endorse(log, checkpoint, _Signed(note, held), waiting)
    return rotations


def keys_named(log: JoinedLog) -> Iterator[VerifierKey]:
    """Every checkpoint key that a rotate line names, believed or not."""
    for line in log.rotates:
        if line.body.key == "checkpoint":
            yield from map(parse_vkey, (line.body.old, line.body.new))


def _parsed(notes: Iterable[bytes]) -> Iterator[tuple[Checkpoint, Note]]:
    for raw in notes:
        with suppress(FormatError):
            note = parse_note(raw)
            yield parse_checkpoint(note.text), note


def _endorse(log: JoinedLog, checkpoint: Checkpoint, signed: _Signed, waiting: _Waiting) -> None:
    at = log.signable.get(checkpoint.size)
    if at is None or not at.vouches or at.root != checkpoint.root:
        return
    by_new = waiting.get(id(at.run), {})
    ids = {signature.key_id for signature in signed.note.signatures}
    for new in sorted(ids & by_new.keys()):
        for old in sorted((ids | {b""}) & by_new[new].keys()):
            _endorse_lines(by_new[new][old], checkpoint, signed)


def _endorse_lines(lines: deque[Rotation], checkpoint: Checkpoint, signed: _Signed) -> None:
    while lines and lines[0].line.index < checkpoint.size:
        item = lines[0]
        if item.until >= checkpoint.size:
            needed = (item.new,) if item.compromised else (item.new, item.old)
            if checkpoint.origin != item.new.name or not all(map(signed.by, needed)):
                return
            item.endorsed = checkpoint.size
        lines.popleft()


class _Signed:
    """Who signed a note; each signature is verified once, however many lines ask for it."""

    def __init__(self, note: Note, held: HeldSignatures) -> None:
        self.note = note
        self._held = held
        self._known: dict[VerifierKey, bool] = {}

    def by(self, key: VerifierKey) -> bool:
        """Whether this key did, once, and the signature holds."""
        if key not in self._known:
            try:
                self._known[key] = bool(verify_note(self.note, (key,), self._held))
            except VerificationError:
                self._known[key] = False
        return self._known[key]


class KnownKeys:
    """The checkpoint keys that are believed: each alone for checkpoints up to a tree size, its bound.

    Args:
        named: the key that the operator named, or a memory pins.
        rotations: as `find_rotations` gives them.
        may_lead: whether a rotation may lead on to its new key; one that may not ends the way there.
    """

    def __init__(
        self, named: VerifierKey, rotations: list[Rotation], may_lead: Callable[[Rotation], bool]
    ) -> None:
        self.named = self.current = named
        self.bounds = {named: MAX_INT}
        self._by_id = {(named.name, named.key_id): named}
        self._replaced: dict[VerifierKey, int] = {}
        endorsed = [item for item in rotations if item.endorsed]
        for item in endorsed:
            if item.old != self.current:
                continue
            # Whoever stole a key would endorse a key of their own: only the operator says what follows.
            if item.compromised or self._is_known(item.new) or not may_lead(item):
                break
            self.bounds[item.old] = item.line.body.from_size
            self._add(item.new, MAX_INT)
            self.current = item.new
        oldest = named
        for item in reversed(endorsed):
            if item.new == oldest and item.endorsed <= self.bounds[oldest] and not self._is_known(item.old):
                self._add(item.old, item.line.body.from_size)
                self._replaced[item.old] = item.line.index
                oldest = item.old

    def keys_for(self, note: Note, size: int) -> list[VerifierKey]:
        """Of the keys that a checkpoint of this size may be signed by, those that this one names."""
        return [key for key in self._named_by(note) if size <= self.bounds[key]]

    def passes_over(self, note: Note, size: int) -> bool:
        """Whether a checkpoint says nothing either way: the old key signed it while a thief had it too."""
        keys = [key for key in self._named_by(note) if self.bounds[key] < size <= self._replaced.get(key, 0)]
        try:
            return bool(verify_note(note, keys))
        except VerificationError:
            return False

    def explain(self, note: Note, size: int) -> str:
        """Which keys are known, are named by a checkpoint of `size`, and count for less than that."""
        old = (f"{key.name}+{key.key_id.hex()}" for key in self._named_by(note) if self.bounds[key] < size)
        return "".join(f"; {name} was replaced before" for name in old)

    def _named_by(self, note: Note) -> list[VerifierKey]:
        """Of the known keys, however many there are, those that this note may have a signature of."""
        found = (self._by_id.get((item.name, item.key_id)) for item in note.signatures)
        return list(dict.fromkeys(filter(None, found)))

    def _is_known(self, key: VerifierKey) -> bool:
        return (key.name, key.key_id) in self._by_id

    def _add(self, key: VerifierKey, bound: int) -> None:
        self.bounds[key] = bound
        self._by_id[key.name, key.key_id] = key
