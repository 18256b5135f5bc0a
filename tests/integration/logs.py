"""Logs for attack tests: fixed keys, and a writer that drives the real chain by a clock of its own.

Everything is a function of names and numbers, so that the same call always writes the same bytes (RFC 9180
with a fixed ephemeral key, Ed25519). The writer has no durability and no backend calls: those are tested
elsewhere, with the real agent.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from epochseal.encoding import MAX_INT
from epochseal.format.note import Checkpoint, Note, VerifierKey, sign_text
from epochseal.format.seal_lines import Asked, EndReason, KeyKind, Link, Rotate, SourceMark, encode_note_line
from epochseal.keys import Context, Issued, PublicKey, Recoverer, load_backend, parse_key_uri
from epochseal.sealing.chain import Chain, EpochStart, Pace
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments, segment_stem
from epochseal.verifier import Request, Verdict, verify

ORIGIN = "log.example/attacks"
START = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms: when the writer's logs begin."""
MINUTE = 60_000
Mode = Literal["keys", "public"]
MODES: tuple[Mode, ...] = ("keys", "public")


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).digest()


class LogKeys:
    """Key pairs made of a sentence, in the folders of the file backend: they protect nothing."""

    def __init__(self, directory: Path, sentence: str = "test keys that protect nothing") -> None:
        self.directory = directory
        self.epoch = X25519PrivateKey.from_private_bytes(_hash(sentence, "epoch"))
        self.checkpoint = Ed25519PrivateKey.from_private_bytes(_hash(sentence, "checkpoint"))
        self.public = PublicKey("ed25519", self.checkpoint.public_key().public_bytes_raw())

    def write(self) -> None:
        """Make the three folders; private keys have the mode that the backend asks for."""
        for role, names in {
            "agent": ("epoch.pub", "checkpoint.key", "checkpoint.pub"),
            "verifier": ("epoch.key", "epoch.pub", "checkpoint.pub"),
            "auditor": ("checkpoint.pub",),
        }.items():
            (self.directory / role).mkdir(parents=True)
            for name in names:
                path = self.directory / role / name
                path.write_bytes(self._pem(name))
                path.chmod(0o600 if name.endswith(".key") else 0o644)

    def _pem(self, name: str) -> bytes:
        key = self.epoch if name.startswith("epoch") else self.checkpoint
        if name.endswith(".key"):
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """The id of the epoch key."""
        return f"file:{hashlib.sha256(self.epoch.public_key().public_bytes_raw()).hexdigest()}"

    @property
    def vkey(self) -> str:
        """The checkpoint key as text."""
        return VerifierKey(ORIGIN, self.public).vkey

    def recoverer(self) -> Recoverer:
        """What a verifier has."""
        uri = parse_key_uri(f"file:{self.directory / 'verifier'}")
        return load_backend(uri).recoverer(uri, {})

    def wrap(self, context: Context, secret: bytes) -> Issued:
        """HPKE to the public epoch key, as the file backend does it: anybody can."""
        ephemeral = X25519PrivateKey.from_private_bytes(_hash("ephemeral", secret.hex()))
        public = self.epoch.public_key().public_bytes_raw()
        enc = ephemeral.public_key().public_bytes_raw()
        kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
        prk = _extract(kem, b"", b"eae_prk", ephemeral.exchange(self.epoch.public_key()))
        shared = _expand(kem, prk, b"shared_secret", enc + public, 32)
        info = _extract(suite, b"", b"info_hash", b"epochseal/v1/wrap" + context.encode())
        schedule = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + info
        base = _extract(suite, shared, b"secret", b"")
        key, nonce = (
            _expand(suite, base, label, schedule, size) for label, size in ((b"key", 32), (b"base_nonce", 12))
        )
        return Issued(self.key_id, enc + AESGCM(key).encrypt(nonce, secret, b""))

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """A signed note over a checkpoint."""
        return sign_by(checkpoint, self)


def sign_by(checkpoint: Checkpoint, *signers: LogKeys) -> bytes:
    """A signed note over a checkpoint, by several keys."""
    text = checkpoint.text()
    return Note(
        text,
        tuple(
            sign_text(text, VerifierKey(checkpoint.origin, keys.public), keys.checkpoint.sign(text.encode()))
            for keys in signers
        ),
    ).encode()


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return HKDFExpand(SHA256(), size, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info).derive(key)


