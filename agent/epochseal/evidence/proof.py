"""Proofs of one entry: a text file that a public key alone checks, anywhere and offline (docs/proofs.md).

A proof holds the bytes of the entry's block, the payload of its seal line, that of the last line under a
signed checkpoint with its way to the root, and a C2SP tlog-proof: the way of the block's line to the same
root. The last line says what its checkpoint vouches for: without it, a signature over what a later start
found on the disk would prove that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from epochseal.encoding import b64decode, b64encode, format_time, parse_decimal
from epochseal.errors import FormatError, VerificationError
from epochseal.format.escaping import unescape
from epochseal.format.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from epochseal.format.note import (
    MAX_NOTE,
    Checkpoint,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.format.seal_lines import (
    MAX_LINE,
    TAG_SIZE,
    Block,
    End,
    Sign,
    TaggedLine,
    encode_line,
    parse_line,
)
from epochseal.keys import PublicKey

HEADING: Final = "epochseal/v1/proof"
TLOG_HEADING: Final = "c2sp.org/tlog-proof@v1"
MAX_BLOCK = 256 << 20
"""A block in a proof is at most this long, in bytes."""
MAX_PATH = 63
"""A way from a leaf to the root has at most as many hashes: a tree has at most 2**63-1 leaves."""
MAX_PROOF = MAX_BLOCK // 3 * 4 + 2 * MAX_LINE + MAX_NOTE + (64 << 10)
"""A proof is at most this long, in bytes."""

_LINE_FEED = b"\n"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file says; nothing of it is verified by being read.

    Args:
        payload: that of the block's seal line.
        before, entry, after: the bytes of the block: entries before the one that is proven, it, those behind.
        number: the entry's number in the log.
        last: the payload of the last line under the checkpoint.
        last_path: siblings from the leaf of that line up to the root, 32 bytes each.
        path: siblings from the leaf of the block's line up to the root, 32 bytes each.
        note: the signed checkpoint.
    """

    payload: bytes
    before: bytes
    number: int
    entry: bytes
    after: bytes
    last: bytes
    last_path: tuple[bytes, ...]
    path: tuple[bytes, ...]
    note: bytes

    @property
    def line(self) -> TaggedLine:
        """The block's seal line; its tag, which no public key can check, is left out.

        Raises:
            FormatError: the payload is not in its one form.
        """
        return _parse_payload(self.payload)

    @property
    def block(self) -> Block:
        """What the seal line says of the block.

        Raises:
            FormatError: as `line`, or it is not that of a block with entries.
        """
        body = self.line.body
        if not isinstance(body, Block) or not body.entries:
            raise FormatError("the line of the proof is not that of a block with entries")
        return body

    @property
    def last_line(self) -> TaggedLine:
        """The last line under the checkpoint.

        Raises:
            FormatError: the payload is not in its one form.
        """
        return _parse_payload(self.last)

    @property
    def run(self) -> int:
        """The index from which on the checkpoint vouches for the lines below it.

        Raises:
            FormatError: as `last_line`, or it is of a kind that a checkpoint over vouches for no block.
        """
        run = vouches_from(self.last_line)
        if run is None:
            raise FormatError("the last line is neither a sign nor an end that closes the log")
        return run

    def encode(self) -> bytes:
        """The proof file."""
        lines = [
            HEADING.encode(),
            self.payload,
            f"before {b64encode(self.before)}".encode(),
            f"entry {self.number} {b64encode(self.entry)}".encode(),
            f"after {b64encode(self.after)}".encode(),
            b"last " + self.last,
            *(f"path {b64encode(sibling)}".encode() for sibling in self.last_path),
            TLOG_HEADING.encode(),
            f"index {self.line.index}".encode(),
            *(b64encode(sibling).encode() for sibling in self.path),
        ]
        return b"\n".join((*lines, b"", b"")) + self.note


def parse_proof(raw: bytes) -> Proof:
    """Read a proof file.

    Raises:
        FormatError: it is not in its one form, or over a limit.
    """
    if len(raw) > MAX_PROOF:
        raise FormatError(f"the proof is longer than {MAX_PROOF} bytes")
    head, separator, note = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    tlog = TLOG_HEADING.encode()
    if not separator or lines[0] != HEADING.encode() or tlog not in lines:
        raise FormatError(
            f"the file is not a proof, or is cut off: {HEADING} and {TLOG_HEADING} begin its parts"
        )
    middle = lines.index(tlog)
    match lines[1:middle], lines[middle + 1 :]:
        case [payload, before, entry, after, last, *last_path], [index, *path]:
            number, _, text = _field(entry, b"entry ").partition(b" ")
            proof = Proof(
                payload=payload,
                before=b64decode(_field(before, b"before "), "before"),
                number=_number(number, "entry"),
                entry=b64decode(text, "entry"),
                after=b64decode(_field(after, b"after "), "after"),
                last=_field(last, b"last "),
                last_path=_hashes([_field(item, b"path ") for item in last_path[: MAX_PATH + 1]]),
                path=_hashes(path[: MAX_PATH + 1]),
                note=note,
            )
            stated = _number(_field(index, b"index "), "index")
        case _:
            raise FormatError("the file is not a proof, or is cut off")
    if proof.line.index != stated:
        raise FormatError(f"the proof is of line {stated}, its line says {proof.line.index}")
    if proof.encode() != raw:
        raise FormatError("the proof is not in canonical form")
    return proof


