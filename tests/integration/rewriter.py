"""Whoever stole the verifier's folder: writes a log again, with other entries and right tags.

It opens every epoch secret and every carry with the private wrapping key, wraps the secrets again for their
new places with the public one, and chains all lines anew. What it cannot do is sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace as replace_log
from pathlib import Path

from msgspec.structs import replace

from epochseal.custody import ratchet
from epochseal.encoding import b64decode, b64encode
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import (
    Asked,
    Block,
    End,
    Header,
    NoteLine,
    Sign,
    TaggedLine,
    encode_note_line,
    parse_line,
)
from epochseal.keys import Context, Issued, recover_one
from epochseal.sealing.chain import Chain, EpochStart, Pace
from tests.integration.logs import Log, LogKeys


def rewrite(log: Log, change: Callable[[int, bytes], bytes], into: Path, *, sign: bool = False) -> Log:
    """Write `log` again in `into`, each entry as `change` gives it.

    Args:
        log: a log with genesis and carry links.
        change: gets the number of an entry and its bytes; must not add or remove entries.
        into: a directory that does not exist.
        sign: make the checkpoints again too, as the owner of the signing key could; else copy them.
    """
    headers = [header for seal in log.files("seal") for header in _headers(seal.read_bytes())]
    rewriter = _Rewriter(log.keys, headers, change, sign=sign)
    (into / "segments").mkdir(parents=True)
    for seal, content in zip(log.files("seal"), log.files("log"), strict=True):
        new_seal, new_log = rewriter.segment(seal.read_bytes(), content.read_bytes())
        (into / "segments" / seal.name).write_bytes(new_seal)
        (into / "segments" / content.name).write_bytes(new_log)
    (into / "checkpoint").write_bytes(rewriter.note if sign else (log.path / "checkpoint").read_bytes())
    return replace_log(log, path=into)


def _headers(seal: bytes) -> Iterator[Header]:
    for raw in seal.split(b"\n")[:-1]:
        line = parse_line(raw)
        if isinstance(line, TaggedLine) and isinstance(line.body, Header):
            yield line.body


class _Rewriter:
    def __init__(
        self, keys: LogKeys, headers: list[Header], change: Callable[[int, bytes], bytes], *, sign: bool
    ) -> None:
        self._keys = keys
        self._headers = headers
        self._recoverer = keys.recoverer()
        self._change = change
        self._sign = sign
        self._chain: Chain | None = None
        self._tags: list[bytes] = []
        self._roots: dict[int, bytes] = {}
        self._key, self._next, self._scratch = (memoryview(bytearray(32)) for _ in range(3))
        self.note = b""

    def segment(self, seal: bytes, content: bytes) -> tuple[bytes, bytes]:
        """Both files of one segment, written again."""
        lines, entries = [], b""
        for raw in seal.split(b"\n")[:-1]:
            line = parse_line(raw)
            if isinstance(line, NoteLine):
                lines.append(self._checkpoint(line))
                continue
            data = b""
            if isinstance(line.body, Block):
                old = content[line.body.offset : line.body.offset + line.body.size]
                data = b"".join(self._changed(line.body.first_entry, old))
                entries += data
            lines.append(self._line(line, data))
            self._key[:] = self._next
        return b"".join(lines), entries

    def _changed(self, first: int, data: bytes) -> Iterator[bytes]:
        for number, text in enumerate(data.splitlines(keepends=True), first):
            yield self._change(number, text)

    def _line(self, line: TaggedLine, data: bytes) -> bytes:
        body, chain = line.body, self._chain
        if isinstance(body, Header):
            made = self._header(body)
        elif chain is None:
            raise AssertionError("a log that this rewriter was not made for")
        elif isinstance(body, Block):
            digest = hashlib.sha256(data).digest()
            made = chain.block(body.entries, len(data), digest, body.src, body.time, self._key, self._next)
        elif isinstance(body, Sign):
            wrapped = self._issued(self._headers[body.next.epoch]).wrapped if body.next else None
            made = chain.sign(wrapped, self._key, self._next)
        else:
            assert isinstance(body, End)
            made = chain.end(body.reason, self._key, self._scratch, self._next)
        assert self._chain is not None
        self._tags.append(self._chain.last_tag)
        self._roots[self._chain.tree.size] = self._chain.tree.root()
        return made

    def _header(self, header: Header) -> bytes:
        log = b64decode(header.log, "log")
        both = memoryview(bytearray(64))
        old, context, issued = self._recovered(header, both[:32])
        if header.link == "carry":
            # The thief follows the ratchet of the changed log: its own end gives the carry.
            sealed = b64decode(header.carry, "carry")
            ratchet.open_carry(both[:32], sealed, old.encode(), both[32:], self._scratch)
            both[32:] = self._key
        if self._chain is None:
            self._chain = Chain(header.origin, log)
        asked = Asked(header.asked.line, b64encode(context.prev))
        pace = Pace(header.heartbeat, header.interval, header.max_overdue, header.retention)
        start = EpochStart(header.link, issued, context, asked, (), header.segment, pace, header.time)
        return self._chain.start(start, both, self._scratch, self._next)

    def _issued(self, header: Header) -> Issued:
        return self._recovered(header, memoryview(bytearray(32)))[2]

    def _recovered(self, header: Header, secret: memoryview) -> tuple[Context, Context, Issued]:
        """The secret of an epoch, its old context and its new one, and how it is wrapped for the new one."""
        old = Context(
            header.origin, b64decode(header.log, "log"), header.epoch, b64decode(header.asked.tag, "asked")
        )
        recover_one(self._recoverer, b64decode(header.wrapped, "wrapped"), old, secret)
        context = replace(old, prev=self._tags[header.asked.line] if self._tags else bytes(32))
        if context == old:
            return old, context, Issued(header.key, b64decode(header.wrapped, "wrapped"))
        return old, context, Issued(self._keys.key_id, self._keys.wrap(context.encode(), bytes(secret)))

    def _checkpoint(self, line: NoteLine) -> bytes:
        if not self._sign or self._chain is None:
            return encode_note_line(line.note)
        old = parse_checkpoint(parse_note(line.note).text)
        self.note = self._keys.sign(replace(old, root=self._roots[old.size]))
        return encode_note_line(self.note)