class LogWriter:
    """Writes a log line by line; time goes on by 100 ms a line.

    `signs` False is an attacker who has the public wrapping key alone; `after` continues a log as an agent
    without its page would, from what stands on disk.
    """

    def __init__(
        self, logdir: Path, keys: LogKeys, name: str = "log", *, time: int = START, pace: Pace | None = None
    ) -> None:
        self.logdir, self.keys, self.name, self.time = logdir, keys, name, time
        self.pace = pace or Pace(interval=MINUTE)
        self.chain = Chain(ORIGIN, _hash("log id", name))
        self.signs = True
        self.issuer = self.signer = keys
        self.stem = ""
        self.carry = bytes(32)
        self._key, self._next, self._scratch = (memoryview(bytearray(32)) for _ in range(3))

    @classmethod
    def after(cls, logdir: Path, keys: LogKeys, name: str, *, time: int, signs: bool) -> LogWriter:
        """Whoever continues the log in `logdir` from the files alone."""
        tail = read_chain_end(list_segments(logdir).segments)
        assert tail is not None
        writer = cls(logdir, keys, name, time=time)
        writer.signs, writer.stem = signs, tail.segment.stem
        writer.chain = Chain(
            ORIGIN,
            tail.log,
            tail.header.epoch,
            tail.segment.number,
            tail.last_tag,
            tail.tree,
            tail.entries,
            tail.sealed,
        )
        return writer

    def path(self, ending: str) -> Path:
        """A file of the running segment."""
        return self.logdir / "segments" / f"{self.stem}.{ending}"

    def start(self, link: Link, *, segment: bool = True) -> LogWriter:
        """Begin an epoch, in a segment of its own unless told otherwise."""
        return self._start(link, self.chain.next_context(), self.chain.asked(), segment=segment)

    def turn(self, reason: EndReason = "entries", *, signed: bool = True) -> LogWriter:
        """End the running epoch and begin the next, as an agent does: the key is asked for before the end."""
        context, asked = self.chain.next_context(), self.chain.asked()
        self.end(reason, signed=signed and reason == "segment")
        return self._start("carry", context, asked, segment=reason == "segment", signed=signed)

    def block(self, *entries: bytes, src: SourceMark | None = None) -> LogWriter:
        """Seal entries (each with its newline); none is the heartbeat."""
        data = b"".join(entries)
        source = src or (SourceMark("stdin", self.chain.segment_bytes + len(data)) if entries else None)
        self._append("log", data)
        digest = hashlib.sha256(data).digest()
        line = self.chain.block(len(entries), len(data), digest, source, self._tick(), self._key, self._next)
        return self._line(line)

    def end(self, reason: EndReason = "close", *, signed: bool = True) -> LogWriter:
        """End the epoch; `close` ends the log."""
        line = self.chain.end(reason, self._key, self._scratch, self._next)
        self._line(line)
        self.carry = bytes(self._key)
        if signed:
            self.sign()
        return self

    def rotate(
        self,
        key: KeyKind,
        old: LogKeys,
        new: LogKeys,
        *,
        compromised: bool = False,
        from_size: int = 2**63 - 1,
    ) -> LogWriter:
        """Record that `new` replaces `old`; who issues and signs is up to the caller."""
        ids = (old.key_id, new.key_id) if key == "epoch" else (old.vkey, new.vkey)
        time = self._tick()
        body = Rotate(key, *ids, from_size, "alice", "a test", time, "T-1", int(compromised))
        return self._line(self.chain.record(body, self._key, self._next))

    def hand_over(
        self, old: LogKeys, new: LogKeys, *, compromised: bool = False, from_size: int = MAX_INT
    ) -> LogWriter:
        """Change the checkpoint key and close the log, as `epochseal rotate` does."""
        self.rotate("checkpoint", old, new, compromised=compromised, from_size=from_size)
        self.end(signed=False)
        self.signer = new
        return self.sign(*(() if compromised else (old,)))

    def sign(self, *others: LogKeys) -> LogWriter:
        """Sign the tree as it is, if this writer can, with others beside the signer."""
        if self.signs:
            tree = self.chain.tree
            checkpoint = Checkpoint(self.chain.origin, tree.size, tree.root())
            raw = sign_by(checkpoint, self.signer, *others)
            self._append("seal", encode_note_line(raw))
            (self.logdir / "checkpoint").write_bytes(raw)
        return self

    def _start(
        self, link: Link, context: Context, asked: Asked, *, segment: bool, signed: bool = True
    ) -> LogWriter:
        secret = _hash("secret", self.name, context.epoch)
        issued = self.issuer.wrap(context, secret)
        number = self.chain.segment + segment
        time = self._tick()
        if segment:
            self.stem = segment_stem(number, time)
            self._append("log", b"")
        both = memoryview(bytearray(secret + (self.carry if link == "carry" else bytes(32))))
        start = EpochStart(link, issued, context, asked, (), number, self.pace, time)
        self._line(self.chain.start(start, both, self._scratch, self._next))
        return self.sign() if signed else self

    def _line(self, line: bytes) -> LogWriter:
        self._key[:] = self._next
        self._append("seal", line)
        return self

    def _append(self, ending: str, data: bytes) -> None:
        self.path(ending).parent.mkdir(parents=True, exist_ok=True)
        with self.path(ending).open("ab") as file:
            file.write(data)

    def _tick(self) -> int:
        self.time += 100
        return self.time


