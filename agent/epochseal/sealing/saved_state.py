"""What the page holds beside the key: the public state of a log, for the start after a kill."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epochseal.encoding import UNREADABLE
from epochseal.format.merkle import Frontier
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Abandoned, SourceMark
from epochseal.sealing.chain import Chain

VERSION = 1


class PendingBlock(msgspec.Struct, frozen=True, array_like=True):
    """A block of the commit under way: `size` bytes with SHA-256 `digest`; no source makes a heartbeat."""

    size: int
    digest: bytes
    entries: int
    src: SourceMark | None


class Staged(msgspec.Struct, frozen=True, array_like=True):
    """Lines that are on their way to the disk: they belong at `offset` of `stem`'s seal file."""

    stem: str
    offset: int
    lines: bytes


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The public state beside the key in the page.

    Attributes:
        version: of this record.
        log: the log's id; there is no record before line 0 is made.
        epoch_index: the index of the running epoch's line.
        run: the index of the line that its run began with.
        stem: names the segment that the log goes on in, behind the staged lines.
        epoch_stem: names the segment that the running epoch's line stands in.
        epoch_offset: where it stands in that seal file.
        size: of the tree, the staged lines included; `root` too.
        staged: one item; two in a turn that begins a segment: `end`, and in the next seal file `epoch`.
        pending: the blocks whose bytes are being written; none where lines are staged.
        due_size: of the checkpoint whose note is not written yet; 0 for none.
        due_root: its root.
        calls: the issue calls since the last epoch line that no epoch adopted, one under way included.
        closed: `end close` is the last line, and the key is the carry.
        refused: why a start convicted the disk by this page; its key is zero then. Empty otherwise.
    """

    version: int
    origin: str
    log: bytes
    epoch: int
    epoch_index: int
    run: int
    segment: int
    stem: str
    epoch_stem: str
    epoch_offset: int
    size: int
    root: bytes
    last_tag: bytes
    entries: int
    segment_bytes: int
    epoch_entries: int
    epoch_bytes: int
    epoch_time: int
    interval: int
    max_overdue: int
    raised: bool
    staged: list[Staged]
    pending: list[PendingBlock]
    due_size: int
    due_root: bytes
    calls: list[Abandoned]
    closed: bool
    refused: str = ""

    @staticmethod
    def encode(
        chain: Chain,
        staged: Sequence[Staged],
        pending: Sequence[PendingBlock],
        *,
        stem: str,
        epoch_place: tuple[str, int],
        due: Checkpoint | None,
        calls: Sequence[Abandoned],
        closed: bool,
    ) -> bytes:
        """The record for `RatchetPage.publish`."""
        saved = SavedState(
            version=VERSION,
            origin=chain.origin,
            log=chain.log,
            epoch=chain.epoch,
            epoch_index=chain.epoch_index,
            run=chain.run,
            segment=chain.segment,
            stem=stem,
            epoch_stem=epoch_place[0],
            epoch_offset=epoch_place[1],
            size=chain.tree.size,
            root=chain.tree.root(),
            last_tag=chain.last_tag,
            entries=chain.entries,
            segment_bytes=chain.segment_bytes,
            epoch_entries=chain.epoch_entries,
            epoch_bytes=chain.epoch_bytes,
            epoch_time=chain.epoch_time,
            interval=chain.interval,
            max_overdue=chain.max_overdue,
            raised=chain.raised,
            staged=list(staged),
            pending=list(pending),
            due_size=due.size if due is not None else 0,
            due_root=due.root if due is not None else b"",
            calls=list(calls),
            closed=closed,
        )
        return msgspec.msgpack.encode(saved)

    @staticmethod
    def decode(record: bytes) -> SavedState | None:
        """Read a record; one of another form or version is none."""
        try:
            saved = _decoder.decode(record)
        except UNREADABLE:
            return None
        return saved if saved.version == VERSION else None

    def chain(self, tree: Frontier) -> Chain:
        """The chain as it was saved; `tree` is the one of `size` leaves, read from the disk."""
        return Chain(
            self.origin,
            self.log,
            self.epoch,
            self.epoch_index,
            self.run,
            self.segment,
            self.last_tag,
            tree,
            self.entries,
            self.segment_bytes,
            self.epoch_entries,
            self.epoch_bytes,
            self.epoch_time,
            self.interval,
            self.max_overdue,
            self.raised,
        )

    def due(self) -> Checkpoint | None:
        """The checkpoint whose note was not written yet."""
        return Checkpoint(self.origin, self.due_size, self.due_root) if self.due_size else None


# Made here, once: the threads of several logs come to it at the same time (decoders.json_decoder).
_decoder = msgspec.msgpack.Decoder(SavedState)
