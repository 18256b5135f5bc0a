"""Make proofs: find an entry, the line that sealed it, and the first checkpoint that vouches for it.

Little is read: the first lines of a few seal files to find the segment, its epoch lines to find the epoch,
the lines from there up to the checkpoint, and the entry's block. The epoch line has the roots of all that is
older.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from epochseal.encoding import b64encode
from epochseal.errors import ConfigError, EpochsealError, FormatError, StorageError, VerificationError
from epochseal.evidence.proof import MAX_BLOCK, Proof, check_block, check_paths, split_block, vouches_from
from epochseal.format.merkle import Frontier, inclusion_proof, leaf_hash
from epochseal.format.note import (
    Checkpoint,
    Note,
    UnknownKey,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.format.seal_lines import Block, Header, NoteLine, TaggedLine, id_of_log, parse_line
from epochseal.keys import PublicKey
from epochseal.storage.log_past import read_checkpoint
from epochseal.storage.mapped_file import mapped
from epochseal.storage.opener import GoneError, size_of
from epochseal.storage.seal_file import read_whole_lines
from epochseal.storage.segments import Segment, list_segments
from epochseal.storage.settling import read_settled
from epochseal.verifier.reading_budget import reading_of
from epochseal.verifier.sealed_entries import SealedEntries

_MOST_BAD_NOTES = 16
_NO_ENTRY = 2**63


class NotProvable(EpochsealError):
    """The entry is there, and no signed checkpoint of its run vouches for it."""


class _NotOneLogFile(VerificationError):
    """A segment lacks its log file, which is the first one to go when it expires; or it has several."""


class NothingSealed(EpochsealError):
    """There is no sealed log."""


def prove(
    logdir: Path,
    number: int,
    key: PublicKey | None = None,
    origin: str | None = None,
    log: bytes | None = None,
) -> Proof:
    """A proof of entry `number`, under the first checkpoint that vouches for it.

    With `key` a checkpoint counts only if the key signed it, and the proof bears no other signature. Without,
    nobody has verified the signature: the first one in the log's name is taken. `origin` and `log`, an id of
    32 bytes, are those that the log must have.

    Raises:
        NothingSealed: there is no sealed log.
        ConfigError: the log has no such entry, or its block is too large for a proof.
        NotProvable: no signed checkpoint of its run vouches for it.
        UnknownKey: the log is of another origin or id, or `key` signed no checkpoint that vouches for it.
        VerificationError: the entry, its line or the tree do not verify.
        UnsettledError: files of it are gone each time that they are to be read.
        StorageError: a file cannot be read.
    """
    return read_settled(lambda: _prove(logdir, number, key, origin, log), expiring=_NotOneLogFile)


def _prove(logdir: Path, number: int, key: PublicKey | None, origin: str | None, log: bytes | None) -> Proof:
    segments = [item for item in list_segments(logdir).segments if item.seal is not None]
    place = _segment_of(segments, number)
    walk = _Walk(number, key, origin, log)
    note = walk.run(segments[place:], logdir)
    proof = walk.proof_under(note, *_read_block(walk.segment, walk.block, number))
    check_block(proof)
    return proof


class _Walk:
    """Goes through the lines from the entry's epoch on, up to a checkpoint that vouches for the entry's line.

    Such a checkpoint is one of the entry's own run: it stands before the next run's second line.
    """

    def __init__(self, number: int, key: PublicKey | None, origin: str | None, log: bytes | None) -> None:
        self._number = number
        self._public_key = key
        self._asked = origin
        self._asked_log = log
        self._key: VerifierKey | None = None
        self._stranger: UnknownKey | None = None
        self._problems: list[FormatError | VerificationError] = []
        self._origin = ""
        self._found: tuple[Segment, TaggedLine, Block] | None = None
        self._lasts: dict[int, TaggedLine] = {}
        self._next_run: int | None = None
        self._before = Frontier()
        self._leaves: list[bytes] = []

    def run(self, segments: Sequence[Segment], logdir: Path) -> Note:
        """The checkpoint."""
        start = _epoch_of(segments[0], self._number)
        for segment in segments:
            for raw in _lines(segment, start):
                if (note := self._take(segment, raw)) is not None:
                    return note
                if self._is_past_run():
                    break
            start = 0
            if self._is_past_run():
                break
            if self._found is None:
                raise ConfigError(
                    f"the log has no entry {self._number}", "epochseal inspect counts the entries"
                )
        if (note := self._try_note(_read_checkpoint(logdir))) is not None:
            return note
        if self._problems or self._stranger:
            raise self._failure()
        if self._next_run is not None:
            raise NotProvable(
                f"no checkpoint vouches for line {self.line.index}: its run ended without one",
                "a later start does not vouch for what it found; verify with the epoch key checks its tags",
            )
        raise NotProvable(
            f"no signed checkpoint vouches for line {self.line.index} yet",
            "one is signed before the next epoch begins, and at a clean close",
        )

    def proof_under(self, note: Note, before: bytes, entry: bytes, after: bytes) -> Proof:
        """The proof with that note, and the bytes of the block; nothing of it is checked."""
        size = parse_checkpoint(note.text).size
        leaves = self._leaves[: size - self._before.size]
        return Proof(
            payload=self.line.payload,
            before=before,
            number=self._number,
            entry=entry,
            after=after,
            last=self._lasts[size - 1].payload,
            last_path=tuple(inclusion_proof(leaves, size - 1, self._before)),
            path=tuple(inclusion_proof(leaves, self.line.index, self._before)),
            note=note.encode(),
        )

    def _is_past_run(self) -> bool:
        """Whether the next run has a second line: no note behind that vouches for anything of this one."""
        at = self._before.size + len(self._leaves)
        return self._next_run is not None and at > self._next_run + 1

    @property
    def segment(self) -> Segment:
        """Where the entry is."""
        return self._known[0]

    @property
    def line(self) -> TaggedLine:
        """The line that sealed it."""
        return self._known[1]

    @property
    def block(self) -> Block:
        """What the line says."""
        return self._known[2]

    @property
    def _known(self) -> tuple[Segment, TaggedLine, Block]:
        if self._found is None:
            raise ConfigError(f"the log has no entry {self._number}")
        return self._found

    def _take(self, segment: Segment, raw: bytes) -> Note | None:
        if raw.startswith(b"block "):
            # The lines of other blocks are hashed and not read: if one was changed, the signed root will
            # differ.
            if self._found is None and self._is_wanted(raw):
                line = _tagged(raw)
                if isinstance(line.body, Block):
                    self._found = segment, line, line.body
                    self._check_index(line)
            self._leaves.append(leaf_hash(raw[: raw.rfind(b" ")]))
            return None
        if raw.startswith(b"note "):
            try:
                parsed = parse_line(raw)
            except FormatError as exc:
                self._count(exc)
                return None
            return self._try_note(parsed.note) if isinstance(parsed, NoteLine) and self._found else None
        line = _tagged(raw)
        if isinstance(line.body, Header):
            self._begin(line, line.body)
        self._check_index(line)
        if self._found is not None and vouches_from(line) is not None:
            self._lasts[line.index] = line
        self._leaves.append(leaf_hash(line.payload))
        return None

    def _is_wanted(self, raw: bytes) -> bool:
        try:
            first, entries = map(int, raw.split(b" ", 4)[2:4])
        except ValueError as exc:
            raise VerificationError(f"a line before the entry cannot be read: {raw[:60]!r}") from exc
        return first <= self._number < first + entries

    def _begin(self, line: TaggedLine, header: Header) -> None:
        self._origin = header.origin
        if self._asked not in (None, header.origin):
            raise UnknownKey(f"the log says {header.origin!r}, {self._asked!r} was asked for")
        found = id_of_log(line.payload, header)
        if self._asked_log not in {None, found}:
            raise UnknownKey(f"this is the log {b64encode(found)}, another one was asked for")
        if self._public_key is not None:
            self._key = VerifierKey(header.origin, self._public_key)
        if self._found is None:
            self._before, self._leaves = header.tree.to_frontier(), []
        elif header.link != "carry" and self._next_run is None:
            self._next_run = line.index
        if line.index != header.tree.size:
            raise VerificationError(f"the epoch line {line.index} is over a tree of {header.tree.size} lines")

    def _check_index(self, line: TaggedLine) -> None:
        at = self._before.size + len(self._leaves)
        if line.index != at:
            raise VerificationError(f"line {line.index} of the tree stands where line {at} belongs")

    def _try_note(self, raw: bytes | None) -> Note | None:
        """The note with the log's signature alone, if it proves the entry."""
        if raw is None:
            return None
        try:
            note = parse_note(raw)
            checkpoint = parse_checkpoint(note.text)
            if not self._vouches(checkpoint):
                return None
            note = self._signed(note)
            check_paths(self.proof_under(note, b"", b"", b""), checkpoint)
        except (FormatError, VerificationError) as exc:
            self._count(exc)
            return None
        return note

    def _count(self, problem: FormatError | VerificationError) -> None:
        """A note by a stranger costs nothing. For each other one a tree is built, so only a few may fail."""
        if isinstance(problem, UnknownKey):
            self._stranger = self._stranger or problem
            return
        self._problems.append(problem)
        if len(self._problems) > _MOST_BAD_NOTES:
            raise self._failure() from problem

    def _vouches(self, checkpoint: Checkpoint) -> bool:
        """Whether the last line under a checkpoint says so, and is of the run of the entry's line."""
        last = self._lasts.get(checkpoint.size - 1)
        if last is None or (self._next_run is not None and last.index > self._next_run):
            return False
        run = vouches_from(last)
        return run is not None and run <= self.line.index

    def _failure(self) -> VerificationError:
        """Why no checkpoint will do: a stranger's signature only where nothing worse was found."""
        if self._problems:
            return VerificationError(f"no checkpoint proves the entry: {self._problems[0]}")
        return UnknownKey(f"no checkpoint proves the entry: {self._stranger}")

    def _signed(self, note: Note) -> Note:
        origin = parse_checkpoint(note.text).origin
        if origin != self._origin:
            raise VerificationError(f"the checkpoint is of {origin!r}")
        if self._key is not None:
            verify_note(note, [self._key])
            name = self._key.name, self._key.key_id
            own = [item for item in note.signatures if (item.name, item.key_id) == name]
        else:
            own = [item for item in note.signatures if item.name == origin][:1]
        return Note(note.text, tuple(own))


