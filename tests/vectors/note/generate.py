"""Write the vectors of signed notes beside this file: `python tests/vectors/note/generate.py`.

Notes are put together here by hand from C2SP signed-note, so that the vectors do not depend on the code that
they test. The private keys are hashes of a sentence: they protect nothing. ECDSA signatures are deterministic
(RFC 6979). The name of a file is the case or the attack.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Case = dict[str, Any]

NAME = "log.example/payments"
ROOT = b64encode(sha256(b"root").digest()).decode()
TEXT = f"{NAME}\n1046\n{ROOT}\n"
DASH = "\u2014"
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

ED25519 = Ed25519PrivateKey.from_private_bytes(sha256(b"a vector key that protects nothing").digest())
OTHER_ED25519 = Ed25519PrivateKey.from_private_bytes(sha256(b"another vector key").digest())
P256 = ec.derive_private_key(int.from_bytes(sha256(b"a P-256 vector key").digest()) >> 1, ec.SECP256R1())
ED25519_DATA = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
OTHER_DATA = OTHER_ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
P256_DATA = P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

# Published: C2SP signed-note, golang.org/x/mod/sumdb/note, and the logs of Sigstore and Pixel.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    f"This is an example message.\n\n{DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    f"\n{DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
REKOR_VKEY = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLO"
    "C96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
REKOR_NOTE = (
    f"Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n{DASH} rekor.sigstore.dev "
    "wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n"
)
PIXEL_VKEY = (
    "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5X"
    "JVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8="
)
PIXEL_NOTE = (
    f"DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n{DASH} pixel6_transparency_log "
    "kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4\n"
)


def key_id(kind: int, data: bytes, name: str = NAME) -> bytes:
    """The 4 bytes that name a key: type 0x02 hashes the key alone."""
    hashed = data if kind == 2 else name.encode() + bytes([10, kind]) + data
    return sha256(hashed).digest()[:4]


def vkey(kind: int, data: bytes, name: str = NAME) -> str:
    """A key as text."""
    return f"{name}+{key_id(kind, data, name).hex()}+{b64encode(bytes([kind]) + data).decode()}"


def line(identity: bytes, signature: bytes, name: str = NAME) -> str:
    """A signature line."""
    return f"{DASH} {name} {b64encode(identity + signature).decode()}\n"


def sign_p256(text: str, key: ec.EllipticCurvePrivateKey = P256) -> bytes:
    """ECDSA over SHA-256 in DER, the same on every run."""
    return key.sign(text.encode(), ec.ECDSA(SHA256(), deterministic_signing=True))


ED_ID, OTHER_ID, P256_ID = key_id(1, ED25519_DATA), key_id(1, OTHER_DATA), key_id(2, P256_DATA)
ED_VKEY, OTHER_VKEY, P256_VKEY = vkey(1, ED25519_DATA), vkey(1, OTHER_DATA), vkey(2, P256_DATA)
ED_SIGNATURE, P256_SIGNATURE = ED25519.sign(TEXT.encode()), sign_p256(TEXT)
ED_LINE, P256_LINE = line(ED_ID, ED_SIGNATURE), line(P256_ID, P256_SIGNATURE)
OTHER_LINE = line(OTHER_ID, OTHER_ED25519.sign(TEXT.encode()))
NOTE = f"{TEXT}\n{ED_LINE}"


def set_last_bits(text: str) -> str:
    """The same bytes in base64 that ends in one `=`, with a bit set that a strict reader must see."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return f"{text[:-2]}{alphabet[alphabet.index(text[-2]) + 1]}="


