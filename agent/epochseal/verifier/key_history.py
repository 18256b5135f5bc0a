"""Which keys a log went through, and how far each is believed (docs/format.md, sections 5.7 and 13.6).

From the checkpoint key that the operator named the verifier goes on to later ones by the signatures of the
old key, and back to earlier ones by those of the new key, over any number of rotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from epochseal.encoding import MAX_INT
from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import (
    Note,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_note,
)
from epochseal.format.seal_lines import Header, Rotate


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: segment, its first entry, epoch, and the number of the next entry there."""

    segment: int
    base: int
    epoch: int
    entry: int


@dataclass(slots=True)
class Rotation:
    """A rotate line; `end_size` is the tree size after the `end` of its epoch, 0 where it has none.

    `endorsed`: a checkpoint of that size is signed by the new key and, unless the old one is called
    compromised, by the old one too. A change of the epoch key needs no endorsement.
    """

    index: int
    body: Rotate
    end_size: int
    place: Place
    endorsed: bool = False


class Signers:
    """The checkpoint keys that are believed: each alone for checkpoints up to a tree size, its bound."""

    def __init__(self, named: VerifierKey) -> None:
        self.current = named
        self.bounds = {named: MAX_INT}
        self._named = named
        self._replaced: dict[VerifierKey, int] = {}

    def follow(self, rotations: Sequence[Rotation]) -> None:
        """Take in the keys before and after the named one, as endorsed rotations lead to them."""
        endorsed = [
            (parse_vkey(item.body.old), parse_vkey(item.body.new), item)
            for item in rotations
            if item.body.key == "checkpoint" and item.endorsed
        ]
        for old, new, item in endorsed:
            if old != self.current:
                continue
            # A thief of the old key could endorse a key of their own, so after a compromise nothing is
            # followed: the operator has to name the next key.
            if item.body.compromised or self._is_known(new):
                break
            self.bounds |= {old: item.body.from_size, new: MAX_INT}
            self.current = new
        oldest = self._named
        for old, new, item in reversed(endorsed):
            if new == oldest and item.end_size <= self.bounds[new] and not self._is_known(old):
                self.bounds[old] = item.body.from_size
                self._replaced[old] = item.index
                oldest = old

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


def find_endorsed(
    rotations: Iterable[Rotation], notes: Iterable[bytes], roots: Mapping[int, tuple[bytes, int]], name: str
) -> None:
    """Mark the rotations of checkpoint keys called `name` that a checkpoint right behind them endorses."""
    waiting = [
        item
        for item in rotations
        if item.body.key == "checkpoint" and item.end_size in roots and _names(item.body) == {name}
    ]
    sizes = {b"%d" % item.end_size for item in waiting}
    for raw in notes if waiting else ():
        if len(head := raw.split(b"\n", 2)) == 3 and head[1] in sizes:  # noqa: PLR2004  # origin, size, the rest
            for item in waiting:
                item.endorsed = item.endorsed or _endorses(raw, item, roots[item.end_size][0])


def _names(body: Rotate) -> set[str]:
    return {parse_vkey(text).name for text in (body.old, body.new)}


def _endorses(raw: bytes, rotation: Rotation, root: bytes) -> bool:
    body = rotation.body
    needed = [body.new] if body.compromised else [body.old, body.new]
    keys = [parse_vkey(text) for text in needed]
    try:
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
        signed = verify_note(note, keys)
    except (FormatError, UnknownKey, VerificationError):
        return False
    stated = (checkpoint.origin, checkpoint.size, checkpoint.root)
    return stated == (keys[0].name, rotation.end_size, root) and set(signed) == set(keys)


@dataclass(frozen=True, slots=True)
class KeyRun:
    """Epochs in a row with one epoch key: tree sizes `start` to `stop`, and their last entry."""

    key: str
    start: int
    stop: int
    place: Place
    last_entry: int


@dataclass(slots=True)
class EpochKeys:
    """What the headers say of epoch keys, in order; `retired` are those that rotate lines have replaced."""

    runs: list[KeyRun] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)

    def add_epoch(
        self, header: Header, place: Place, stop: tuple[int, int], rotates: Iterable[Rotate]
    ) -> bool:
        """Take an epoch, up to a tree size and its last entry; whether its key had been replaced before."""
        retired = header.key in self.retired
        last = self.runs[-1] if self.runs else None
        if last is not None and last.key == header.key:
            self.runs[-1] = KeyRun(last.key, last.start, stop[0], last.place, stop[1])
        else:
            self.runs.append(KeyRun(header.key, header.tree.size, stop[0], place, stop[1]))
        for body in rotates:
            if body.key == "epoch":
                self.retired = (self.retired | {body.old}) - {body.new}
        return retired

    def unrecorded(self, rotations: Sequence[Rotation]) -> list[tuple[KeyRun, KeyRun]]:
        """The changes of the key that no rotate line speaks of, before the next change or after the last."""
        recorded = [item for item in rotations if item.body.key == "epoch"]
        return [
            (before, after)
            for before, after in zip(self.runs, self.runs[1:], strict=False)
            if not any(
                (item.body.old, item.body.new) == (before.key, after.key)
                and before.start <= item.index < after.stop
                for item in recorded
            )
        ]

    def compromised(self, rotations: Sequence[Rotation]) -> list[tuple[KeyRun, Rotation]]:
        """Runs of a key from a size on at which somebody else had it, as a rotate line says."""
        return [
            (run, item)
            for item in rotations
            if item.body.key == "epoch" and item.body.compromised
            for run in self.runs
            if run.key == item.body.old
            and run.start < item.index
            and item.body.from_size < min(run.stop, item.index)
        ]
