"""Logs whose epochs, segments and rotations ask for as much work as their bytes can buy.

Each function makes one of about `size` bytes in a folder, and gives its path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench.bulk import ENTRY, SOURCE, Bulk, started
from tests.reference.keys import Keys, hashed, text
from tests.reference.maker import Json, dump

# --- epochs -----------------------------------------------------------------------------------------------


def unreadable_epochs(folder: Path, keys: Keys, size: int) -> Path:
    """Epoch lines without anything in them."""
    log = started(folder, keys)
    log.raw(b"epoch 1 {}\n" * (size // 11))
    return log.done()


def unreadable_epoch_first(folder: Path, keys: Keys, size: int) -> Path:
    """The same, and no epoch line that can be read before them."""
    log = Bulk(folder, keys)
    log.begin("genesis")
    log.kept[log.seal] = bytearray(b"epoch \n" * (size // 7))
    return log.done()


def unreadable_epoch_with_notes(folder: Path, keys: Keys, size: int) -> Path:
    """Behind one epoch line that cannot be read, blocks and notes in turn."""
    log = started(folder, keys)
    log.raw(b"epoch 2 {}\n")
    digest = text(bytes(32))
    for number in range(size // 170):
        log.raw(f"block {number} {number} 1 {number} 1 1 {digest} {SOURCE} {digest}\nnote AAAA\n".encode())
    return log.done()


def _keyed(name: str) -> Callable[[Json], object]:
    return lambda head: head.update(key=name or head["key"])


def _epochs(folder: Path, keys: Keys, size: int, link: str, key: Callable[[int], str]) -> Path:
    log = started(folder, keys)
    number = 0
    while log.room < size:
        number += 1
        name = key(number)
        if link == "carry":
            log.sign(log.ask())
            log.note()
        log.end()
        log.begin(link, segment=False, edit=_keyed(name), signed=False)
        log.block(ENTRY)
    return log.done()


def epochs(folder: Path, keys: Keys, size: int) -> Path:
    """As an agent makes them, with one entry in each."""
    return _epochs(folder, keys, size, "carry", lambda _: "")


def cold_epochs(folder: Path, keys: Keys, size: int) -> Path:
    """Each is a run of its own, and nobody signed for it."""
    return _epochs(folder, keys, size, "cold", lambda _: "")


def epochs_of_many_keys(folder: Path, keys: Keys, size: int) -> Path:
    """Each names another key that nobody knows."""
    return _epochs(folder, keys, size, "cold", lambda number: f"file:{hashed(number).hex()}")


def epochs_of_two_keys(folder: Path, keys: Keys, size: int) -> Path:
    """Two keys that nobody knows, in turn."""
    return _epochs(folder, keys, size, "cold", lambda number: f"file:{hashed(number % 2).hex()}")


def tiny_segments(folder: Path, keys: Keys, size: int) -> Path:
    """One epoch and one entry in each, as an agent makes them."""
    log = started(folder, keys)
    while log.room < size:
        log.turn("segment").block(ENTRY)
    return log.done()


def segments_set_aside(folder: Path, keys: Keys, size: int) -> Path:
    """Beside each tiny segment something that was set aside."""
    log = started(folder, keys)
    while log.room < size:
        log.kept[log.file("unsealed")] += b"x"
        log.kept[log.file("torn")] += b"x"
        log.turn("segment", signed=False).block(ENTRY)
    return log.done()


def halves(folder: Path, keys: Keys, size: int) -> Path:
    """Seal files without log files, of 1 KiB, and names that belong to nobody."""
    log = started(folder, keys).done()
    for number in range(2, 2 + size // 1024):
        (log / "segments" / f"{number:06d}-20260101T000000Z.seal").write_bytes(b"x" * 1023 + b"\n")
        (log / "segments" / f"{number:06d}-nobody").write_bytes(b"")
    return log


# --- rotations --------------------------------------------------------------------------------------------


def _rotations(
    log: Bulk, size: int, pair: Callable[[int], tuple[str, str]], key: str, *, stolen: bool
) -> Path:
    number = 0
    while log.room < size:
        old, new = pair(number)
        body = {"key": key, "old": old, "new": new, "from_size": 0 if stolen else log.size}
        body |= {"who": "w", "why": "w", "time": 1} | ({"compromised": 1} if stolen else {})
        log.line("rotate", dump(body))
        number += 1
    log.sign().note()
    return log.done()


def rotations_of_epoch_keys(folder: Path, keys: Keys, size: int) -> Path:
    """Each replaces a stolen key by another; half of it are epochs of these keys."""
    log = started(folder, keys)
    number = 0
    while log.room < size // 2:
        number += 1
        name = f"file:{hashed(number % 3000).hex()}"
        log.end()
        log.begin("cold", segment=False, edit=_keyed(name), signed=False)
        log.block(ENTRY)
    return _rotations(
        log,
        size,
        lambda at: (f"file:{hashed(at % 3000).hex()}", f"file:{hashed(at % 3000 + 1).hex()}"),
        "epoch",
        stolen=True,
    )


def rotations_within_one_epoch(folder: Path, keys: Keys, size: int) -> Path:
    """All of other epoch keys, none of which is used."""
    log = started(folder, keys)
    return _rotations(log, size, lambda at: (f"file:{at}", f"file:{at + 1}"), "epoch", stolen=False)


def _vkey(number: int) -> str:
    return Keys(Path(), f"key {number}").vkey()


def rotations_of_stolen_checkpoint_keys(folder: Path, keys: Keys, size: int) -> Path:
    """Each says that the operator's key was stolen, and names another new one."""
    log, named = started(folder, keys), keys.vkey()
    return _rotations(log, size, lambda at: (named, _vkey(at)), "checkpoint", stolen=True)


def rotations_of_one_pair(folder: Path, keys: Keys, size: int) -> Path:
    """One pair of checkpoint keys, again and again, and never endorsed."""
    log, named, new = started(folder, keys), keys.vkey(), _vkey(1)
    return _rotations(log, size, lambda _: (named, new), "checkpoint", stolen=False)


def chain_of_checkpoint_keys(folder: Path, keys: Keys, size: int) -> Path:
    """One key after the other, each endorsed by the one before."""
    log, number, current = started(folder, keys), 0, keys
    while log.room < size:
        number += 1
        new = Keys(Path(), f"key {number}")
        log.hand_over(current, new)
        current = new
    return log.done()


def chain_backwards(folder: Path, keys: Keys, size: int) -> Path:
    """The same, and the operator names the last key: all earlier ones are reached backwards."""
    count = max(size // 780, 1)
    first = Keys(Path(), "key 0")
    log = Bulk(folder, keys)
    log.signer = first
    log.begin("genesis").block(ENTRY)
    current = first
    for number in range(1, count + 1):
        new = keys if number == count else Keys(Path(), f"key {number}")
        log.hand_over(current, new)
        current = new
    return log.done()


EPOCHS: tuple[Callable[[Path, Keys, int], Path], ...] = (
    unreadable_epochs,
    unreadable_epoch_first,
    unreadable_epoch_with_notes,
    epochs,
    cold_epochs,
    epochs_of_many_keys,
    epochs_of_two_keys,
    tiny_segments,
    segments_set_aside,
    halves,
    rotations_of_epoch_keys,
    rotations_within_one_epoch,
    rotations_of_stolen_checkpoint_keys,
    rotations_of_one_pair,
    chain_of_checkpoint_keys,
    chain_backwards,
)
