"""The chain as a pure state machine: state and payload in, sealed line out; no I/O, no clock, no randomness.

The caller owns the key pages and the order of durability (line_writer.py). Each call takes the key of the
line and a place for the next one: so the caller can publish the new key and wipe the old one in one step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from epochseal.custody import ratchet
from epochseal.encoding import b64encode
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import (
    ZERO_TAG,
    Abandoned,
    Asked,
    Block,
    Denies,
    End,
    EndReason,
    Header,
    Link,
    Next,
    Prune,
    Rotate,
    Sign,
    SourceMark,
    Tree,
    encode_block,
    encode_body,
    encode_line,
    log_id,
)
from epochseal.keys import Context, Issued
from epochseal.sealing import defaults


@dataclass(frozen=True, slots=True)
class Pace:
    """What an epoch line promises of the agent's rhythm, in milliseconds; `retention` 0 promises nothing."""

    heartbeat: int = defaults.HEARTBEAT
    interval: int = defaults.EPOCH_INTERVAL
    max_overdue: int = defaults.MAX_OVERDUE
    retention: int = defaults.RETENTION


@dataclass(frozen=True, slots=True)
class EpochStart:
    """What a new epoch line needs from outside the chain."""

    link: Link
    issued: Issued
    context: Context
    asked: Asked
    abandoned: tuple[Abandoned, ...]
    segment: int
    pace: Pace
    time: int
    denies: Denies | None = None