def good_note_cases() -> dict[str, Case]:
    """Notes that verify, some of them with signatures that have to be ignored."""

    def good(desc: str, note: str, keys: tuple[str, ...], signed_by: tuple[str, ...] | None = None) -> Case:
        signers = list(keys if signed_by is None else signed_by)
        return {
            "desc": desc,
            "expect": "ok",
            "op": "note",
            "note": note,
            "vkeys": list(keys),
            "signed_by": signers,
        }

    r, s = utils.decode_dss_signature(P256_SIGNATURE)
    mirrored = utils.encode_dss_signature(r, P256_ORDER - s)
    strangers = [line(bytes([0, 0, 0, number]), b"?", f"stranger-{number}.example") for number in range(99)]
    text = "first\n\n\nsecond\n\n"
    return {
        "note-c2sp": good("the example of C2SP signed-note", C2SP_NOTE, (C2SP_VKEY,)),
        "note-go": good("the example of Go's note package", GO_NOTE, (GO_VKEY,)),
        "note-rekor": good("a checkpoint of Sigstore's log, ECDSA", REKOR_NOTE, (REKOR_VKEY,)),
        "note-pixel": good("a checkpoint of the Pixel log, ECDSA", PIXEL_NOTE, (PIXEL_VKEY,)),
        "note-ed25519": good("signed with Ed25519", NOTE, (ED_VKEY,)),
        "note-ecdsa": good("signed with ECDSA", f"{TEXT}\n{P256_LINE}", (P256_VKEY,)),
        "note-ecdsa-mirrored": good(
            "the other s of the same ECDSA signature: no secret is needed for it, and it signs the same text",
            f"{TEXT}\n{line(P256_ID, mirrored)}",
            (P256_VKEY,),
        ),
        "note-two-known-keys": good(
            "signed by the old key and the new one", f"{TEXT}\n{ED_LINE}{OTHER_LINE}", (ED_VKEY, OTHER_VKEY)
        ),
        "note-two-algorithms": good(
            "signers come in the order of the note", f"{TEXT}\n{P256_LINE}{ED_LINE}", (P256_VKEY, ED_VKEY)
        ),
        "note-unknown-key-beside": good(
            "a signature by an unknown key is ignored", f"{TEXT}\n{OTHER_LINE}{ED_LINE}", (ED_VKEY,)
        ),
        "note-known-key-absent": good(
            "one of two known keys is enough", NOTE, (ED_VKEY, OTHER_VKEY), signed_by=(ED_VKEY,)
        ),
        "note-known-name-other-id": good(
            "a known name with an unknown id is an unknown key",
            f"{TEXT}\n{line(b'????', bytes(64))}{ED_LINE}",
            (ED_VKEY,),
        ),
        "note-known-id-other-name": good(
            "a known id with an unknown name is an unknown key",
            f"{TEXT}\n{line(P256_ID, bytes(64), 'other.example')}{P256_LINE}",
            (P256_VKEY,),
        ),
        "note-unknown-key-twice": good(
            "signatures by unknown keys are ignored however often",
            f"{TEXT}\n{OTHER_LINE * 2}{ED_LINE}",
            (ED_VKEY,),
        ),
        "note-100-signatures": good(
            "as many signatures as a note may have", f"{TEXT}\n{''.join(strangers)}{ED_LINE}", (ED_VKEY,)
        ),
        "note-empty-lines-in-text": good(
            "the last empty line ends the text",
            f"{text}\n{line(ED_ID, ED25519.sign(text.encode()))}",
            (ED_VKEY,),
        ),
        "note-signature-line-in-text": good(
            "a signature line above the last empty line is text",
            f"{NOTE}\n{line(ED_ID, ED25519.sign(NOTE.encode()))}",
            (ED_VKEY,),
        ),
    }


