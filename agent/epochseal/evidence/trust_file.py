"""Trust files: what one verification knows and the next one holds the log against (docs/trust.md).

Here is what such a file says, and its one form; log_memory.py has how it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from epochseal.encoding import UNSEEN, b64decode, b64encode, parse_decimal
from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.format.note import (
    MAX_NOTE,
    Checkpoint,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_note,
)
from epochseal.keys import Issued
from epochseal.storage.durable import replace_file
from epochseal.storage.own_files import OWN_MODE, read_own
from epochseal.verifier import Pins, Promise

HEADING: Final = "epochseal/v1/trust"
MAX_REASON = 500
"""A reason is at most this long, in characters."""
MAX_LINES = 1000
"""At most this many lines of each kind."""
MAX_TRUST = MAX_NOTE + (8 << 20)
"""A trust file is at most this long, in bytes."""

_HASH_SIZE = 32


class Trust(msgspec.Struct, frozen=True):
    """What a trust file says.

    Args:
        key: the log's checkpoint key, whose name is the origin.
        log: the log's id, 32 bytes.
        epoch_keys: ids of the wrapping keys that may occur, each with the reason why it was accepted, or ""
            for one that a verified log brought along.
        starts: leaves of the epoch lines that were accepted, 32 bytes each, each with the reason.
        checkpoint_keys: keys that were accepted as later ones of this log, as vkeys, each with the reason.
        promises: what the log owes of its retention, one of each duration, ascending.
        note: the largest checkpoint that was seen, as it was signed.

    Raises:
        FormatError: a value that a trust file cannot hold.
        VerificationError: the checkpoint is not of this log, or its signature does not hold.
    """

    key: VerifierKey
    log: bytes
    epoch_keys: Mapping[str, str]
    starts: Mapping[bytes, str]
    checkpoint_keys: Mapping[str, str]
    promises: tuple[Promise, ...]
    note: bytes

    def __post_init__(self) -> None:
        if {len(self.log), *map(len, self.starts)} != {_HASH_SIZE}:
            raise FormatError(f"log ids and starts have {_HASH_SIZE} bytes")
        most = max(len(self.epoch_keys), len(self.starts), len(self.checkpoint_keys), len(self.promises))
        if not self.epoch_keys or most > MAX_LINES:
            raise FormatError(f"there is no epoch key, or more than {MAX_LINES} lines of one kind")
        for key_id in self.epoch_keys:
            Issued(key_id, b"?")
        for vkey in self.checkpoint_keys:
            if parse_vkey(vkey).name != self.key.name:
                raise FormatError(f"the accepted checkpoint key is not of {self.key.name}")
        reasons = (*filter(None, self.epoch_keys.values()), *self.starts.values())
        for reason in (*reasons, *self.checkpoint_keys.values()):
            check_reason(reason)
        durations = [promise.retention for promise in self.promises]
        if durations != sorted(set(durations)) or 0 in durations:
            raise FormatError("the promises are not one of each duration, ascending")
        note = parse_note(self.note)
        if parse_checkpoint(note.text).origin != self.key.name:
            raise VerificationError(f"the checkpoint is not of {self.key.name}")
        verify_note(note, [self.key])

    @property
    def checkpoint(self) -> Checkpoint:
        """The largest checkpoint that was seen."""
        return parse_checkpoint(parse_note(self.note).text)

    @property
    def log_text(self) -> str:
        """The log's id as people are shown it."""
        return b64encode(self.log)

    def encode(self) -> bytes:
        """The file."""
        lines = [HEADING, f"log {self.log_text}", f"checkpoint-key {self.key.vkey}"]
        lines += [f"epoch-key {key_id} {reason}".rstrip(" ") for key_id, reason in self.epoch_keys.items()]
        lines += [f"start {b64encode(leaf)} {reason}" for leaf, reason in self.starts.items()]
        lines += [f"accepted-key {vkey} {reason}" for vkey, reason in self.checkpoint_keys.items()]
        lines += [f"promise {item.retention} {item.index} {item.time}" for item in self.promises]
        return "\n".join((*lines, "", "")).encode() + self.note

    def pins(self) -> Pins:
        """The same for the verifier."""
        checkpoint = self.checkpoint
        return Pins(
            origin=self.key.name,
            checkpoint_key=self.key.key,
            log=self.log,
            epoch_keys=frozenset(self.epoch_keys),
            starts=self.starts,
            checkpoint_keys=frozenset(map(parse_vkey, self.checkpoint_keys)),
            promises=self.promises,
            size=checkpoint.size,
            root=checkpoint.root,
            note=self.note,
        )


