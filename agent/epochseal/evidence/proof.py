"""Proofs of one entry: a text file that a public key alone checks, anywhere and offline (docs/proofs.md).

A proof holds the bytes of the entry's block, the payload of its seal line, and a C2SP tlog-proof: the way
from that line to the root of a tree that the log's key has signed.
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
from epochseal.format.seal_lines import MAX_LINE, TAG_SIZE, Block, TaggedLine, encode_line, parse_line
from epochseal.keys import PublicKey

HEADING: Final = "epochseal/v1/proof"
TLOG_HEADING: Final = "c2sp.org/tlog-proof@v1"
MAX_BLOCK = 256 << 20
"""A block in a proof is at most this long, in bytes."""
MAX_PATH = 63
"""A way from a leaf to the root has at most as many hashes: a tree has at most 2**63-1 leaves."""
MAX_PROOF = MAX_BLOCK // 3 * 4 + MAX_LINE + MAX_NOTE + (64 << 10)
"""A proof is at most this long, in bytes."""

_LINE_FEED = b"\n"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file says; nothing of it is verified by being read.

    Args:
        payload: that of the block's seal line.
        before, entry, after: the bytes of the block: entries before the one that is proven, it, those behind.
        number: the entry's number in the log.
        path: siblings from the line's leaf up to the root, 32 bytes each.
        note: the signed checkpoint.
    """

    payload: bytes
    before: bytes
    number: int
    entry: bytes
    after: bytes
    path: tuple[bytes, ...]
    note: bytes

    @property
    def line(self) -> TaggedLine:
        """The block's seal line; its tag, which no public key can check, is left out.

        Raises:
            FormatError: the payload is not in its one form.
        """
        line = parse_line(encode_line(self.payload, bytes(TAG_SIZE)).removesuffix(_LINE_FEED))
        if not isinstance(line, TaggedLine) or not isinstance(line.body, Block):
            raise FormatError("the line of the proof is not that of a block")
        return line

    @property
    def block(self) -> Block:
        """What the seal line says of the block.

        Raises:
            FormatError: as `line`.
        """
        body = self.line.body
        if not isinstance(body, Block):
            raise FormatError("the line of the proof is not that of a block")
        return body

    def encode(self) -> bytes:
        """The proof file."""
        lines = [
            HEADING.encode(),
            self.payload,
            f"before {b64encode(self.before)}".encode(),
            f"entry {self.number} {b64encode(self.entry)}".encode(),
            f"after {b64encode(self.after)}".encode(),
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
    match head.split(b"\n"):
        case [heading, payload, before, entry, after, tlog, index, *path] if separator:
            if (heading, tlog) != (HEADING.encode(), TLOG_HEADING.encode()):
                raise FormatError(f"the file is not a proof: it does not begin with {HEADING}")
            number, _, text = _field(entry, b"entry ").partition(b" ")
            proof = Proof(
                payload,
                b64decode(_field(before, b"before "), "before"),
                _number(number, "entry"),
                b64decode(text, "entry"),
                b64decode(_field(after, b"after "), "after"),
                tuple(b64decode(item, "hash of the path", HASH_SIZE) for item in path[: MAX_PATH + 1]),
                note,
            )
            stated = _number(_field(index, b"index "), "index")
        case _:
            raise FormatError("the file is not a proof, or is cut off")
    if len(proof.path) > MAX_PATH:
        raise FormatError(f"the path has more than {MAX_PATH} hashes")
    if proof.line.index != stated:
        raise FormatError(f"the proof is of line {stated}, its line says {proof.line.index}")
    if proof.encode() != raw:
        raise FormatError("the proof is not in canonical form")
    return proof


def check_proof(proof: Proof, key: VerifierKey) -> Checkpoint:
    """Verify all of a proof with the log's public key, whose name is the origin; the signed checkpoint.

    Raises:
        VerificationError: something in it does not hold.
        UnknownKey: its checkpoint is not signed by `key`, or by others too: what is not checked is refused.
        FormatError: its checkpoint is not in its one form.
    """
    check_block(proof)
    note = parse_note(proof.note)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.extensions:
        raise FormatError("the checkpoint has extension lines, which this log never writes")
    if checkpoint.origin != key.name:
        raise UnknownKey(f"the proof is of a log of {checkpoint.origin!r}, the key is that of {key.name!r}")
    if len(verify_note(note, [key])) != len(note.signatures):
        raise UnknownKey("the checkpoint has signatures of others beside that of the key that was named")
    leaf = leaf_hash(proof.payload)
    if proof.line.index >= checkpoint.size:
        raise VerificationError(f"line {proof.line.index} is not in a tree of {checkpoint.size} lines")
    verify_inclusion(leaf, proof.line.index, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint


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


def _field(line: bytes, name: bytes) -> bytes:
    if not line.startswith(name):
        raise FormatError(f"the proof has no line {name.decode().strip()!r} where it belongs")
    return line[len(name) :]


def _number(text: bytes, what: str) -> int:
    return parse_decimal(text.decode("ascii", errors="replace"), what)
