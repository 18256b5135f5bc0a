"""Hold every signed checkpoint against the lines; what each one vouches for (docs/format.md, 13.6)."""

from __future__ import annotations

import msgspec

from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import (
    Checkpoint,
    HeldSignatures,
    Note,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.verifier.checkpoint_keys import KnownKeys
from epochseal.verifier.findings import Findings, Place
from epochseal.verifier.joined_log import JoinedLog, Signable


class Valid(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint that holds: its size, the note as it stands, and who signed it."""

    size: int
    root: bytes
    note: bytes
    signer: VerifierKey


class Checkpoints(msgspec.Struct):
    """The valid checkpoints of a log, by their sizes; of one size the last one.

    `valid_files` are the files with a checkpoint that is valid, as they stand. Without known keys signatures
    are not looked at, and none is valid.
    """

    log: JoinedLog
    findings: Findings
    keys: KnownKeys | None
    held: HeldSignatures = msgspec.field(default_factory=HeldSignatures)
    valid: dict[int, Valid] = msgspec.field(default_factory=dict)
    valid_files: set[bytes] = msgspec.field(default_factory=set)
    _mismatched: bool = False

    @property
    def signed_size(self) -> int:
        """The largest size of a valid checkpoint whose last leaf is present, 0 if there is none."""
        return max((size for size in self.valid if size > self.log.first_size), default=0)

    def is_copied(self, checkpoint_file: bytes | None) -> bool:
        """Whether the file `checkpoint` counts: it is valid, or no key was named to judge it by."""
        return checkpoint_file is not None and (self.keys is None or checkpoint_file in self.valid_files)

    @property
    def signed_entry(self) -> int:
        """The number of the next entry there."""
        at = self.log.signable.get(self.signed_size)
        return at.entry if at is not None else 0

    def check_notes(self) -> None:
        """Check the notes of the seal files, in order."""
        greatest = 0
        for noted, place in self.log.notes:
            at = Place(place.segment, place.base, place.epoch, noted.entry)
            checkpoint = self.check(noted.note, at, above=greatest, below=noted.lines)
            greatest = max(greatest, checkpoint.size if checkpoint is not None else 0)

    def check_file(self, raw: bytes) -> None:
        """Check the file `checkpoint`, or `witnessed`."""
        checkpoint = self.check(raw, self.log.end_place)
        known = self.valid.get(checkpoint.size) if checkpoint is not None else None
        if known is not None and known.note == raw:
            self.valid_files.add(raw)

    def check(self, raw: bytes, at: Place, *, above: int = 0, below: int | None = None) -> Checkpoint | None:
        """Hold one against the lines; None if no more is asked of it.

        A note line stands behind `below` lines, and behind a note of size `above`.
        """
        found, log = self.findings, self.log
        try:
            note = parse_note(raw)
            checkpoint = parse_checkpoint(note.text)
            signers = self._signers(note, checkpoint)
        except UnknownKey as exc:
            if self.keys is None or not self.keys.passes_over(note, checkpoint.size):
                found.problem("unknown_key", at, f"checkpoint: {exc}")
            return None
        except (FormatError, VerificationError) as exc:
            found.problem("checkpoint_bad", at, str(exc))
            return None
        fits, size = self._fits(checkpoint), checkpoint.size
        ordered = below is None or above <= size <= below
        # Lines are durable before they are signed, and checkpoints are signed in order.
        if not ordered and size <= log.tree_size and not log.is_damaged_before(below or 0):
            found.problem("line_misplaced", at, f"the checkpoint of {size} lines stands at line {below}")
        if fits and ordered and signers:
            # Where two keys hand over, the new one signs last.
            self.add(Valid(checkpoint.size, checkpoint.root, raw, signers[-1]))
        return checkpoint

    def add(self, checkpoint: Valid) -> None:
        """Take a valid checkpoint: it vouches for lines of the run that its last leaf lies in."""
        self.valid[checkpoint.size] = checkpoint
        at = self.log.signable.get(checkpoint.size)
        if at is None or at.run is None:
            return
        at.run.signed = max(at.run.signed, checkpoint.size)
        if at.vouches and checkpoint.size > at.run.vouched:
            at.run.vouched, at.run.vouched_entries = checkpoint.size, at.entries

    def _fits(self, checkpoint: Checkpoint) -> bool:
        log, size = self.log, checkpoint.size
        if size < log.first_size:
            # Signed late, for lines that have expired since: there is nothing left to compare it with.
            return True
        if log.is_left_out(size):
            # Where it belongs nothing was read: it shows nothing.
            return False
        if size > log.tree_size:
            detail = f"signed for {size} lines, {log.tree_size} are here: the end of the log was cut off"
            self.findings.problem("checkpoint_ahead", log.end_place, detail)
            return False
        at = log.signable.get(size)
        if at is not None and at.root == checkpoint.root:
            return True
        # Damaged lines that are reported already explain it, and so does a smaller checkpoint.
        if not log.is_damaged_before(size) and not self._mismatched:
            self._mismatched = True
            self._report_mismatch(size)
        return False

    def _report_mismatch(self, size: int) -> None:
        log = self.log
        after = [item.entry for known, item in log.signable.items() if known >= size]
        last = min(after, default=log.entries) - 1
        detail = f"the checkpoint of {size} lines"
        self.findings.problem("checkpoint_mismatch", log.end_place, detail, self.signed_entry, last)

    def _signers(self, note: Note, checkpoint: Checkpoint) -> tuple[VerifierKey, ...]:
        origin = self.log.first.origin if self.log.first is not None else checkpoint.origin
        if checkpoint.origin != origin:
            raise VerificationError(f"the checkpoint is of {checkpoint.origin!r}")
        if self.keys is None:
            return ()
        try:
            return verify_note(note, self.keys.keys_for(note, checkpoint.size), self.held)
        except UnknownKey as exc:
            raise UnknownKey(f"{exc}{self.keys.explain(note, checkpoint.size)}") from exc

    def signed_entries(self) -> int:
        """How many entries valid checkpoints vouch for, those before the first line present included."""
        first = self.log.epochs[0] if self.log.epochs else None
        if first is None:
            return 0
        vouched = first.index + 1 in self.valid or first.run.vouched > first.index
        return sum(run.vouched_entries for run in self.log.runs) + (first.place.entry if vouched else 0)

    def at(self, size: int) -> Signable | None:
        """What stands at the size of a valid checkpoint whose last leaf is present."""
        return self.log.signable.get(size) if size in self.valid else None