def malformed_note_cases() -> dict[str, Case]:
    """Notes that are refused before any signature is looked at."""

    def bad(desc: str, note: str | bytes) -> Case:
        raw = {"note": note} if isinstance(note, str) else {"note_hex": note.hex()}
        return {"desc": desc, "expect": "format error", "op": "note"} | raw | {"vkeys": [ED_VKEY, P256_VKEY]}

    def with_text(desc: str, text: str | bytes) -> Case:
        raw = text.encode() if isinstance(text, str) else text
        signed = raw + b"\n" + line(ED_ID, ED25519.sign(raw)).encode()
        return bad(desc, signed.decode() if isinstance(text, str) else signed)

    encoded = ED_LINE.split(" ")[2].rstrip("\n")
    return {
        "note-empty": bad("no bytes", ""),
        "note-text-empty": with_text("no text before the empty line", ""),
        "note-text-newline": with_text("a text of one newline", "\n"),
        "note-text-newlines": with_text("a text of newlines", "\n\n\n"),
        "note-text-with-tab": with_text("U+0009 in the text", "a\tb\n"),
        "note-text-with-nul": with_text("U+0000 in the text", "a\0b\n"),
        "note-text-with-escape": with_text("a terminal sequence in the text", "a\x1b[2Jb\n"),
        "note-text-with-carriage-return": with_text("lines that end in CR LF", "a\r\nb\r\n"),
        "note-text-not-utf8": with_text("a byte that is no UTF-8", b"a\xff\n"),
        "note-text-surrogate": with_text("an encoded surrogate", b"a\xed\xa0\x80\n"),
        "note-text-overlong": with_text("a slash in two bytes", b"a\xc0\xaf\n"),
        "note-text-without-newline": bad("no empty line after the text", f"text{ED_LINE}"),
        "note-separator-missing": bad("no empty line", f"{TEXT}{ED_LINE}"),
        "note-separator-with-space": bad("a space in the empty line", f"{TEXT} \n{ED_LINE}"),
        "note-signatures-missing": bad("an empty line, then nothing", f"{TEXT}\n"),
        "note-only-text": bad("no empty line and no signature", TEXT),
        "note-final-newline-missing": bad("cut before the last newline", NOTE[:-1]),
        "note-empty-line-after": bad("an empty line after the signatures", NOTE + "\n"),
        "note-line-after": bad("a line that is no signature", NOTE + "more\n"),
        "note-bytes-after": bad("bytes after the last newline", NOTE + "more"),
        "note-space-after-signature": bad("a space after a signature", NOTE[:-1] + " \n"),
        "note-carriage-return-after-signature": bad("CR LF after a signature", NOTE[:-1] + "\r\n"),
        "note-dash-hyphen": bad("a hyphen for the dash", f"{TEXT}\n{ED_LINE.replace(DASH, '-')}"),
        "note-dash-short": bad("U+2013 for the dash", f"{TEXT}\n{ED_LINE.replace(DASH, chr(0x2013))}"),
        "note-dash-missing": bad("no dash", f"{TEXT}\n{ED_LINE[2:]}"),
        "note-space-before-dash": bad("a space before the dash", f"{TEXT}\n {ED_LINE}"),
        "note-two-spaces": bad("two spaces before the signature", f"{TEXT}\n{DASH} {NAME}  {encoded}\n"),
        "note-name-empty": bad("no name", f"{TEXT}\n{DASH}  {encoded}\n"),
        "note-name-missing": bad("a signature without a name", f"{TEXT}\n{DASH} {encoded}\n"),
        "note-name-with-plus": bad("a plus sign in a name", f"{TEXT}\n{DASH} a+b {encoded}\n"),
        "note-name-with-no-break-space": bad("U+00A0 in a name", f"{TEXT}\n{DASH} a\u00a0b {encoded}\n"),
        "note-signature-empty": bad("no signature", f"{TEXT}\n{DASH} {NAME} \n"),
        "note-signature-only-id": bad("a key id without a signature", f"{TEXT}\n{line(ED_ID, b'')}"),
        "note-signature-3-bytes": bad("less than a key id", f"{TEXT}\n{line(ED_ID[:3], b'')}"),
        "note-signature-unpadded": bad("base64 without its padding", NOTE.replace("=\n", "\n")),
        "note-signature-bits-set": bad(
            "bits set behind the last byte", f"{TEXT}\n{set_last_bits(ED_LINE[:-1])}\n"
        ),
        "note-signature-url-alphabet": bad(
            "the alphabet for URLs",
            f"{TEXT}\n{DASH} {NAME} {urlsafe_b64encode(P256_ID + b'???>>>').decode()}\n",
        ),
        "note-unknown-signature-malformed": bad(
            "an unknown signature has to be well-formed too", f"{NOTE}{DASH} other.example ????\n"
        ),
        "note-101-signatures": bad("one signature too many", f"{TEXT}\n{ED_LINE * 101}"),
    }


