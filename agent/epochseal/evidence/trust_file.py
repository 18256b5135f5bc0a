"""Trust files: what one verification knows and the next one holds the log against (docs/trust.md).

The file is moved forward only by a verified log, only to a checkpoint that the pinned key signed, and never
back. Several verifiers may share it: each takes its lock for the moment of moving it, reads it again, and
holds what it has verified against what the others have seen meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from epochseal.encoding import b64decode, b64encode, parse_decimal
from epochseal.errors import ConfigError, EpochsealError, FormatError, StorageError, VerificationError
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
from epochseal.verifier import Examination, Pins
from epochseal.verifier.verdict import withdraw

HEADING: Final = "epochseal/v1/trust"
MAX_REASON = 500
"""A reason is at most this long, in characters."""
MAX_LINES = 1000
"""At most this many epoch keys, and as many cold starts."""
MAX_TRUST = MAX_NOTE + (4 << 20)
"""A trust file is at most this long, in bytes."""

_LOG_SIZE = 32
_NOT_IN_REASONS = frozenset({"Zl", "Zp", "Cc", "Cf", "Cs"})


@dataclass(frozen=True, slots=True)
class Trust:
    """What a trust file says.

    Args:
        key: the log's checkpoint key, whose name is the origin.
        log: random id of the log, 32 bytes.
        epoch_keys: ids of the wrapping keys that may occur, each with the reason why it was accepted, or ""
            for one that was there from the beginning.
        cold: numbers of epochs that may begin cold, ascending, each with the reason.
        note: the largest checkpoint that was seen, as it was signed.

    Raises:
        FormatError: a value that a trust file cannot hold.
        VerificationError: the checkpoint is not of this log, or its signature does not hold.
    """

    key: VerifierKey
    log: bytes
    epoch_keys: Mapping[str, str]
    cold: Mapping[int, str]
    note: bytes

    def __post_init__(self) -> None:
        if len(self.log) != _LOG_SIZE:
            raise FormatError(f"log id has {len(self.log)} bytes instead of {_LOG_SIZE}")
        if not 1 <= len(self.epoch_keys) <= MAX_LINES or len(self.cold) > MAX_LINES:
            raise FormatError(
                f"there are not 1 to {MAX_LINES} epoch keys, or more than {MAX_LINES} cold starts"
            )
        if list(self.cold) != sorted(self.cold):
            raise FormatError("cold starts are not in order")
        for key_id in self.epoch_keys:
            Issued(key_id, b"?")
        for reason in (*filter(None, self.epoch_keys.values()), *self.cold.values()):
            check_reason(reason)
        note = parse_note(self.note)
        if parse_checkpoint(note.text).origin != self.key.name:
            raise VerificationError(f"the checkpoint is not of {self.key.name}")
        verify_note(note, [self.key])

    @property
    def checkpoint(self) -> Checkpoint:
        """The largest checkpoint that was seen."""
        return parse_checkpoint(parse_note(self.note).text)

    def encode(self) -> bytes:
        """The file."""
        lines = [HEADING, f"log {b64encode(self.log)}", f"checkpoint-key {self.key.vkey}"]
        lines += [f"epoch-key {key_id} {reason}".rstrip(" ") for key_id, reason in self.epoch_keys.items()]
        lines += [f"cold {epoch} {reason}" for epoch, reason in self.cold.items()]
        return "\n".join((*lines, "", "")).encode() + self.note

    def pins(self) -> Pins:
        """The same for the verifier."""
        checkpoint = self.checkpoint
        return Pins(
            origin=self.key.name,
            checkpoint_key=self.key.key,
            log=self.log,
            epoch_keys=frozenset(self.epoch_keys),
            cold=self.cold,
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
            epoch_keys, cold = _read_lists(others)
            trust = Trust(parse_vkey(vkey), b64decode(log, "log", _LOG_SIZE), epoch_keys, cold, note)
        case _:
            raise FormatError("its log and checkpoint-key do not stand at the beginning")
    if trust.encode() != raw:
        raise FormatError("it is not in canonical form")
    return trust


def _read_lists(fields: list[tuple[str, str]]) -> tuple[dict[str, str], dict[int, str]]:
    epoch_keys: dict[str, str] = {}
    cold: dict[int, str] = {}
    for word, rest in fields:
        value, _, reason = rest.partition(" ")
        if word == "epoch-key":
            epoch_keys[value] = reason
        elif word == "cold":
            cold[parse_decimal(value, "epoch")] = reason
        else:
            raise FormatError(f"it has a line of no known kind: {word[:40]!r}")
    return epoch_keys, cold


def check_reason(text: str) -> str:
    """Return `text` when it can stand in a trust file as a reason.

    Raises:
        FormatError: it is empty, longer than `MAX_REASON` characters, not one line, or has a blank at an end.
    """
    if not 0 < len(text) <= MAX_REASON or text != text.strip():
        raise FormatError(f"a reason has 1 to {MAX_REASON} characters, none of them a blank at an end")
    if any(unicodedata.category(character) in _NOT_IN_REASONS for character in text):
        raise FormatError("a reason is one line without control characters")
    return text


def read_trust(path: Path) -> Trust:
    """Read a trust file from disk.

    Raises:
        ConfigError: there is none, or what is there is no trust file.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TRUST + 1)
    except FileNotFoundError as exc:
        raise ConfigError(
            f"there is no trust file {path}", "epochseal trust LOGDIR -o FILE makes one"
        ) from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        return parse_trust(raw)
    except (FormatError, VerificationError) as exc:
        hint = "take it from a backup, or look at what changed it: it is what the log is held against"
        raise ConfigError(f"{path} is no trust file: {exc}", hint) from exc


