"""The body of `add-checkpoint` (C2SP tlog-witness), as it is sent and as it is read."""

from __future__ import annotations

from dataclasses import dataclass

from epochseal.encoding import b64decode, b64encode, parse_decimal
from epochseal.errors import FormatError
from epochseal.format.note import Note, parse_note

MAX_PROOF = 63
MAX_BODY = 64 << 10
"""A request or an answer is at most this long, in bytes: a checkpoint with dozens of signatures."""
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint, and the proof that it grew from `old_size` lines."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The body of the request."""
        lines = (f"{b64encode(item)}\n" for item in self.proof)
        return f"old {self.old_size}\n{''.join(lines)}\n".encode("ascii") + self.note.encode()


def parse_submission(raw: bytes) -> Submission:
    """Read the body of a request.

    Raises:
        FormatError: another form, more than 63 lines of proof, or a note that is none.
    """
    head, separator, note = raw.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    if not separator or not first.startswith(b"old "):
        raise FormatError("not an old size, a proof, an empty line and a checkpoint")
    if len(lines) > MAX_PROOF:
        raise FormatError(f"the proof has {len(lines)} lines, more than {MAX_PROOF}")
    proof = tuple(b64decode(line, "line of the proof", 32) for line in lines)
    try:
        size = parse_decimal(first.removeprefix(b"old ").decode("ascii"), "old size")
    except UnicodeDecodeError as exc:
        raise FormatError("the old size is not a number") from exc
    return Submission(size, proof, parse_note(note))