@dataclass(slots=True)
class Chain:
    """Where a log stands: the counters over the whole log and those of the running epoch.

    `log` is 32 random bytes until line 0 is sealed, then the log's id. `epoch` is that of the last header
    (-1: none yet), `epoch_index` the index of its line, `run` that of the line its run began with. `index` is
    the tree size, `entries` the number of the next entry, `segment_bytes` the sealed length of the running
    segment's log file. `interval` and `max_overdue` are what the last header promises, in ms; `raised`: one
    of them is above that of the epoch before, and no `sign` stands behind that yet.
    """

    origin: str
    log: bytes
    epoch: int = -1
    epoch_index: int = 0
    run: int = 0
    segment: int = 0
    last_tag: bytes = ZERO_TAG
    tree: Frontier = field(default_factory=Frontier)
    entries: int = 0
    segment_bytes: int = 0
    epoch_entries: int = 0
    epoch_bytes: int = 0
    epoch_time: int = 0
    interval: int = 0
    max_overdue: int = 0
    raised: bool = False

    @property
    def index(self) -> int:
        """The index of the next tagged line."""
        return self.tree.size

    @property
    def bare(self) -> bool:
        """Whether the running epoch consists of its epoch line alone."""
        return self.index == self.epoch_index + 1

    @property
    def latest_time(self) -> int:
        """The last moment, in ms since 1970, that a block line of the running epoch may state."""
        return self.epoch_time + self.interval + self.max_overdue

    def next_context(self) -> Context:
        """The context that the next epoch's secret is asked with, at this moment."""
        return Context(self.origin, self.log, self.epoch + 1, self.last_tag)

    def asked(self) -> Asked:
        """The last tagged line, as an epoch line quotes it; line 0 and a zero tag before genesis."""
        return Asked(max(self.index - 1, 0), b64encode(self.last_tag))

    def checkpoint(self) -> Checkpoint:
        """The checkpoint over all lines so far, to be signed."""
        return Checkpoint(self.origin, self.tree.size, self.tree.root())

    def start(
        self, start: EpochStart, secret_and_carry: memoryview, scratch: memoryview, into: memoryview
    ) -> bytes:
        """Begin an epoch: the `epoch` line, with the key of the line after it written to `into`.

        Args:
            start: the issued secret's wrapped form and what else the header states.
            secret_and_carry: 64 bytes, D then C; C is zero unless `link` is `carry`; the caller wipes them.
            scratch: 32 bytes of a page, wiped here.
            into: 32 bytes, gets the key of the next line.
        """
        context = start.context.encode()
        sealed = b""
        if start.link == "carry":
            sealed = ratchet.seal_carry(secret_and_carry[:32], secret_and_carry[32:], context, scratch)
        header = Header(
            epoch=start.context.epoch,
            origin=self.origin,
            log=b64encode(self.log),
            segment=start.segment,
            link=start.link,
            key=start.issued.key_id,
            wrapped=b64encode(start.issued.wrapped),
            carry=b64encode(sealed),
            asked=start.asked,
            prev=b64encode(self.last_tag),
            tree=Tree(self.tree.size, [b64encode(subtree) for subtree in self.tree.hashes]),
            first_entry=self.entries,
            heartbeat=start.pace.heartbeat,
            interval=start.pace.interval,
            max_overdue=start.pace.max_overdue,
            retention=start.pace.retention,
            abandoned=list(start.abandoned),
            time=start.time,
            denies=start.denies,
        )
        index = self.index
        payload = encode_body(index, header)
        try:
            ratchet.derive_epoch_key(secret_and_carry, payload, scratch)
            line = self._seal(payload, scratch, into)
        finally:
            scratch[:] = bytes(32)
        if index == 0:
            self.log = log_id(leaf_hash(payload))
        else:
            pace = start.pace
            self.raised = pace.interval > self.interval or pace.max_overdue > self.max_overdue
        self.epoch, self.epoch_index = header.epoch, index
        if start.link != "carry":
            self.run = index
        self.interval, self.max_overdue = start.pace.interval, start.pace.max_overdue
        self.epoch_entries = self.epoch_bytes = 0
        self.epoch_time = start.time
        if start.segment != self.segment:
            self.segment, self.segment_bytes = start.segment, 0
        return line

    def block(
        self,
        entries: int,
        size: int,
        digest: bytes,
        src: SourceMark | None,
        time: int,
        key: memoryview,
        into: memoryview,
    ) -> bytes:
        """Seal `entries` entries of `size` bytes in all; 0 entries is the heartbeat."""
        body = Block(self.entries, entries, self.segment_bytes, size, time, digest, src)
        line = self._seal(encode_block(self.index, body), key, into)
        self._count(entries, size)
        return line

    def blocks(
        self,
        payloads: Sequence[bytes],
        entries: int,
        size: int,
        tag_lines: Callable[[bytes, Sequence[bytes]], list[bytes]],
    ) -> bytes:
        """Seal blocks that follow each other: their whole lines.

        Args:
            payloads: of their lines, at least one.
            entries: of all the blocks together.
            size: their bytes, of all together.
            tag_lines: gives the tags of lines with these leaves, behind a line with this tag.
        """
        leaves = [leaf_hash(payload) for payload in payloads]
        # As in `_seal`: a failure here leaves the chain where it was.
        tags = tag_lines(self.last_tag, leaves)
        for leaf in leaves:
            self.tree.append(leaf)
        self.last_tag = tags[-1]
        self._count(entries, size)
        return b"".join(map(encode_line, payloads, tags))

    def record(self, body: Prune | Rotate, key: memoryview, into: memoryview) -> bytes:
        """Record that segments expired, or that another key replaces one, by this line at the latest."""
        if isinstance(body, Rotate):
            body = replace(body, from_size=min(body.from_size, self.index))
        return self._seal(encode_body(self.index, body), key, into)

    def sign(self, wrapped: bytes | None, key: memoryview, into: memoryview) -> bytes:
        """Ask for a signature; `wrapped` is that of the next epoch's secret, which is announced, or None."""
        announced = None
        if wrapped is not None:
            announced = Next(self.epoch + 1, b64encode(hashlib.sha256(wrapped).digest()))
        line = self._seal(encode_body(self.index, Sign(self.run, announced)), key, into)
        self.raised = False
        return line

    def end(self, reason: EndReason, key: memoryview, scratch: memoryview, into: memoryview) -> bytes:
        """End the epoch: the carry for the next one is written to `into`; `scratch` (32 bytes) is wiped."""
        run = self.run if reason == "close" else None
        body = End(reason, self.epoch_entries, self.epoch_bytes, run)
        try:
            line = self._seal(encode_body(self.index, body), key, scratch)
            ratchet.derive_carry(scratch, into)
        finally:
            scratch[:] = bytes(32)
        return line

    def _count(self, entries: int, size: int) -> None:
        self.entries += entries
        self.epoch_entries += entries
        self.segment_bytes += size
        self.epoch_bytes += size

    def _seal(self, payload: bytes, key: memoryview, into: memoryview) -> bytes:
        # Nothing changes before both derivations are done: a failure leaves the chain where it was.
        leaf = leaf_hash(payload)
        tag = ratchet.compute_tag(key, self.last_tag, leaf)
        ratchet.advance(key, into)
        self.tree.append(leaf)
        self.last_tag = tag
        return encode_line(payload, tag)
