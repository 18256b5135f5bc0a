"""The worked example of docs/format.md: a tiny log made from fixed inputs, with every intermediate value.

It shares no code with the agent: what it prints follows from the page alone. `python docs/worked_example.py`
prints the example; with a folder as argument it also writes the log and its keys there; with `--page` it puts
the example, and its short form, in their places on the page. Fixed secrets are for examples and test vectors
only.
"""
# ruff: noqa: INP001  # a script beside the page that it belongs to, not a package

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ORIGIN = "example.com/worked"
STEM = "000001-20261123T100000Z"
BEGIN = 1795428000000  # 2026-11-23T10:00:00.000Z
TIMES = {"epoch 0": BEGIN, "block 1": BEGIN + 50, "epoch 1": BEGIN + 300_000, "block 5": BEGIN + 310_000}
ENTRIES = [b"user=alice action=login\n", b"user=bob action=delete id=7\n"]

LOG = bytes(range(0x20))
"""The random value in the first line, which makes the log's id one of its own."""
SECRETS = [bytes(range(0x20, 0x40)), bytes(range(0x40, 0x60))]
EPOCH_KEY = bytes(range(0x60, 0x80))
CHECKPOINT_KEY = bytes(range(0x80, 0xA0))
EPHEMERAL = [bytes(range(0xA0, 0xC0)), bytes(range(0xC0, 0xE0))]

PAGE = Path(__file__).with_name("format.md")
ZERO = bytes(32)
_EMPTY_DIGEST = hashlib.sha256(b"").digest()