def _segment_of(segments: Sequence[Segment], number: int) -> int:
    """Which segment has the entry, by the first epoch lines: a few of them are read."""
    if not segments:
        raise NothingSealed("there is no sealed log", "name the directory that an agent seals into")
    place = bisect_right(segments, number, key=_first_entry) - 1
    if place < 0:
        first = _first_entry(segments[0])
        if first == _NO_ENTRY:
            raise NothingSealed("no entry is sealed yet")
        raise ConfigError(
            f"entry {number} has expired: the log begins with entry {first}",
            "use a copy of the expired segment",
        )
    return place


def _first_entry(segment: Segment) -> int:
    raw = next(_lines(segment, 0), None)
    # The agent was stopped while it began the last segment: the file is there, and has no line.
    return _NO_ENTRY if raw is None else _header(raw, segment).first_entry


def _epoch_of(segment: Segment, number: int) -> int:
    """Where in the seal file the epoch of an entry begins."""
    with mapped(segment.seal) as content:
        starts = [0]
        # JSON holds no raw newline, so this is the start of a line and nothing else.
        while (found := content.find(b"\nepoch ", starts[-1])) >= 0:
            starts.append(found + 1)

        def first_entry(start: int) -> int:
            stop = content.find(b"\n", start)
            # The epoch line is unfinished, so no entry is sealed in the epoch.
            return _NO_ENTRY if stop < 0 else _header(content[start:stop], segment).first_entry

        return starts[max(bisect_right(starts, number, key=first_entry) - 1, 0)]


