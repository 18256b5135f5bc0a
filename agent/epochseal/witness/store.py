"""What a witness remembers: its key, and of each log the largest checkpoint that it has cosigned.

One file a log. It is replaced as a whole and made durable before the cosignature leaves the process: a
witness that forgets could be asked to cosign a fork.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from epochseal.errors import ConfigError, EpochsealError, FormatError, StorageError, VerificationError
from epochseal.format.cosignature import WitnessKey, cosign, parse_witness_vkey
from epochseal.format.merkle import EMPTY_ROOT, verify_consistency
from epochseal.format.note import (
    MAX_NOTE,
    Checkpoint,
    Signature,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from epochseal.storage.durable import DirectoryLock, make_directory, replace_file
from epochseal.storage.opener import GoneError, read_file, read_named_file
from epochseal.witness.submission import Submission

KEY_FILE = "witness.key"
VKEY_FILE = "witness.vkey"


class UnknownLog(EpochsealError):
    """No log of this origin is witnessed (404)."""


class Untrusted(EpochsealError):
    """No signature is by a key of this log (403)."""


class Conflict(EpochsealError):
    """The old size is not the one on record, or there are two roots of one size (409).

    Args:
        size: the largest size on record.
    """

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class Inconsistent(EpochsealError):
    """The proof does not hold: the log does not continue what was cosigned (422)."""


def make_key(directory: Path, name: str) -> WitnessKey:
    """Make a witness's key pair in `directory`, which must not have one.

    Raises:
        ConfigError: there is a key already, or the name is none.
        StorageError: it cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    try:
        key = WitnessKey(name, private.public_key().public_bytes_raw())
    except FormatError as exc:
        raise ConfigError(f"{exc}", "use a name such as witness.example/w1") from exc
    make_directory(directory)
    if (directory / KEY_FILE).exists():
        raise ConfigError(f"{directory / KEY_FILE} is there already", "a witness keeps its key for ever")
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    replace_file(directory / KEY_FILE, pem, 0o600)
    replace_file(directory / VKEY_FILE, f"{key.vkey}\n".encode())
    return key


class WitnessStore:
    """The witness without its network side; safe to be called by several threads.

    Args:
        directory: where `make_key` has been, and where the records go. It is locked.
        logs: the keys of the logs that are witnessed; several of one origin are as good as each other.
        now: the time in seconds since 1970.

    Raises:
        ConfigError: there is no key, or no log.
        LogBusy: another witness has this directory.
        StorageError: the directory cannot be read.
    """

    def __init__(
        self, directory: Path, logs: Iterable[VerifierKey], now: Callable[[], int] = lambda: int(time.time())
    ) -> None:
        self._directory = directory
        self._now = now
        self._keys: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._keys.setdefault(key.name, []).append(key)
        if not self._keys:
            raise ConfigError("no log to witness", "name vkey files with --log")
        self._private, self.key = _load_key(directory)
        self._lock = threading.Lock()
        self._held = DirectoryLock(directory)

    def close(self) -> None:
        """Give the directory free."""
        self._held.close()

    def add_checkpoint(self, submission: Submission) -> Signature:
        """Check, remember and cosign a checkpoint, as C2SP tlog-witness says.

        Raises:
            FormatError: the text is no checkpoint, or smaller than the old size (400).
            UnknownLog, Untrusted, Conflict, Inconsistent: see there.
            StorageError: it cannot be remembered, so it is not cosigned.
        """
        note = submission.note
        checkpoint = parse_checkpoint(note.text)
        if (keys := self._keys.get(checkpoint.origin)) is None:
            raise UnknownLog(f"{checkpoint.origin} is not witnessed here")
        try:
            verify_note(note, keys)
        except VerificationError as exc:
            raise Untrusted(str(exc)) from exc
        if submission.old_size > checkpoint.size:
            raise FormatError(f"old size {submission.old_size} is above the checkpoint's {checkpoint.size}")
        # Check and record are one step: a smaller tree must not overtake a larger one between them.
        with self._lock:
            size, root = self._latest(checkpoint.origin)
            if submission.old_size != size:
                raise Conflict(f"the latest size is {size}, not {submission.old_size}", size)
            if size == checkpoint.size and root != checkpoint.root:
                raise Conflict(f"another root of size {size} was cosigned", size)
            try:
                verify_consistency(size, root, checkpoint.size, checkpoint.root, submission.proof)
            except VerificationError as exc:
                raise Inconsistent(str(exc)) from exc
            signature = cosign(note.text, self._now(), self.key, self._private.sign)
            replace_file(self._path(checkpoint.origin), note.encode())
            return signature

    def _latest(self, origin: str) -> tuple[int, bytes]:
        path = self._path(origin)
        try:
            raw = read_file(path, MAX_NOTE)
        except GoneError:
            return 0, EMPTY_ROOT
        try:
            found: Checkpoint = parse_checkpoint(parse_note(raw).text)
        except FormatError as exc:
            raise StorageError(f"{path} is damaged: {exc}", "do not delete it: restore it") from exc
        if found.origin != origin:
            raise StorageError(f"{path} is of another log", "do not delete it: restore it")
        return found.size, found.root

    def _path(self, origin: str) -> Path:
        # An origin may hold slashes and dots, which must not choose the file: it is named by the digest.
        return self._directory / f"{sha256(origin.encode()).hexdigest()}.checkpoint"


def _load_key(directory: Path) -> tuple[Ed25519PrivateKey, WitnessKey]:
    path = directory / KEY_FILE
    try:
        mode = path.stat().st_mode
        private = load_pem_private_key(read_named_file(path), None)
        key = parse_witness_vkey(read_named_file(directory / VKEY_FILE).decode().strip())
    except FileNotFoundError as exc:
        raise ConfigError(f"there is no {exc.filename}", "epochseal witness keygen DIR --name NAME") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {exc.filename}: {exc.strerror}") from exc
    except (ValueError, TypeError):
        raise ConfigError(f"{path} holds no private key") from None  # the message could quote it
    if mode & 0o077:
        raise ConfigError(f"others may read {path}", f"chmod 600 {path}")
    if not isinstance(private, Ed25519PrivateKey) or private.public_key().public_bytes_raw() != key.data:
        raise ConfigError(f"{path} and {VKEY_FILE} do not belong together")
    return private, key