def main() -> None:
    """Print the example, and write its files where a folder is named."""
    log = WorkedLog()
    log.make()
    if sys.argv[1:] == ["--page"]:
        PAGE.write_text(log.put_on(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    if len(sys.argv) > 1:
        log.write(Path(sys.argv[1]))
    sys.stdout.write("\n".join(log.shown) + "\n")


class WorkedLog:
    """Epoch 0 with one block of two entries, a turn, epoch 1 with one heartbeat, a clean close."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.seal = b""
        self.checkpoint = b""
        self._epoch_key = X25519PrivateKey.from_private_bytes(EPOCH_KEY)
        self._signer = Ed25519PrivateKey.from_private_bytes(CHECKPOINT_KEY)
        self._log = LOG
        self._wrapped: list[bytes] = []
        self._key = ZERO
        self._tag = ZERO
        self._leaves: list[bytes] = []

    def make(self) -> None:
        """Seal the log, showing each step."""
        self._show_inputs()

        self._title("Epoch 0 (genesis)")
        self._wrap(0, ZERO)
        self._begin_epoch(0, "genesis", {"line": 0, "tag": b64(ZERO)}, ZERO, ZERO, first_entry=0)
        self._log = hashlib.sha256(b"epochseal/v1/log" + self._leaves[0]).digest()
        self._show("the log's id", f"{self._log.hex()}, shown as {b64(self._log)}")
        self._note()
        data = b"".join(ENTRIES)
        digest = hashlib.sha256(data).digest()
        self._show("digest", digest.hex())
        source = {"src": {"name": "stdin", "offset": len(data)}}
        asked_tag = self._block(0, 2, 0, data, source, TIMES["block 1"])

        self._title("Turn: the secret of epoch 1, asked for behind line 1, and its announcement")
        self._wrap(1, asked_tag)
        announced = hashlib.sha256(self._wrapped[1]).digest()
        self._show("SHA-256 of wrapped", announced.hex())
        self._line(f"sign 2 {compact({'run': 0, 'next': {'epoch': 1, 'wrapped': b64(announced)}})}")
        self._note()
        self._line(f"end 3 {compact({'reason': 'interval', 'entries': 2, 'bytes': len(data)})}")
        carry = expand(self._key, b"epochseal/v1/carry")
        self._show("carry", carry.hex())

        self._title("Epoch 1 (carry)")
        self._begin_epoch(1, "carry", {"line": 1, "tag": b64(asked_tag)}, asked_tag, carry, first_entry=2)
        self._block(2, 0, len(data), b"", {}, TIMES["block 5"])
        self._line(f"end 6 {compact({'reason': 'close', 'entries': 0, 'bytes': 0, 'run': 0})}")
        self._note()

        self._title("Files")
        self._show("segments/" + STEM + ".log", f"{len(data)} bytes, SHA-256 {digest.hex()}")
        self._show(
            "segments/" + STEM + ".seal",
            f"{len(self.seal)} bytes, SHA-256 {hashlib.sha256(self.seal).hexdigest()}",
        )
        self._show(
            "checkpoint",
            f"{len(self.checkpoint)} bytes, SHA-256 {hashlib.sha256(self.checkpoint).hexdigest()}",
        )

    def put_on(self, page: str) -> str:
        """The page with the example, and its seal file and checkpoint in short, in their places."""
        parts = {
            "worked example": "\n".join(self.shown) + "\n",
            "short seal file": shorten(self.seal.decode()),
            "short checkpoint": shorten(self.checkpoint.decode()),
        }
        for name, part in parts.items():
            head, begin, rest = page.partition(f"<!-- {name}: begin -->\n```\n")
            _, end, tail = rest.partition(f"```\n<!-- {name}: end -->")
            page = head + begin + part + end + tail
        return page

    def write(self, folder: Path) -> None:
        """Write `log/` and the keys of a verifier and an auditor, as `file:` keys are stored."""
        segments = folder / "log" / "segments"
        segments.mkdir(parents=True)
        (segments / f"{STEM}.log").write_bytes(b"".join(ENTRIES))
        (segments / f"{STEM}.seal").write_bytes(self.seal)
        (folder / "log" / "checkpoint").write_bytes(self.checkpoint)
        spki = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        public = {
            "epoch.pub": self._epoch_key.public_key().public_bytes(*spki),
            "checkpoint.pub": self._signer.public_key().public_bytes(*spki),
        }
        for role, names in {
            "verifier": ("epoch.pub", "checkpoint.pub"),
            "auditor": ("checkpoint.pub",),
        }.items():
            (folder / "keys" / role).mkdir(parents=True)
            for name in names:
                (folder / "keys" / role / name).write_bytes(public[name])
        private = self._epoch_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(folder / "keys" / "verifier" / "epoch.key", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)

    def _show_inputs(self) -> None:
        self._title("Inputs")
        self._show("origin", ORIGIN)
        self._show("log (random)", LOG.hex())
        self._show("epoch private key (X25519)", EPOCH_KEY.hex())
        self._show("epoch public key", self._epoch_public().hex())
        self._show("checkpoint private key (Ed25519 seed)", CHECKPOINT_KEY.hex())
        self._show("checkpoint public key", self._checkpoint_public().hex())
        self._show("vkey", self._vkey())
        for epoch in (0, 1):
            self._show(f"epoch {epoch}: secret D", SECRETS[epoch].hex())
            self._show(f"epoch {epoch}: ephemeral private key", EPHEMERAL[epoch].hex())
        for name, time in TIMES.items():
            self._show(f"time of {name}", str(time))
        for number, entry in enumerate(ENTRIES):
            self._show(f"entry {number}", entry.decode().rstrip("\n"))

    def _wrap(self, epoch: int, asked_tag: bytes) -> None:
        """Wrap the secret of an epoch for the context of its call."""
        context = encode_context(self._log, epoch, asked_tag)
        self._show("context", context.decode())
        wrapped, steps = hpke_seal(
            self._epoch_public(), EPHEMERAL[epoch], b"epochseal/v1/wrap" + context, SECRETS[epoch]
        )
        for step, value in steps.items():
            self._show("hpke " + step, value.hex())
        self._show("wrapped", wrapped.hex())
        self._wrapped.append(wrapped)

    def _begin_epoch(
        self, epoch: int, link: str, asked: object, asked_tag: bytes, carry: bytes, *, first_entry: int
    ) -> None:
        sealed = b""
        if link == "carry":
            context = encode_context(self._log, epoch, asked_tag)
            key = hkdf(b"", SECRETS[epoch], b"epochseal/v1/carry-seal" + hashlib.sha256(context).digest())
            sealed = AESGCM(key).encrypt(bytes(12), carry, context)
            self._show("carry-seal key", key.hex())
            self._show("sealed carry", sealed.hex())
        hashes = frontier(self._leaves)
        header = {
            "epoch": epoch,
            "origin": ORIGIN,
            "log": b64(self._log),
            "segment": 1,
            "link": link,
            "key": "file:" + hashlib.sha256(self._epoch_public()).hexdigest(),
            "wrapped": b64(self._wrapped[epoch]),
            "carry": b64(sealed),
            "asked": asked,
            "prev": b64(self._tag),
            "tree": {"size": len(self._leaves), "frontier": [b64(item) for item in hashes]},
            "first_entry": first_entry,
            "heartbeat": 10_000,
            "interval": 300_000,
            "max_overdue": 3_600_000,
            "retention": 0,
            "abandoned": [],
            "time": TIMES[f"epoch {epoch}"],
        }
        for number, item in enumerate(hashes):
            self._show(f"frontier[{number}]", item.hex())
        payload = f"epoch {len(self._leaves)} {compact(header)}"
        info = hashlib.sha256(payload.encode()).digest()
        self._key = hkdf(b"epochseal/v1/epoch", SECRETS[epoch] + carry, info)
        self._show("SHA-256 of the epoch line's payload", info.hex())
        self._line(payload)

    def _block(self, first: int, entries: int, offset: int, data: bytes, source: object, time: int) -> bytes:
        digest = hashlib.sha256(data).digest() if data else _EMPTY_DIGEST
        index = len(self._leaves)
        head = f"block {index} {first} {entries} {offset} {len(data)} {time} {b64(digest)}"
        return self._line(f"{head} {compact(source)}")

    def _line(self, payload: str) -> bytes:
        index = len(self._leaves)
        leaf = hashlib.sha256(b"\x00" + payload.encode()).digest()
        self._show(f"line {index}: key", self._key.hex())
        self._show(f"line {index}: leaf", leaf.hex())
        self._tag = hmac.digest(self._key, b"epochseal/v1/tag" + self._tag + leaf, "sha256")
        self._show(f"line {index}: tag", self._tag.hex())
        self._key = expand(self._key, b"epochseal/v1/next")
        self._leaves.append(leaf)
        self._append(f"{payload} {b64(self._tag)}")
        return self._tag

    def _note(self) -> None:
        size, head = len(self._leaves), root(self._leaves)
        text = f"{ORIGIN}\n{size}\n{b64(head)}\n".encode()
        signature = self._signer.sign(text)
        name = f"\n\u2014 {ORIGIN} ".encode()
        self.checkpoint = text + name + b64(self._key_id() + signature).encode() + b"\n"
        self._show(f"root at size {size}", head.hex())
        self._show(f"signature at size {size}", signature.hex())
        self._append("note " + b64(self.checkpoint))

    def _append(self, line: str) -> None:
        self.seal += line.encode() + b"\n"
        self.shown.append(line)

    def _title(self, text: str) -> None:
        self.shown += ["", f"== {text}"] if self.shown else [f"== {text}"]

    def _show(self, name: str, value: str) -> None:
        self.shown.append(f"  {name} = {value}")

    def _epoch_public(self) -> bytes:
        return self._epoch_key.public_key().public_bytes_raw()

    def _checkpoint_public(self) -> bytes:
        return self._signer.public_key().public_bytes_raw()

    def _key_id(self) -> bytes:
        return hashlib.sha256(ORIGIN.encode() + b"\n\x01" + self._checkpoint_public()).digest()[:4]

    def _vkey(self) -> str:
        return f"{ORIGIN}+{self._key_id().hex()}+{b64(bytes([1]) + self._checkpoint_public())}"


def encode_context(log: bytes, epoch: int, prev: bytes) -> bytes:
    """The context that an epoch secret is bound to (format.md, section 6.1)."""
    head = f"log={ORIGIN};"
    head += ";" * (-len(head.encode()) % 3)
    return f"{head}id={b64(log)};epoch={epoch};prev={b64(prev)}".encode()


def hpke_seal(public: bytes, ephemeral: bytes, info: bytes, plain: bytes) -> tuple[bytes, dict[str, bytes]]:
    """RFC 9180, base mode, one message: encapsulated key and ciphertext, and the values on the way."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    secret_key = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = secret_key.public_key().public_bytes_raw()
    shared_point = secret_key.exchange(X25519PublicKey.from_public_bytes(public))
    prk = labeled_extract(kem, b"", b"eae_prk", shared_point)
    shared = labeled_expand(kem, prk, b"shared_secret", enc + public, 32)
    ids = labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    schedule = b"\x00" + ids
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", schedule, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", schedule, 12)
    steps = {"enc": enc, "shared_secret": shared, "key": key, "base_nonce": nonce}
    return enc + AESGCM(key).encrypt(nonce, plain, b""), steps


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """RFC 9180, section 4."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """RFC 9180, section 4, for at most 32 bytes."""
    return expand(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info)[:size]


def hkdf(salt: bytes, ikm: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, 32 bytes; no salt is 32 zero bytes, which HMAC treats as the empty key."""
    return expand(hmac.digest(salt, ikm, "sha256"), info)


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand for 32 bytes is one HMAC."""
    return hmac.digest(key, info + b"\x01", "sha256")


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def frontier(leaves: list[bytes]) -> list[bytes]:
    """The roots of the complete subtrees that a tree consists of, the largest first."""
    hashes = []
    while leaves:
        size = 1 << (len(leaves).bit_length() - 1)
        hashes.append(root(leaves[:size]))
        leaves = leaves[size:]
    return hashes


def shorten(text: str) -> str:
    """Base64 and hex of 32 bytes and more as its first and last four characters; of a note the first ones."""
    text = re.sub(r"^note (....).*$", "note \\1\u2026", text, flags=re.MULTILINE)
    long = r"([A-Za-z0-9+/]{4})[A-Za-z0-9+/]{36,}([A-Za-z0-9+/=]{4})(?![A-Za-z0-9+/=])"
    return re.sub(long, "\\1\u2026\\2", text)


def compact(value: object) -> str:
    """JSON without blanks; the dictionaries above stand in the one order of their keys."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