def refused_note_cases() -> dict[str, Case]:
    """Well-formed notes whose signatures do not hold, or count for nothing."""

    def bad(
        desc: str, signatures: str, *, text: str = TEXT, keys: tuple[str, ...] = (ED_VKEY, P256_VKEY)
    ) -> Case:
        note = f"{text}\n{signatures}"
        return {
            "desc": desc,
            "expect": "verification failure",
            "op": "note",
            "note": note,
            "vkeys": list(keys),
        }

    def unknown(desc: str, signatures: str, keys: tuple[str, ...]) -> Case:
        return bad(desc, signatures, keys=keys) | {"expect": "unknown key"}

    r, s = utils.decode_dss_signature(P256_SIGNATURE)
    scalar = int.from_bytes(ED_SIGNATURE[32:], "little") + ED25519_ORDER
    larger_scalar = ED_SIGNATURE[:32] + scalar.to_bytes(32, "little")
    flipped = bytes([ED_SIGNATURE[0] ^ 1]) + ED_SIGNATURE[1:]
    long_form = P256_SIGNATURE[:1] + b"\x81" + P256_SIGNATURE[1:]
    twice_hashed = P256.sign(sha256(TEXT.encode()).digest(), ec.ECDSA(SHA256(), deterministic_signing=True))
    first, second = colliding_vkeys()
    return {
        "note-text-changed": bad("the tree size was changed", ED_LINE, text=TEXT.replace("1046", "1047")),
        "note-text-shortened": bad("the text was cut", ED_LINE, text=f"{NAME}\n1046\n"),
        "note-text-line-added": bad("a line was added to the text", ED_LINE, text=TEXT + "more\n"),
        "note-text-newline-added": bad("an empty line was added to the text", ED_LINE, text=TEXT + "\n"),
        "note-text-byte-order-mark": bad("U+FEFF before the text", ED_LINE, text="\ufeff" + TEXT),
        "note-signature-of-another-text": bad(
            "a signature from another note", line(ED_ID, ED25519.sign(b"another text\n"))
        ),
        "note-signature-by-another-key": bad(
            "another key's signature under a known name and id",
            line(ED_ID, OTHER_ED25519.sign(TEXT.encode())),
        ),
        "note-signature-twice": bad("a known key signed twice", ED_LINE * 2),
        "note-signature-twice-apart": bad(
            "a known key signed twice, around another", ED_LINE + P256_LINE + ED_LINE
        ),
        "note-second-known-key-fails": bad(
            "one good signature does not make up for a bad one", ED_LINE + line(P256_ID, ED_SIGNATURE)
        ),
        "note-first-known-key-fails": bad(
            "a bad signature before a good one", line(ED_ID, flipped) + P256_LINE
        ),
        "note-ed25519-bit-flipped": bad("one bit of the signature", line(ED_ID, flipped)),
        "note-ed25519-63-bytes": bad("a signature that is too short", line(ED_ID, ED_SIGNATURE[:-1])),
        "note-ed25519-65-bytes": bad("a signature that is too long", line(ED_ID, ED_SIGNATURE + b"\0")),
        "note-ed25519-s-plus-order": bad("the group order added to s", line(ED_ID, larger_scalar)),
        "note-ed25519-zero": bad("64 zero bytes", line(ED_ID, bytes(64))),
        "note-ecdsa-byte-after": bad("a byte after the DER", line(P256_ID, P256_SIGNATURE + b"\0")),
        "note-ecdsa-long-length": bad("a DER length in its long form", line(P256_ID, long_form)),
        "note-ecdsa-not-der": bad("r and s without DER", line(P256_ID, r.to_bytes(32) + s.to_bytes(32))),
        "note-ecdsa-zero": bad("r and s are 0", line(P256_ID, utils.encode_dss_signature(0, 0))),
        "note-ecdsa-s-plus-order": bad(
            "the group order added to s", line(P256_ID, utils.encode_dss_signature(r, s + P256_ORDER))
        ),
        "note-ecdsa-hashed-twice": bad(
            "the digest was signed as if it were the text", line(P256_ID, twice_hashed)
        ),
        "note-unknown-key": unknown("signed by another key only", OTHER_LINE, (ED_VKEY,)),
        "note-no-key-known": unknown("there are no known keys", ED_LINE, ()),
        "note-key-with-another-name": unknown(
            "the right key under another name", P256_LINE, (vkey(2, P256_DATA, "other.example"),)
        ),
        "note-known-keys-collide": bad("two known keys with one name and id", ED_LINE, keys=(first, second))
        | {"expect": "configuration error"},
    }


def colliding_vkeys() -> tuple[str, str]:
    """Two different keys of one name and id: 4 bytes are no fingerprint."""
    seen: dict[bytes, bytes] = {}
    for number in range(1_000_000):
        data = sha256(number.to_bytes(8)).digest()
        if (other := seen.setdefault(key_id(1, data), data)) != data:
            return vkey(1, other), vkey(1, data)
    raise AssertionError


def files() -> dict[str, str]:
    """File names and their contents."""
    cases = good_note_cases() | malformed_note_cases() | refused_note_cases()
    # ASCII only, so that the files show what a terminal would hide.
    return {f"{name}.json": json.dumps(case, indent=2) + "\n" for name, case in cases.items()}


if __name__ == "__main__":
    for name, content in files().items():
        Path(__file__).with_name(name).write_text(content, encoding="utf-8")