def _header(raw: bytes, segment: Segment) -> Header:
    body = _tagged(raw).body
    if not isinstance(body, Header):
        raise VerificationError(f"{segment.stem}.seal does not begin with an epoch line")
    return body


def _tagged(raw: bytes) -> TaggedLine:
    try:
        line = parse_line(raw)
    except FormatError as exc:
        raise VerificationError(f"a seal line was changed: {exc}") from exc
    if not isinstance(line, TaggedLine):
        raise VerificationError("a note stands where a seal line belongs")
    return line


def _lines(segment: Segment, start: int) -> Iterator[bytes]:
    return read_whole_lines(segment.seal, start) if segment.seal is not None else iter(())


def _read_checkpoint(logdir: Path) -> bytes | None:
    try:
        return read_checkpoint(logdir)
    except GoneError:
        return None


def _read_block(segment: Segment, block: Block, number: int) -> tuple[bytes, bytes, bytes]:
    if block.size > MAX_BLOCK:
        raise ConfigError(f"the block of entry {number} has {block.size} bytes, a proof at most {MAX_BLOCK}")
    if len(segment.logs) != 1:
        raise _NotOneLogFile(f"the log file of segment {segment.number} is not there in exactly one form")
    (path,) = segment.logs
    # Were the size another than the sealed one, blocks would be looked for where they might have been moved
    # to. A proof needs the block at its own place, so the size at hand is passed as the sealed one.
    reading = reading_of(path, block.offset + block.size)
    content = SealedEntries(path, size_of(path), reading, keep=True)
    try:
        found = content.judge(block)
        if content.too_far:
            raise StorageError(
                f"{path} holds far more bytes than it takes on the disk: entry {number} was not read",
                "decompress it, or copy it without holes, and try again",
            )
        if found != "good":
            raise VerificationError(f"the stored bytes of entry {number} are not those that were sealed")
        return split_block(bytes(content.kept), number - block.first_entry)
    finally:
        content.close()
