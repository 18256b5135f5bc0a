"""What somebody with write access to the stored files can try; each attack is done to a copy of a log."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epochseal.format.seal_lines import Block, SourceMark, TaggedLine, encode_block, encode_line, parse_line
from epochseal.keys import load_backend, parse_key_uri
from epochseal.sealing.chain import Chain, EpochStart, Pace
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import FOLDER, list_segments, segment_stem
from epochseal.verifier.verdict import VerdictName

_FORGED = b'203.0.113.66 - - [01/Jan/2026 00:00:00] "GET /never-happened HTTP/1.1" 200 -\n'


class Victim:
    """A copy of a sealed log, and what the attacker has besides.

    Args:
        logdir: the copy.
        older: a copy of the same log from an earlier moment, its agent alive.
        forged: a log that the attacker sealed with keys of their own.
        wrapping_key: a folder with the public wrapping key and nothing else.
        now: the time in ms.
    """

    def __init__(self, logdir: Path, *, older: Path, forged: Path, wrapping_key: Path, now: int) -> None:
        self.logdir = logdir
        self.older = older
        self.forged = forged
        self.wrapping_key = wrapping_key
        self.now = now
        self.stems = [segment.stem for segment in list_segments(logdir).segments]
        # The segment in the middle of the log is attacked, at the place in its middle.
        self.stem = self.stems[len(self.stems) // 2]

    def file(self, ending: str, stem: str | None = None) -> Path:
        """A file of the segment under attack, or of another one."""
        return self.logdir / FOLDER / f"{stem or self.stem}.{ending}"

    def change_entries(self, change: Callable[[list[bytes], int], None]) -> None:
        """Change the segment's entries; `change` is given them and the place in the middle."""
        _change_lines(self.file("log"), change)

    def change_seals(self, change: Callable[[list[bytes], int], None]) -> None:
        """Change the segment's seal lines; `change` is given them and where a block stands before another."""

        def at_block(lines: list[bytes], _: int) -> None:
            change(lines, _block_near(lines, len(lines) // 2))

        _change_lines(self.file("seal"), at_block)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: what it is called, the verdict that it must get, and how it is done.

    `max_age` in ms: how old the end of the log may be for whoever verifies; None is the verifier's default.
    """

    name: str
    verdict: VerdictName
    do: Callable[[Victim], None]
    max_age: int | None = None


# --- entries ------------------------------------------------------------------------------------------------


def _edit_byte(victim: Victim) -> None:
    def change(entries: list[bytes], at: int) -> None:
        entries[at] = _other_byte(entries[at])

    victim.change_entries(change)


def _edit_byte_and_digest(victim: Victim) -> None:
    content = bytearray(victim.file("log").read_bytes())

    def change(lines: list[bytes], at: int) -> None:
        line, block = _parse_block(lines[at])
        place = slice(block.offset, block.offset + block.size)
        content[place] = _other_byte(bytes(content[place]))
        body = Block(
            block.first_entry,
            block.entries,
            block.offset,
            block.size,
            block.time,
            hashlib.sha256(content[place]).digest(),
            block.src,
        )
        lines[at] = encode_line(encode_block(line.index, body), line.tag)

    victim.change_seals(change)
    victim.file("log").write_bytes(content)


def _delete_entry(victim: Victim) -> None:
    def change(entries: list[bytes], at: int) -> None:
        del entries[at]

    victim.change_entries(change)


def _insert_entry(victim: Victim) -> None:
    def change(entries: list[bytes], at: int) -> None:
        entries.insert(at, _FORGED)

    victim.change_entries(change)


def _swap_entries(victim: Victim) -> None:
    def change(entries: list[bytes], at: int) -> None:
        other = next(place for place in range(at + 1, len(entries)) if entries[place] != entries[at])
        entries[at], entries[other] = entries[other], entries[at]

    victim.change_entries(change)


# --- seal lines ---------------------------------------------------------------------------------------------


def _delete_block(victim: Victim) -> None:
    content = bytearray(victim.file("log").read_bytes())

    def change(lines: list[bytes], at: int) -> None:
        _, block = _parse_block(lines.pop(at))
        del content[block.offset : block.offset + block.size]

    victim.change_seals(change)
    victim.file("log").write_bytes(content)


def _swap_lines(victim: Victim) -> None:
    def change(lines: list[bytes], at: int) -> None:
        lines[at], lines[at + 1] = lines[at + 1], lines[at]

    victim.change_seals(change)


def _remove_epoch(victim: Victim) -> None:
    lines = victim.file("seal").read_bytes().splitlines(keepends=True)
    start, stop, content = _second_epoch(lines)
    kept = bytearray(victim.file("log").read_bytes())
    del kept[content]
    victim.file("log").write_bytes(kept)
    victim.file("seal").write_bytes(b"".join(lines[:start] + lines[stop:]))


def _replay_epoch(victim: Victim) -> None:
    lines = victim.file("seal").read_bytes().splitlines(keepends=True)
    start, stop, content = _second_epoch(lines)
    entries = victim.file("log").read_bytes()[content]
    _append(victim.file("seal", victim.stems[-1]), b"".join(lines[start:stop]))
    _append(victim.file("log", victim.stems[-1]), entries)


def _append_foreign_epoch(victim: Victim) -> None:
    """Whoever has the public wrapping key can begin an epoch; what they cannot do is sign its start."""
    tail = read_chain_end(list_segments(victim.logdir).segments)
    if tail is None:
        raise ValueError("the copy holds no chain")
    number = tail.segment.number + 1
    chain = Chain(
        tail.header.origin,
        tail.log,
        epoch=tail.header.epoch,
        segment=number,
        last_tag=tail.last_tag,
        tree=tail.tree,
        entries=tail.entries,
    )
    uri = parse_key_uri(f"file:{victim.wrapping_key}")
    page = memoryview(bytearray(160))  # an attacker has no need to wipe
    key, next_key, scratch = page[64:96], page[96:128], page[128:160]
    context = chain.next_context()
    issued = load_backend(uri).issuer(uri, {}).issue(context, page[:32])
    start = EpochStart("cold", issued, context, chain.asked(), (), number, Pace(), victim.now)
    digest = hashlib.sha256(_FORGED).digest()
    lines = [
        chain.start(start, page[:64], scratch, key),
        chain.block(1, len(_FORGED), digest, SourceMark("stdin", len(_FORGED)), victim.now, key, next_key),
        chain.end("close", next_key, scratch, key),
    ]
    stem = segment_stem(number, victim.now)
    victim.file("seal", stem).write_bytes(b"".join(lines))
    victim.file("log", stem).write_bytes(_FORGED)


# --- whole files --------------------------------------------------------------------------------------------


def _cut_end(victim: Victim) -> None:
    """Entries and seal lines are cut at the same place, so that they fit each other."""
    stem = victim.stems[-1]
    lines = victim.file("seal", stem).read_bytes().splitlines(keepends=True)
    last = _block_near(lines, len(lines) // 2)
    _, block = _parse_block(lines[last])
    victim.file("seal", stem).write_bytes(b"".join(lines[: last + 1]))
    os.truncate(victim.file("log", stem), block.offset + block.size)


def _put_back_older_lines(victim: Victim) -> None:
    _replace(victim.logdir / FOLDER, victim.older / FOLDER)


def _put_back_older_log(victim: Victim) -> None:
    _replace(victim.logdir, victim.older)


def _replace_by_forged_log(victim: Victim) -> None:
    _replace(victim.logdir, victim.forged)


def _delete_segment(victim: Victim) -> None:
    for ending in ("log", "seal"):
        victim.file(ending).unlink()


def _exchange_segments(victim: Victim) -> None:
    """Each takes the name of the other."""
    for ending in ("log", "seal"):
        one, two = victim.file(ending, victim.stems[0]), victim.file(ending, victim.stems[1])
        aside = one.with_suffix(".aside")
        one.rename(aside)
        two.rename(one)
        aside.rename(two)


def _append_bytes(victim: Victim) -> None:
    _append(victim.file("log", victim.stems[-1]), _FORGED)


def _edit_checkpoint(victim: Victim) -> None:
    path = victim.logdir / "checkpoint"
    origin, size, rest = path.read_text(encoding="utf-8").split("\n", 2)
    path.write_text(f"{origin}\n{int(size) - 1}\n{rest}", encoding="utf-8")


ATTACKS = (
    Attack("one byte of an entry edited", "tampered", _edit_byte),
    Attack("a byte and its digest edited", "tampered", _edit_byte_and_digest),
    Attack("an entry deleted", "tampered", _delete_entry),
    Attack("a foreign entry inserted", "tampered", _insert_entry),
    Attack("two entries swapped", "tampered", _swap_entries),
    Attack("entries and their seal gone", "tampered", _delete_block),
    Attack("two seal lines swapped", "tampered", _swap_lines),
    Attack("an epoch removed", "tampered", _remove_epoch),
    Attack("an epoch replayed at the end", "tampered", _replay_epoch),
    Attack("the end cut off", "tampered", _cut_end),
    Attack("rolled back to older lines", "tampered", _put_back_older_lines),
    Attack("rolled back, checkpoint too", "incomplete", _put_back_older_log, max_age=1000),
    Attack("a foreign epoch appended", "untrusted", _append_foreign_epoch),
    Attack("all forged with other keys", "untrusted", _replace_by_forged_log),
    Attack("a segment deleted", "tampered", _delete_segment),
    Attack("two segments exchanged", "tampered", _exchange_segments),
    Attack("bytes appended after the end", "tampered", _append_bytes),
    Attack("the checkpoint edited", "tampered", _edit_checkpoint),
)


def _change_lines(path: Path, change: Callable[[list[bytes], int], None]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines, len(lines) // 2)
    path.write_bytes(b"".join(lines))


def _other_byte(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + (b"7" if data[middle : middle + 1] != b"7" else b"8") + data[middle + 1 :]


def _block_near(lines: list[bytes], place: int) -> int:
    """The first place from `place` on where a block stands before another one."""
    return next(at for at in range(place, len(lines) - 1) if lines[at][:6] == lines[at + 1][:6] == b"block ")


def _parse_block(raw: bytes) -> tuple[TaggedLine, Block]:
    line = parse_line(raw.rstrip(b"\n"))
    if not isinstance(line, TaggedLine) or not isinstance(line.body, Block):
        raise TypeError("not a block line")
    return line, line.body


def _second_epoch(lines: list[bytes]) -> tuple[int, int, slice]:
    """The second epoch of a segment: its lines, and its bytes of the log file."""
    starts = [at for at, raw in enumerate(lines) if raw.startswith(b"epoch ")]
    start, stop = starts[1], starts[2]
    blocks = [_parse_block(raw)[1] for raw in lines[start:stop] if raw.startswith(b"block ")]
    return start, stop, slice(blocks[0].offset, blocks[-1].offset + blocks[-1].size)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _replace(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)