def parse_trust(raw: bytes) -> Trust:
    """Read a trust file.

    Raises:
        FormatError: it is not in its one form, or longer than `MAX_TRUST`.
        VerificationError: its checkpoint is not signed by the key that it pins.
    """
    if len(raw) > MAX_TRUST:
        raise FormatError(f"it is longer than {MAX_TRUST} bytes")
    head, separator, note = raw.partition(b"\n\n")
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError as exc:
        raise FormatError(f"it is not UTF-8: {exc}") from exc
    if lines[0] != HEADING or not separator:
        raise FormatError(f"it does not begin with {HEADING}")
    fields: list[tuple[str, str]] = [
        (word, rest) for word, _, rest in (line.partition(" ") for line in lines[1:])
    ]
    match fields:
        case [("log", log), ("checkpoint-key", vkey), *others]:
            trust = _read_lists(parse_vkey(vkey), parse_log_id(log), others, note)
        case _:
            raise FormatError("its log and checkpoint-key do not stand at the beginning")
    # Lines in another order, twice, or spelled otherwise are found by this alone.
    if trust.encode() != raw:
        raise FormatError("it is not in canonical form")
    return trust


def _read_lists(key: VerifierKey, log: bytes, fields: list[tuple[str, str]], note: bytes) -> Trust:
    epoch_keys: dict[str, str] = {}
    starts: dict[bytes, str] = {}
    checkpoint_keys: dict[str, str] = {}
    promises: list[Promise] = []
    for word, rest in fields:
        value, _, reason = rest.partition(" ")
        if word == "epoch-key":
            epoch_keys[value] = reason
        elif word == "start":
            starts[b64decode(value, "start", _HASH_SIZE)] = reason
        elif word == "accepted-key":
            checkpoint_keys[value] = reason
        elif word == "promise":
            retention, index, time = _three_numbers(rest)
            promises.append(Promise(retention, index, time))
        else:
            raise FormatError(f"it has a line of no known kind: {word[:40]!r}")
    return Trust(key, log, epoch_keys, starts, checkpoint_keys, tuple(promises), note)


def _three_numbers(text: str) -> list[int]:
    words = text.split(" ")
    if len(words) != 3:  # noqa: PLR2004  # retention, index, time
        raise FormatError("a promise is three numbers")
    return [parse_decimal(word, "promise") for word in words]


def parse_log_id(text: str) -> bytes:
    """A log's id as people type it: base64 of 32 bytes.

    Raises:
        FormatError: anything else.
    """
    return b64decode(text, "log id", _HASH_SIZE)


def check_reason(text: str) -> str:
    """Return `text` when it can stand in a trust file as a reason.

    Raises:
        FormatError: it is empty, longer than `MAX_REASON` characters, not one line, or has a blank at an end.
    """
    if not 0 < len(text) <= MAX_REASON or text != text.strip(" "):
        raise FormatError(f"a reason has 1 to {MAX_REASON} characters, none of them a blank at an end")
    if (found := UNSEEN.search(text.replace(" ", ""))) is not None:
        raise FormatError(
            f"a reason is one line of characters that can be seen: it holds U+{ord(found[0]):04X}"
        )
    return text


def find_trust(path: Path) -> Trust | None:
    """Read a trust file from disk; None if there is none.

    Raises:
        ConfigError: what is there is no trust file, or is not ours alone.
        StorageError: it cannot be read.
    """
    raw = read_own(path, MAX_TRUST)
    if raw is None:
        return None
    try:
        return parse_trust(raw)
    except (FormatError, VerificationError) as exc:
        hint = "take it from a backup, or look at what changed it: it is what the log is held against"
        raise ConfigError(f"{path} is no trust file: {exc}", hint) from exc


def read_trust(path: Path) -> Trust:
    """Read a trust file that is there.

    Raises:
        ConfigError, StorageError: as `find_trust`, or there is none.
    """
    if (trust := find_trust(path)) is None:
        raise ConfigError(f"there is no trust file {path}", "epochseal trust LOGDIR -o FILE makes one")
    return trust


def write_trust(path: Path, trust: Trust) -> None:
    """Write a trust file durably, whole or not at all; nobody else may read it.

    Raises:
        StorageError: it cannot be written.
    """
    replace_file(path.absolute(), trust.encode(), OWN_MODE)
