"""Logs whose seal lines ask for as much work as their bytes can buy: damage, and signatures.

Each function makes one of about `size` bytes in a folder, and gives its path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench.bulk import ENTRY, SOURCE, Bulk, started
from tests.reference.keys import Keys, signed_note, text
from tests.reference.maker import dump

# --- lines ------------------------------------------------------------------------------------------------


def empty_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Nothing but newlines behind the first lines."""
    log = started(folder, keys)
    log.raw(b"\n" * size)
    return log.done()


def short_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Lines of no kind, between lines that hold."""
    log = started(folder, keys)
    while log.room < size:
        log.raw(b"x\n" * 2000)
        log.block(ENTRY)
    return log.done()


def long_line(folder: Path, keys: Keys, size: int) -> Path:
    """One line without an end."""
    log = started(folder, keys)
    log.raw(b"x" * size)
    return log.done()


def long_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Lines of a megabyte whose JSON is wrong at its end."""
    log = started(folder, keys)
    for _ in range(max(size >> 20, 1)):
        log.raw(b'block 2 1 1 9 9 1 %b {"src":{"name":"' % text(bytes(32)).encode() + b"n" * 1_040_000)
        log.raw(b'"}}} ' + text(bytes(32)).encode() + b"\n")
    return log.done()


def deep_lines(folder: Path, keys: Keys, size: int) -> Path:
    """JSON within JSON, a megabyte deep, and numbers of 10^5 digits."""
    log = started(folder, keys)
    tag = text(bytes(32)).encode()
    while log.room < size:
        log.raw(b'sign 2 {"run":' + b'{"a":' * 150_000 + b"1" + b"}" * 150_000 + b"} " + tag + b"\n")
        log.raw(b'sign 2 {"run":' + b"9" * 100_000 + b"} " + tag + b"\n")
        log.raw(b"sign " + b"9" * 100_000 + b' {"run":1} ' + tag + b"\n")
        log.raw(b"block 2 1 " + b"9" * 100_000 + b" 1 1 1 " + tag + b" {} " + tag + b"\n")
    return log.done()


def index_gaps(folder: Path, keys: Keys, size: int) -> Path:
    """In each epoch, lines of which 9,900 would stand between."""
    log = Bulk(folder, keys)
    log.begin("genesis")
    while log.room < size:
        # The reader has to find out that no tag behind the gap holds.
        log.size += 9_900
        log.frontier = [bytes(32)] * log.size.bit_count()
        log.block(ENTRY)
        log.block(ENTRY)
        log.end()
        log.begin("cold", segment=False, signed=False)
    return log.done()


def misplaced_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Block lines whose indices go down."""
    log = started(folder, keys)
    index, tag = size // 100, text(bytes(32))
    while log.room < size:
        index -= 1
        log.raw(f"block {index} 1 1 9 9 1 {text(bytes(32))} {SOURCE} {tag}\n".encode())
    return log.done()


def damaged_beside_blocks(folder: Path, keys: Keys, size: int) -> Path:
    """Every second line is damaged, in between stand blocks that hold."""
    log = started(folder, keys)
    while log.room < size:
        log.block(ENTRY)
        kept = log.kept[log.seal]
        kept[-3] ^= 1
        log.block(ENTRY)
    return log.done()


# --- notes ------------------------------------------------------------------------------------------------


def notes(folder: Path, keys: Keys, size: int) -> Path:
    """Notes over one size, each signed by the log's key."""
    log = started(folder, keys)
    log.sign()
    while log.room < size:
        log.note()
    return log.done()


def sign_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Sign lines, each with its note, and each with a run that it is not of."""
    log = started(folder, keys)
    while log.room < size:
        log.sign(run=5).note()
    return log.done()


def notes_with_many_signatures(folder: Path, keys: Keys, size: int) -> Path:
    """A hundred signatures by strangers on each note, behind rotate lines that name these strangers."""
    log = started(folder, keys)
    strangers = [Keys(Path(), f"key {number}") for number in range(99)]
    while log.room < size // 4:
        at = log.size
        pair = strangers[at % 99], strangers[at * 7 % 98 if at * 7 % 98 != at % 99 else 98]
        log.rotate("checkpoint", *pair)
    log.sign()
    raw = signed_note(log.origin, log.size, log.roots[log.size], keys, *strangers)
    while log.room < size:
        log.raw(f"note {text(raw)}\n".encode())
    return log.done()


def notes_of_strangers(folder: Path, keys: Keys, size: int) -> Path:
    """Notes that others signed, or nobody, between blocks."""
    log, stranger = started(folder, keys), Keys(Path(), "stranger")
    raw = signed_note(log.origin, log.size, log.roots[log.size], stranger)
    while log.room < size:
        log.raw(f"note {text(raw)}\nnote AAAA\n".encode())
    return log.done()


def prune_lines(folder: Path, keys: Keys, size: int) -> Path:
    """Each says that other segments have expired."""
    log = started(folder, keys)
    while log.room < size:
        body = {"segment": log.size, "epoch": 0, "tree_size": 0, "root": text(bytes(32)), "entries": 0}
        log.line("prune", dump(body | {"bytes": 1, "policy": "p"}))
    log.sign().note()
    return log.done()


def honest(folder: Path, keys: Keys, size: int) -> Path:
    """For comparison: blocks of one short entry, a sign line and its note, closed."""
    log = started(folder, keys)
    while log.room < size:
        log.block(ENTRY)
    log.close()
    return log.done()


LINES: tuple[Callable[[Path, Keys, int], Path], ...] = (
    empty_lines,
    short_lines,
    long_line,
    long_lines,
    deep_lines,
    index_gaps,
    misplaced_lines,
    damaged_beside_blocks,
    notes,
    sign_lines,
    notes_with_many_signatures,
    notes_of_strangers,
    prune_lines,
    honest,
)