def first_trust(key: VerifierKey, found: Examination) -> Trust:
    """What a log that was verified for the first time is trusted for.

    Only the epoch keys that a checkpoint covers are pinned: what nobody signed, anybody may have written.
    """
    signed = {key_id: "" for key_id, size in found.epoch_keys.items() if size < found.signed_size}
    log = b64decode(found.verdict.log, "log", _LOG_SIZE)
    return Trust(key, log, signed, {}, found.signed_note)


def accept(trust: Trust, *, cold: Mapping[int, str], epoch_keys: Mapping[str, str]) -> Trust:
    """The same with more cold starts and epoch keys accepted; what was accepted before keeps its reason."""
    starts = {**cold, **trust.cold}
    new = {key_id: reason for key_id, reason in epoch_keys.items() if key_id not in trust.epoch_keys}
    return replace(trust, cold=dict(sorted(starts.items())), epoch_keys={**trust.epoch_keys, **new})


def write_trust(path: Path, trust: Trust) -> None:
    """Write a trust file durably, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    replace_file(path.resolve(), trust.encode())


def move_forward(path: Path, read: Trust, found: Examination) -> Trust:
    """Take over the checkpoint of a log that was verified with `read`; what the file says from then on.

    Nothing is written if the file has seen as much already. `found` must be the examination of a log whose
    verdict is `verified`; anything else is a ValueError.

    Raises:
        VerificationError: another verifier has seen another history of this log since `read` was read.
        ConfigError: the file is none any more, or pins another log now.
        StorageError: it cannot be read, locked or written.
    """
    if found.verdict.verdict != "verified":
        raise ValueError(f"a log that is {found.verdict.verdict} moves no trust file")
    with _locked(path):
        now = read_trust(path)
        if (now.key.name, now.log) != (read.key.name, read.log):
            raise ConfigError(f"{path} pins another log than it did a moment ago")
        seen = now.checkpoint
        if seen.size > found.verdict.tree_size:
            # Another verifier has moved the file on meanwhile, by a log that had grown: it stays as it is.
            return now
        if found.roots.get(seen.size) != seen.root:
            raise VerificationError(
                f"{path} has seen another history of this log: the first {seen.size} lines are others",
                "keep both copies of the log as evidence",
            )
        merged = accept(now, cold=read.cold, epoch_keys=read.epoch_keys)
        if found.signed_size > seen.size and found.signer is not None:
            merged = replace(merged, key=found.signer, note=found.signed_note)
        if merged != now:
            write_trust(path, merged)
        return merged


def move_or_withdraw(path: Path, read: Trust, found: Examination) -> Trust | None:
    """As `move_forward`, for a log of any verdict: None, and nothing is written, if it is not verified.

    Where another verifier has seen another history meanwhile, the verdict is withdrawn: it gets the problem
    `forked`.

    Raises:
        ConfigError: the file is none any more, or pins another log now.
        StorageError: it cannot be read, locked or written.
    """
    if found.verdict.verdict != "verified":
        return None
    try:
        return move_forward(path, read, found)
    except VerificationError as exc:
        withdraw(found.verdict, "forked", str(exc))
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the trust file against other verifiers.

    The lock lies on the file itself, which is replaced while it is held: whoever has waited for it looks
    whether it is still the file of that name. So there is no lock file, and none goes stale.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    yield
                    return
            finally:
                os.close(descriptor)
        except EpochsealError:
            raise
        except OSError as exc:
            raise StorageError(f"cannot lock {path}: {exc.strerror}") from exc
