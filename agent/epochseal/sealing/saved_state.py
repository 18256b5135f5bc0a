"""What the page holds beside the key: the public state of a log, for the start after a kill."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from epochseal.format.merkle import Frontier
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Link, SourceMark
from epochseal.sealing.chain import Chain


class PendingBlock(msgspec.Struct, frozen=True, array_like=True):
    """A block of the commit under way: `size` bytes with SHA-256 `digest`; no source makes a heartbeat."""

    size: int
    digest: bytes
    entries: int
    src: SourceMark | None


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The public state beside the key in the page; `staged` are the lines that belong at `seal_offset`."""

    origin: str
    log: bytes
    epoch: int
    segment: int
    stem: str
    last_tag: bytes
    tree_size: int
    frontier: list[bytes]
    entries: int
    segment_bytes: int
    epoch_entries: int
    epoch_bytes: int
    epoch_time: int
    seal_offset: int
    staged: bytes
    pending: list[PendingBlock]
    ended: bool
    link: Link
    start_size: int
    start_root: bytes

    @staticmethod
    def encode(
        chain: Chain,
        stem: str,
        seal_offset: int,
        staged: bytes,
        pending: Sequence[PendingBlock],
        *,
        ended: bool,
        link: Link,
        unsigned_start: Checkpoint | None,
    ) -> bytes:
        """The record for `RatchetPage.publish`."""
        saved = SavedState(
            chain.origin,
            chain.log,
            chain.epoch,
            chain.segment,
            stem,
            chain.last_tag,
            chain.tree.size,
            list(chain.tree.hashes),
            chain.entries,
            chain.segment_bytes,
            chain.epoch_entries,
            chain.epoch_bytes,
            chain.epoch_time,
            seal_offset,
            staged,
            list(pending),
            ended,
            link,
            unsigned_start.size if unsigned_start else 0,
            unsigned_start.root if unsigned_start else b"",
        )
        return msgspec.msgpack.encode(saved)

    def chain(self) -> Chain:
        """The chain as it was saved."""
        return Chain(
            self.origin,
            self.log,
            self.epoch,
            self.segment,
            self.last_tag,
            Frontier(self.tree_size, self.frontier),
            self.entries,
            self.segment_bytes,
            self.epoch_entries,
            self.epoch_bytes,
            self.epoch_time,
        )

    def unsigned_start(self) -> Checkpoint | None:
        """The checkpoint of the running epoch's start, if its note was not written yet."""
        return Checkpoint(self.origin, self.start_size, self.start_root) if self.start_root else None
