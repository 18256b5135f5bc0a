"""The one place that orders durability: chain, page, files and backend calls, so that a crash anywhere is harmless.

One commit is: the blocks' digests and lengths into the page (and, where the page outlives the process, the entries
beside it); entries to `.log`, fdatasync; the lines with their tags, and the key after them, published in the page,
the old key wiped; the lines to `.seal`, fdatasync; only then does `commit` return and may the caller acknowledge.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from epochseal.calls import BackendCalls
from epochseal.chain import Chain, Pace, Start
from epochseal.durable import DirectoryLock, make_directory, replace_file
from epochseal.errors import BackendError, StorageError, VerificationError
from epochseal.keys import SECRET_SIZE, Issued, PublicKey
from epochseal.lines import EndReason, Link, Source, encode_note_line
from epochseal.memory import SecretPage
from epochseal.note import Checkpoint, Note, VerifierKey, sign_text, verify_note
from epochseal.restart import Finding, PendingBlock, Saved, find_state
from epochseal.runtime import Runtime
from epochseal.segments import SegmentWriter, segment_stem

CHECKPOINT_FILE = "checkpoint"
_UNBOUNDED = 2**62
MAX_BLOCKS = 16
"""Blocks of one commit at the most: their lines must fit in the page together."""
_PENDING_CHECKPOINTS = 8


class Clock(Protocol):
    """Time comes from outside: `now` in ms since 1970 is only written down, `monotonic` in seconds decides."""

    def now(self) -> int: ...

    def monotonic(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an epoch or a segment ends: entries and bytes, exact; None is no limit."""

    epoch_entries: int | None = None
    epoch_bytes: int | None = None
    segment_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """What may be committed now; `first_any_size`: one entry may be longer than `size`, or it would never fit."""

    entries: int
    size: int
    first_any_size: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries that make one block: `size` bytes, whole lines."""

    size: int
    entries: int
    src: Source


@dataclass(slots=True)
class Stats:
    """Plain counters for the metrics floor; times are wall clock in ms."""

    blocks: int = 0
    entries: int = 0
    bytes: int = 0
    epochs: int = 0
    checkpoints: int = 0
    last_checkpoint: int = 0
    recovered_entries: int = 0
    set_aside_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """A checkpoint that waits for its signature, and the segment that its note goes to."""

    checkpoint: Checkpoint
    writer: SegmentWriter


class Sealer:
    """Seals one log. Not thread-safe: one loop drives it (agent.py)."""

    def __init__(
        self, logdir: Path, origin: str, calls: BackendCalls, mailbox: SecretPage, clock: Clock, runtime: Runtime,
        *, pace: Pace, limits: Limits,
    ) -> None:  # fmt: skip  # one argument a line would hide that these belong together
        self.logdir = logdir
        self.calls = calls
        self.stats = Stats()
        self._mailbox = mailbox
        self._clock = clock
        self._runtime = runtime
        self._page = runtime.page
        self._pace = pace
        self._limits = limits
        self._origin = origin
        self._lock: DirectoryLock | None = None
        self._key: VerifierKey | None = None
        self._chain: Chain
        self._writer: SegmentWriter | None = None
        self._link: Link = "genesis"
        self._live = False
        self._start_signed = False
        self._ended = True
        self._due: EndReason | None = None
        self._due_since = 0.0
        self._epoch_began = 0.0
        self._last_block = 0.0
        self._unsigned: deque[_Unsigned] = deque()

    # --- what the loop asks -----------------------------------------------------------------------------------

    @property
    def entries(self) -> int:
        """Durable entries of the whole log."""
        return self._chain.entries

    @property
    def epoch(self) -> int:
        """The number of the running epoch, -1 before the first."""
        return self._chain.epoch

    @property
    def live(self) -> bool:
        """Whether entries may be sealed: an epoch runs, and if nothing carried into it, its start is signed."""
        return self._live and (self._link == "carry" or self._start_signed)

    @property
    def overdue_seconds(self) -> float:
        """For how long the epoch has been running past its end because the backend gives no key."""
        return self._clock.monotonic() - self._due_since if self._due and self._live else 0.0

    def fileno(self) -> int | None:
        """Readable when `answer` has something to do."""
        return self.calls.fileno()

    def room(self) -> Room:
        """What may be committed at this moment; nothing while a key is awaited, unless its backend is down."""
        chain, limits = self._chain, self._limits
        if not self.live or self.overdue_seconds * 1000 > self._pace.max_overdue:
            return Room(0, 0, first_any_size=False)
        if self._due and self.calls.failures:
            # Only an unavailable backend lets an epoch run past its limits.
            return Room(_UNBOUNDED, _UNBOUNDED, first_any_size=True)
        entries = _left(limits.epoch_entries, chain.epoch_entries)
        size = min(_left(limits.epoch_bytes, chain.epoch_bytes), _left(limits.segment_bytes, chain.segment_bytes))
        if entries == 0 or size == 0:
            return Room(0, 0, first_any_size=False)
        return Room(entries, size, first_any_size=chain.epoch_bytes == 0 or chain.segment_bytes == 0)

    def wait_seconds(self) -> float:
        """After how long `tick` wants to be called again, in seconds."""
        now = self._clock.monotonic()
        moments = []
        if self.live:
            moments.append(self._last_block + self._pace.heartbeat / 1000)
        if self.live and self._due is None:
            moments.append(self._epoch_began + self._pace.interval / 1000)
        if not self.calls.pending and (self._due or self._unsigned):
            moments.append(self.calls.retry_at)
        return max(0.0, min([moment - now for moment in moments], default=60.0))

    # --- start, commit, end ------------------------------------------------------------------------------------

    def start(self) -> Finding:
        """Lock the directory, find where the log stands, mend torn tails, and begin asking for a key.

        Raises:
            LogBusy: another agent seals here.
            StorageError: the directory cannot be used.
            ConfigError: the log belongs to another origin.
        """
        make_directory(self.logdir)
        self._lock = DirectoryLock(self.logdir)
        finding = find_state(self.logdir, self._origin, self._runtime)
        self._chain, self._writer, self._link = finding.chain, finding.writer, finding.link
        self.stats.set_aside_bytes += finding.set_aside
        if finding.running:
            self._live, self._ended = True, False
            self._start_signed = finding.start_signed
            self._epoch_began = self._last_block = self._clock.monotonic()
            if not self._start_signed:
                self._checkpoint_due()
            if finding.pending:
                self._commit_recovered(finding)
        else:
            self._due = "close"
        return finding

    def commit(self, data: memoryview, pieces: Sequence[Piece]) -> None:
        """Seal up to `MAX_BLOCKS` blocks; their entries are durable and provable when this returns.

        Args:
            data: the blocks' bytes, one after the other.
            pieces: what `data` consists of.

        Raises:
            StorageError: nothing of it may be acknowledged; the log on disk verifies as far as it was acknowledged.
        """
        blocks, start = [], 0
        for piece in pieces:
            digest = hashlib.sha256(data[start : start + piece.size]).digest()
            blocks.append(PendingBlock(piece.size, digest, piece.entries, piece.src))
            start += piece.size
        if self._runtime.survives:
            self._runtime.keep_pending(data)
            self._page.next_key[:] = self._page.key
            self._page.publish(self._record(b"", blocks))
        self._open_writer().append_entries(data)
        self._seal_blocks(blocks)

    def tick(self) -> None:
        """Do what time asks for: heartbeat, the end of an epoch, the next backend call."""
        now = self._clock.monotonic()
        chain, limits = self._chain, self._limits
        if self.live:
            if now - self._last_block >= self._pace.heartbeat / 1000:
                self._seal_blocks([PendingBlock(0, hashlib.sha256().digest(), 0, None)])
            if self._due is None and now - self._epoch_began >= self._pace.interval / 1000:
                self.end_epoch("interval")
            if self._due is None and not _left(limits.epoch_entries, chain.epoch_entries):
                self.end_epoch("entries")
            if self._due is None and not _left(limits.segment_bytes, chain.segment_bytes):
                self.end_epoch("segment")
            if self._due is None and not _left(limits.epoch_bytes, chain.epoch_bytes):
                self.end_epoch("bytes")
        self._ask()

    def end_epoch(self, reason: EndReason) -> None:
        """Say that the epoch is due to end: a key is asked for, and the epoch goes on until it is there."""
        if self._due is None:
            self._due, self._due_since = reason, self._clock.monotonic()

    def full(self) -> None:
        """Say that the next entry does not fit in what `room` offered."""
        chain, limits = self._chain, self._limits
        in_epoch = _left(limits.epoch_bytes, chain.epoch_bytes)
        self.end_epoch("segment" if _left(limits.segment_bytes, chain.segment_bytes) <= in_epoch else "bytes")

    def answer(self) -> None:
        """Take the answer of the call under way.

        Raises:
            BackendError: a refusal that waiting does not mend.
        """
        if self.calls.pending == "issue":
            issued = self.calls.take_issued()
            if issued is not None:
                self._turn(issued)
        elif self.calls.pending == "sign":
            signature = self.calls.take_signature()
            if signature is not None:
                self._take_signature(signature)
        self._ask()

    def end(self) -> None:
        """Close the log cleanly: `end` with reason `close`, and its checkpoint asked for if there is a backend."""
        if not self._live or self._ended:
            return
        if self.calls.pending == "issue":
            self.calls.rest()
        self._due = None
        self._end_line("close")
        self._live = False
        self._checkpoint_due()
        self._ask()

    @property
    def unsigned(self) -> int:
        """Checkpoints that still wait for a signature."""
        return len(self._unsigned)

    def close(self) -> None:
        """Give up files, lock and keys; without `end` before, this is as a crash."""
        self.calls.rest()
        for writer in {id(item.writer): item.writer for item in self._unsigned}.values():
            if writer is not self._writer:
                writer.close()
        self._unsigned.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._live = False
        self._runtime.close()
        if self._lock is not None:
            self._lock.close()

    # --- epochs ------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        if not self.calls.may_start():
            return
        if self._key is None:
            key = self.calls.start_key()
            if key is None:
                return
            self._key = _verifier_key(self._origin, key)
        if self._due:
            self.calls.start_issue(self._chain.next_context(), self._chain.asked())
        elif self._unsigned:
            self.calls.start_sign(self._unsigned[0].checkpoint.text().encode())
        else:
            self.calls.rest()

    def _turn(self, issued: Issued) -> None:
        reason = self._due
        rotate = self._writer is None or not _left(self._limits.segment_bytes, self._chain.segment_bytes)
        if self._live and reason is not None:
            rotate = rotate or reason == "segment"
            self._end_line("segment" if rotate else reason)
            self._link = "carry"
            if rotate:
                self._checkpoint_due()
        self._start_epoch(issued, new_segment=rotate)

    def _start_epoch(self, issued: Issued, *, new_segment: bool) -> None:
        chain, page, calls = self._chain, self._page, self.calls
        context, asked = calls.context, calls.asked
        if context is None or asked is None:
            raise BackendError("a secret arrived that was not asked for")
        now = self._clock.now()
        segment = chain.segment + 1 if new_segment else chain.segment
        start = Start(self._link, issued, context, asked, tuple(calls.abandoned), segment, self._pace, now)
        if new_segment:
            self._rotate(segment_stem(segment, now))
        try:
            page.secret[:] = self._mailbox.view[:SECRET_SIZE]
            self._mailbox.wipe()
            if self._link == "carry":
                page.carry[:] = page.key
            line = chain.start(start, page.secret_and_carry, page.scratch, page.next_key)
        finally:
            page.secret_and_carry[:] = bytes(64)
        self._live, self._ended, self._start_signed, self._due = True, False, False, None
        calls.adopted()
        self._write_line(line)
        self._epoch_began = self._last_block = self._clock.monotonic()
        self.stats.epochs += 1
        self._checkpoint_due()

    def _rotate(self, stem: str) -> None:
        old = self._writer
        self._writer = SegmentWriter.create(self.logdir, stem)
        if old is not None and all(item.writer is not old for item in self._unsigned):
            old.close()

    def _end_line(self, reason: EndReason) -> None:
        page = self._page
        line = self._chain.end(reason, page.key, page.scratch, page.next_key)
        self._ended = True
        self._write_line(line)

    # --- checkpoints -------------------------------------------------------------------------------------------

    def _checkpoint_due(self) -> None:
        tree = self._chain.tree
        self._unsigned.append(_Unsigned(Checkpoint(self._origin, tree.size, tree.root()), self._open_writer()))
        while len(self._unsigned) > _PENDING_CHECKPOINTS:
            # A later checkpoint covers all that an earlier one did; the one under way is left to finish.
            item = self._unsigned[1]
            del self._unsigned[1]
            self._release(item.writer)

    def _take_signature(self, signature: bytes) -> None:
        item = self._unsigned[0]
        key = self._key
        if key is None:
            raise BackendError("a signature arrived before the public key")
        note = Note(item.checkpoint.text(), (sign_text(item.checkpoint.text(), key, signature),))
        try:
            verify_note(note, [key])
        except VerificationError as exc:
            raise BackendError(
                "the backend's signature does not verify with its own public key",
                "is the checkpoint URI's public key that of its private key?",
            ) from exc
        raw = note.encode()
        item.writer.append_lines(encode_note_line(raw))
        replace_file(self.logdir / CHECKPOINT_FILE, raw)
        self._unsigned.popleft()
        self._release(item.writer)
        self._start_signed = True
        self.stats.checkpoints += 1
        self.stats.last_checkpoint = self._clock.now()

    def _release(self, writer: SegmentWriter) -> None:
        if writer is not self._writer and all(other.writer is not writer for other in self._unsigned):
            writer.close()

    # --- lines -------------------------------------------------------------------------------------------------

    def _seal_blocks(self, blocks: Sequence[PendingBlock]) -> None:
        page, chain, lines = self._page, self._chain, []
        key = page.key
        for block in blocks:
            if lines:
                # Between two lines of one commit the key passes through the work area, wiped right after.
                page.scratch[:] = page.next_key
                key = page.scratch
            lines.append(
                chain.block(block.entries, block.size, block.digest, block.src, self._clock.now(), key, page.next_key)
            )
        page.scratch[:] = bytes(SECRET_SIZE)
        self._write_line(b"".join(lines))
        self._last_block = self._clock.monotonic()
        self.stats.blocks += len(blocks)
        self.stats.entries += sum(block.entries for block in blocks)
        self.stats.bytes += sum(block.size for block in blocks)

    def _commit_recovered(self, finding: Finding) -> None:
        self._open_writer().append_entries(memoryview(finding.pending_data)[finding.present :])
        self._seal_blocks(finding.pending)
        self.stats.recovered_entries += sum(block.entries for block in finding.pending)

    def _write_line(self, line: bytes) -> None:
        self._page.publish(self._record(line) if self._runtime.survives else b"")
        self._open_writer().append_lines(line)

    def _record(self, staged: bytes, pending: Sequence[PendingBlock] = ()) -> bytes:
        writer, chain = self._open_writer(), self._chain
        return Saved.encode(
            chain, writer.stem, writer.seal.length, staged, pending,
            ended=self._ended, link=self._link, start_signed=self._start_signed,
        )  # fmt: skip  # a flat list of what is saved

    def _open_writer(self) -> SegmentWriter:
        if self._writer is None:
            raise StorageError("no segment is open")
        return self._writer


def _left(limit: int | None, used: int) -> int:
    return _UNBOUNDED if limit is None else max(limit - used, 0)


def _verifier_key(origin: str, key: PublicKey) -> VerifierKey:
    return VerifierKey(origin, key)
