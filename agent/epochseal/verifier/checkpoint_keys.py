"""Which checkpoint keys a log went through, and how far each is believed (docs/format.md, 8.8 and 13.6).

From the key that the operator named the verifier goes on to later ones by the signatures of the old key, and
back to earlier ones by those of the new key, over any number of rotations.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from epochseal.encoding import MAX_INT
from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import (
    Checkpoint,
    Note,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_note,
)
from epochseal.verifier.joined_log import JoinedLog, RotateLine

_Waiting = dict[tuple[int, bytes, bytes], deque["Rotation"]]
"""Lines that are not endorsed yet, in order: by their run and the ids of the keys that must sign."""


@dataclass(slots=True)
class Rotation:
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


def find_rotations(log: JoinedLog, notes: Iterable[bytes], name: str) -> list[Rotation]:
    """The changes of keys called `name`, in order, each with what endorses it among these notes."""
    rotations = []
    for line in log.rotates:
        if line.body.key == "checkpoint":
            old, new = parse_vkey(line.body.old), parse_vkey(line.body.new)
            if {old.name, new.name} == {name}:
                rotations.append(Rotation(line, old, new))
    waiting: _Waiting = defaultdict(deque)
    latest: dict[tuple[int, VerifierKey, VerifierKey], Rotation] = {}
    for item in rotations:
        run = id(item.line.epoch.run)
        if (before := latest.get((run, item.old, item.new))) is not None:
            before.until = item.line.index
        latest[run, item.old, item.new] = item
        waiting[run, item.new.key_id, b"" if item.compromised else item.old.key_id].append(item)
    if rotations:
        for checkpoint, note in sorted(_parsed(notes), key=lambda pair: pair[0].size):
            _endorse(log, checkpoint, note, waiting)
    return rotations


def _parsed(notes: Iterable[bytes]) -> Iterator[tuple[Checkpoint, Note]]:
    for raw in notes:
        with suppress(FormatError):
            note = parse_note(raw)
            yield parse_checkpoint(note.text), note


def _endorse(log: JoinedLog, checkpoint: Checkpoint, note: Note, waiting: _Waiting) -> None:
    at = log.signable.get(checkpoint.size)
    if at is None or not at.vouches or at.root != checkpoint.root:
        return
    ids = dict.fromkeys(signature.key_id for signature in note.signatures)
    for new, old in product(ids, (b"", *ids)):
        lines = waiting.get((id(at.run), new, old), ())
        while lines and lines[0].line.index < checkpoint.size:
            if lines[0].until < checkpoint.size:
                lines.popleft()
            elif _endorses(note, checkpoint, lines[0]):
                lines.popleft().endorsed = checkpoint.size
            else:
                break


def _endorses(note: Note, checkpoint: Checkpoint, item: Rotation) -> bool:
    needed = {item.new} if item.compromised else {item.old, item.new}
    try:
        return checkpoint.origin == item.new.name and set(verify_note(note, needed)) == needed
    except VerificationError:
        return False


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
        self._replaced: dict[VerifierKey, int] = {}
        endorsed = [item for item in rotations if item.endorsed]
        for item in endorsed:
            if item.old != self.current:
                continue
            # Whoever stole a key would endorse a key of their own: only the operator says what follows.
            if item.compromised or self._is_known(item.new) or not may_lead(item):
                break
            self.bounds |= {item.old: item.line.body.from_size, item.new: MAX_INT}
            self.current = item.new
        oldest = named
        for item in reversed(endorsed):
            if item.new == oldest and item.endorsed <= self.bounds[oldest] and not self._is_known(item.old):
                self.bounds[item.old] = item.line.body.from_size
                self._replaced[item.old] = item.line.index
                oldest = item.old

    def keys_for(self, size: int) -> list[VerifierKey]:
        """The keys that a checkpoint of this size may be signed by."""
        return [key for key, bound in self.bounds.items() if size <= bound]

    def passes_over(self, note: Note, size: int) -> bool:
        """Whether a checkpoint says nothing either way: the old key signed it while a thief had it too."""
        keys = [key for key, index in self._replaced.items() if self.bounds[key] < size <= index]
        try:
            return bool(verify_note(note, keys))
        except VerificationError:
            return False

    def explain(self, size: int) -> str:
        """Which keys are known and count for less than `size`."""
        old = (f"{key.name}+{key.key_id.hex()}" for key, bound in self.bounds.items() if bound < size)
        return "".join(f"; {name} was replaced before" for name in old)

    def _is_known(self, key: VerifierKey) -> bool:
        return any((key.name, key.key_id) == (known.name, known.key_id) for known in self.bounds)
