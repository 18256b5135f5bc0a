"""What is known of a log while its epochs are linked, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from epochseal.format.note import VerifierKey
from epochseal.format.seal_lines import Header, Prune
from epochseal.verifier.check_epoch import EpochResult
from epochseal.verifier.key_history import EpochKeys, Place, Rotation, Signers
from epochseal.verifier.problem_collector import ProblemCollector


@dataclass(frozen=True, slots=True)
class SealedNote:
    """A note of a seal file, with the number of lines before it and the place where it stands."""

    raw: bytes
    lines_before: int
    place: Place


class LinkedLog:
    """The epochs that were linked so far, and what the next one and the checkpoints are held against.

    Args:
        key: the checkpoint key that was named, in a trust file or by the operator; None if there is none.
        public: nobody gave an epoch key, so that only signatures show anything.
        beside: the checkpoint key that an operator named beside a trust file.

    Attributes:
        found: the problems and warnings.
        first: the first epoch line. `last`, `last_header`: the last epoch, and the last readable epoch line.
        roots: root and number of entries for each tree size at which a checkpoint may be signed.
        damaged_sizes: tree sizes from and to which an epoch has damaged lines.
        signed_size: the largest valid checkpoint, 0 for none; `signed_entries`, `signed_note`, `signed_by`:
            the entries that it covers, the note and the key.
        signed_sizes: the sizes of all valid checkpoints.
        unlinked: epochs that nothing carries into, each with its segment's first entry.
        closes: with a public key alone, tree size and entry of each close that a reopen follows.
        sign_by: from a tree size on, the time in ms by which a checkpoint of it is due.
    """

    def __init__(self, key: VerifierKey | None, *, public: bool, beside: VerifierKey | None = None) -> None:
        self.found = ProblemCollector()
        self.key = key
        self.signers = Signers(key) if key is not None else None
        self.beside = beside
        self.public = public
        self.first: Header | None = None
        self.last: EpochResult | None = None
        self.last_header: Header | None = None
        self.epochs = 0
        self.entries = 0
        self.bytes = 0
        self.roots: dict[int, tuple[bytes, int]] = {}
        self.damaged_sizes: list[tuple[int, int]] = []
        self.notes: list[SealedNote] = []
        self.mismatched = False
        self.signed_size = 0
        self.signed_entries = 0
        self.signed_note = b""
        self.signed_by = key
        self.signed_sizes: set[int] = set()
        self.unlinked: list[tuple[EpochResult, int]] = []
        self.closes: list[tuple[int, int]] = []
        self.prunes: list[tuple[int, Prune]] = []
        self.rotations: list[Rotation] = []
        self.epoch_keys = EpochKeys()
        self.sign_by: list[tuple[int, int]] = []

    @property
    def tree_size(self) -> int:
        """The number of lines that the last epoch ends with; 0 if there is none."""
        return self.last.tree.size if self.last is not None else 0

    @property
    def closed(self) -> bool:
        """Whether the last epoch ends with a clean close."""
        return self.last is not None and self.last.end is not None and self.last.end.reason == "close"

    @property
    def last_entry(self) -> int:
        """The last entry, for what concerns the whole log; 0 if there is none."""
        return max(self.entries - 1, 0)

    @property
    def known_keys(self) -> set[VerifierKey]:
        """The checkpoint keys that are believed, as endorsed rotations lead from one to the next."""
        return set(self.signers.bounds) if self.signers is not None else set()

    def stand_at(self, place: Place) -> None:
        """What is found next stands there."""
        self.found.stand_at(place.segment, place.base, place.epoch)

    def stand_at_end(self) -> None:
        """What is found next stands in the last epoch."""
        if self.last_header is not None:
            self.found.segment, self.found.epoch = self.last_header.segment, self.last_header.epoch

    def entries_at(self, size: int) -> int:
        """How many entries a tree of at most this size has, as far as that is known."""
        return max((entries for known, (_, entries) in self.roots.items() if known <= size), default=0)

    def is_damaged_before(self, size: int) -> bool:
        """Whether a line before this tree size was changed, so that the root there shows nothing more."""
        return any(start < size for start, _ in self.damaged_sizes)

    def sign_by_of(self, size: int) -> int:
        """By when the lines behind a checkpoint of this size should have been signed, in ms; 0 if unknown.

        The last epoch line under the checkpoint says it. Later ones are not signed: they could say anything.
        """
        return next((by for start, by in reversed(self.sign_by) if start < size), 0)

    def take_checkpoint(self, size: int, entries: int, note: bytes, key: VerifierKey | None) -> None:
        """A checkpoint whose signature holds and whose root is that of these lines."""
        self.signed_sizes.add(size)
        if size > self.signed_size:
            self.signed_size, self.signed_entries, self.signed_note, self.signed_by = size, entries, note, key