def entry(number: int) -> bytes:
    """Entry `number` of the logs here: 23 bytes."""
    return b"entry %04d, as sealed.\n" % number


@dataclass(frozen=True)
class Log:
    """A log to attack: its directory, its keys, and the moment (ms) at which it is verified."""

    path: Path
    keys: LogKeys
    now: int

    def files(self, ending: str) -> list[Path]:
        """The segments' files with this ending, in order."""
        return sorted((self.path / "segments").glob(f"*.{ending}"))

    def verify(
        self, mode: Mode, *, strict: bool = False, jobs: int = 1, later: int = 0, keyed: bool = True
    ) -> Verdict:
        """The verdict of one mode; `keyed` False names no checkpoint key."""
        for path in (self.path / "segments").glob("*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        request = Request(
            make_recoverer=self.keys.recoverer if mode == "keys" else None,
            checkpoint_key=self.keys.public if keyed else None,
            strict=strict,
            jobs=jobs,
            now=lambda: self.now + later,
        )
        return verify(self.path, request)


def write_log(path: Path, keys: LogKeys, name: str = "log", *, time: int = START) -> Log:
    """The log that is attacked: 35 entries, 3 a block, 6 an epoch, 12 a segment; closed.

    | segment | epoch | blocks of entries |
    |---|---|---|
    | 1 | 0, 1 | 0-2 3-5, 6-8 9-11 |
    | 2 | 2, 3 | 12-14 15-17, 18-20 21-23 |
    | 3 | 4, 5 | 24-26 27-29, 30-32 33-34 |
    """
    writer = LogWriter(path, keys, name, time=time).start("genesis")
    for first in range(0, 35, 3):
        writer.block(*map(entry, range(first, min(first + 3, 35))))
        if first % 6 == 3 and first < 33:
            writer.turn("segment" if first % 12 == 9 else "entries")
    writer.end()
    return Log(path, keys, writer.time + 1000)


def seal(path: Path, keys: LogKeys, data: bytes, *options: str, origin: str = ORIGIN) -> None:
    """Seal `data` with the real command."""
    subprocess.run([*seal_command(path, keys, origin), *options], input=data, check=True, timeout=60)


def seal_command(path: Path, keys: LogKeys, origin: str = ORIGIN) -> list[str]:
    """The command that seals its standard input into `path`."""
    agent = f"file:{keys.directory / 'agent'}"
    program = str(Path(sys.executable).parent / "epochseal")
    return [program, "seal", str(path), "--origin", origin, "--epoch-key", agent, "--checkpoint-key", agent]


def sealed_log(path: Path, keys: LogKeys) -> Log:
    """The log of `write_log`, sealed by the real agent."""
    sizes = ("--block-bytes", "69B", "--epoch-max-entries", "6", "--segment-bytes", "276B")
    seal(path, keys, b"".join(map(entry, range(35))), *sizes)
    tail = read_chain_end(list_segments(path).segments)
    assert tail is not None
    return Log(path, keys, tail.header.time + 2000)