def vouches_from(line: TaggedLine) -> int | None:
    """The index from which on a checkpoint that ends with this line vouches for all lines (format.md, 8.5).

    None where it vouches for no block: over an epoch line it vouches for that line alone; over lines of
    other kinds there is none.
    """
    return line.body.run if isinstance(line.body, Sign | End) else None


def check_proof(proof: Proof, key: VerifierKey) -> Checkpoint:
    """Verify all of a proof with the log's public key, whose name is the origin; the signed checkpoint.

    Raises:
        VerificationError: something in it does not hold.
        UnknownKey: its checkpoint is not signed by `key`, or by others too: what is not checked is refused.
        FormatError: a line of it, or its checkpoint, is not in its one form.
    """
    check_block(proof)
    note = parse_note(proof.note)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise UnknownKey(f"the proof is of a log of {checkpoint.origin!r}, the key is that of {key.name!r}")
    if len(verify_note(note, [key])) != len(note.signatures):
        raise UnknownKey("the checkpoint has signatures of others beside that of the key that was named")
    check_paths(proof, checkpoint)
    return checkpoint


def check_paths(proof: Proof, checkpoint: Checkpoint) -> None:
    """Verify that both lines are in the tree, and that the last one says that the block is vouched for.

    Raises:
        FormatError: a line is not in its one form, or the last one is of another kind.
        VerificationError: a path leads elsewhere, or the checkpoint does not vouch for the block.
    """
    index, last, size = proof.line.index, proof.last_line.index, checkpoint.size
    if last != size - 1:
        raise VerificationError(f"line {last} is not the last of a tree of {size} lines")
    if not proof.run <= index < last:
        raise VerificationError(
            f"the checkpoint vouches for lines {proof.run} to {last}, and line {index} is none of them"
        )
    verify_inclusion(leaf_hash(proof.payload), index, size, proof.path, checkpoint.root)
    verify_inclusion(leaf_hash(proof.last), last, size, proof.last_path, checkpoint.root)


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry whose proof holds.

    Args:
        entry: its bytes as the source sent them, with the newline.
        number: its number in the log, from 0.
        origin: the log's name.
        sealed: when it was sealed by the clock of its host, in RFC 3339, UTC.
        line, tree_size: which line (from 0) of a signed tree of how many lines seals it.
    """

    entry: bytes
    number: int
    origin: str
    sealed: str
    line: int
    tree_size: int


def prove_entry(raw: bytes, key: PublicKey, origin: str | None) -> ProvenEntry:
    """Check a proof file with the log's public key; without `origin`, for the log that the proof names.

    Raises:
        FormatError: it is not in its one form.
        VerificationError: something in it does not hold.
        UnknownKey: as `check_proof`.
    """
    proof = parse_proof(raw)
    name = origin or parse_checkpoint(parse_note(proof.note).text).origin
    checkpoint = check_proof(proof, VerifierKey(name, key))
    block = proof.block
    return ProvenEntry(
        unescape(proof.entry) if block.src is not None and block.src.esc else proof.entry,
        proof.number,
        checkpoint.origin,
        format_time(block.time),
        proof.line.index,
        checkpoint.size,
    )


def check_block(proof: Proof) -> None:
    """Verify that the entry is the one of its number in the block, and the block the one of its line.

    Raises:
        FormatError: the line is not in its one form.
        VerificationError: bytes or counts do not fit.
    """
    block = proof.block
    place = proof.number - block.first_entry
    digest = hashlib.sha256(proof.before)
    digest.update(proof.entry)
    digest.update(proof.after)
    if (
        len(proof.before) + len(proof.entry) + len(proof.after) != block.size
        or digest.digest() != block.digest
    ):
        raise VerificationError(f"the bytes are not those that line {proof.line.index} sealed")
    counts = [part.count(_LINE_FEED) for part in (proof.before, proof.entry, proof.after)]
    whole = all(part.endswith(_LINE_FEED) for part in (proof.before, proof.after) if part)
    if not whole or not proof.entry.endswith(_LINE_FEED) or counts != [place, 1, block.entries - place - 1]:
        raise VerificationError(f"entry {proof.number} is not where the proof says")


def split_block(data: bytes, place: int) -> tuple[bytes, bytes, bytes]:
    """The bytes of a block before its entry number `place` (from 0), those of the entry, and the rest.

    Raises:
        VerificationError: there are not as many entries.
    """
    start = 0
    for _ in range(place):
        start = data.find(_LINE_FEED, start) + 1
        if not start:
            raise VerificationError(f"the block has no entry {place}")
    stop = data.find(_LINE_FEED, start) + 1
    if not stop:
        raise VerificationError(f"the block has no entry {place}")
    return data[:start], data[start:stop], data[stop:]


def _parse_payload(payload: bytes) -> TaggedLine:
    line = parse_line(encode_line(payload, bytes(TAG_SIZE)).removesuffix(_LINE_FEED))
    if not isinstance(line, TaggedLine):
        raise FormatError("a note stands where a seal line belongs")
    return line


def _hashes(items: list[bytes]) -> tuple[bytes, ...]:
    if len(items) > MAX_PATH:
        raise FormatError(f"a path has more than {MAX_PATH} hashes")
    return tuple(b64decode(item, "hash of a path", HASH_SIZE) for item in items)


def _field(line: bytes, name: bytes) -> bytes:
    if not line.startswith(name):
        raise FormatError(f"the proof has no line {name.decode().strip()!r} where it belongs")
    return line[len(name) :]


def _number(text: bytes, what: str) -> int:
    return parse_decimal(text.decode("ascii", errors="replace"), what)
