"""Write the vectors of vkeys, checkpoint texts and origins: `python tests/vectors/note/generate_texts.py`.

The keys are published ones, the attacks on their spelling are put together by hand from C2SP signed-note and
tlog-checkpoint. The name of a file is the case or the attack.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Case = dict[str, Any]

NAME = "log.example/payments"
ROOT = b64encode(sha256(b"root").digest()).decode()
TEXT = f"{NAME}\n1046\n{ROOT}\n"

# Published: C2SP signed-note, golang.org/x/mod/sumdb/note, and the log of Sigstore.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
REKOR_VKEY = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLO"
    "C96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
ED25519_DATA, OTHER_DATA, P256_DATA = (
    b64decode(text.split("+", 2)[2])[1:] for text in (C2SP_VKEY, GO_VKEY, REKOR_VKEY)
)
# The base point of the curve is as good a key as any.
P384_DATA = (
    ec.derive_private_key(1, ec.SECP384R1())
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


def key_id(kind: int, data: bytes, name: str = NAME) -> bytes:
    """The 4 bytes that name a key: type 0x02 hashes the key alone."""
    hashed = data if kind == 2 else name.encode() + bytes([10, kind]) + data
    return sha256(hashed).digest()[:4]


def vkey(kind: int, data: bytes, name: str = NAME) -> str:
    """A key as text."""
    return f"{name}+{key_id(kind, data, name).hex()}+{b64encode(bytes([kind]) + data).decode()}"


def set_last_bits(text: str) -> str:
    """The same bytes in base64 that ends in one `=`, with a bit set that a strict reader must see."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return f"{text[:-2]}{alphabet[alphabet.index(text[-2]) + 1]}="


ED_VKEY, P256_VKEY = vkey(1, ED25519_DATA), vkey(2, P256_DATA)
OTHER_ID, P256_ID = key_id(1, OTHER_DATA), key_id(2, P256_DATA)


def vkey_cases() -> dict[str, Case]:
    """Public keys as text."""

    def good(desc: str, text: str, algorithm: str) -> Case:
        name, identity, encoded = text.split("+", 2)
        data = b64decode(encoded)[1:].hex()
        return {
            "desc": desc,
            "expect": "ok",
            "op": "vkey",
            "vkey": text,
            "name": name,
            "key_id": identity,
            "algorithm": algorithm,
            "data": data,
        }

    def bad(desc: str, text: str) -> Case:
        return {"desc": desc, "expect": "format error", "op": "vkey", "vkey": text}

    identity, encoded = ED_VKEY.split("+", 2)[1:]
    point = P256_DATA[-65:]
    # The SubjectPublicKeyInfo of a compressed point, with its shorter lengths.
    prefix = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    compressed = prefix + bytes([2 + point[-1] % 2]) + point[1:33]
    unbound = f"{NAME}+{sha256(NAME.encode() + bytes([10, 2]) + P256_DATA).hexdigest()[:8]}+"
    return {
        "vkey-c2sp": good("the example of C2SP signed-note", C2SP_VKEY, "ed25519"),
        "vkey-go": good("the example of Go's note package", GO_VKEY, "ed25519"),
        "vkey-rekor": good("the ECDSA key of Sigstore's log", REKOR_VKEY, "ecdsa-p256"),
        "vkey-ed25519": good("an Ed25519 key under another name: another id", ED_VKEY, "ed25519"),
        "vkey-ecdsa": good("an ECDSA key under another name: the same id", P256_VKEY, "ecdsa-p256"),
        "vkey-name-unicode": good(
            "a name beyond ASCII", vkey(1, ED25519_DATA, "b\u00fccher.example"), "ed25519"
        ),
        "vkey-name-255-bytes": good("the longest name", vkey(1, ED25519_DATA, "n" * 255), "ed25519"),
        "vkey-empty": bad("no text", ""),
        "vkey-newline-after": bad("a newline after the key", ED_VKEY + "\n"),
        "vkey-space-after": bad("a space after the key", ED_VKEY + " "),
        "vkey-key-missing": bad("a name and an id without a key", f"{NAME}+{identity}+"),
        "vkey-name-empty": bad("no name", vkey(1, ED25519_DATA, "")),
        "vkey-name-256-bytes": bad("a name that is one byte too long", vkey(1, ED25519_DATA, "n" * 256)),
        "vkey-name-with-space": bad("a space in the name", vkey(1, ED25519_DATA, "log example")),
        "vkey-name-with-no-break-space": bad("U+00A0 in the name", vkey(1, ED25519_DATA, "log\u00a0example")),
        "vkey-name-with-newline": bad("a newline in the name", vkey(1, ED25519_DATA, "log\nexample")),
        "vkey-name-with-delete": bad("U+007F in the name", vkey(1, ED25519_DATA, "log\x7fexample")),
        "vkey-name-reversed": bad("U+202E turns the name around", vkey(1, ED25519_DATA, "log\u202eexample")),
        "vkey-name-with-plus": bad("a plus sign shifts the fields", vkey(1, ED25519_DATA, "log+example")),
        "vkey-name-of-another-key": bad("an id made for another name", f"other.example+{identity}+{encoded}"),
        "vkey-id-of-another-key": bad("the id of another key", f"{NAME}+{OTHER_ID.hex()}+{encoded}"),
        "vkey-id-upper-case": bad("hexadecimal in upper case", f"{NAME}+{identity.upper()}+{encoded}"),
        "vkey-id-short": bad("an id of 7 digits", f"{NAME}+{identity[:7]}+{encoded}"),
        "vkey-id-long": bad("an id of 9 digits", f"{NAME}+0{identity}+{encoded}"),
        "vkey-base64-broken": bad("one character too few", ED_VKEY[:-1]),
        "vkey-base64-unpadded": bad("base64 without its padding", P256_VKEY.rstrip("=")),
        "vkey-base64-bits-set": bad("bits set behind the last byte", set_last_bits(P256_VKEY)),
        "vkey-base64-url-alphabet": bad(
            "the alphabet for URLs",
            f"{NAME}+{P256_ID.hex()}+{urlsafe_b64encode(bytes([2]) + P256_DATA).decode()}",
        ),
        "vkey-type-00": bad("type 0x00", vkey(0, ED25519_DATA)),
        "vkey-type-04-witness": bad("the key of a witness", vkey(4, ED25519_DATA)),
        "vkey-type-06": bad("an algorithm that is not supported", vkey(6, bytes(1312))),
        "vkey-type-ff": bad("a type by a longer name", vkey(255, ED25519_DATA)),
        "vkey-ed25519-31-bytes": bad("a key that is too short", vkey(1, ED25519_DATA[:-1])),
        "vkey-ed25519-33-bytes": bad("a key that is too long", vkey(1, ED25519_DATA + b"\0")),
        "vkey-ed25519-as-ecdsa": bad("an Ed25519 key as type 0x02", vkey(2, ED25519_DATA)),
        "vkey-ecdsa-as-ed25519": bad("an ECDSA key as type 0x01", vkey(1, P256_DATA)),
        "vkey-ecdsa-p384": bad("another curve", vkey(2, P384_DATA)),
        "vkey-ecdsa-compressed-point": bad("the point in its short form", vkey(2, compressed)),
        "vkey-ecdsa-bare-point": bad("the point without its DER", vkey(2, point)),
        "vkey-ecdsa-byte-after": bad("a byte after the DER", vkey(2, P256_DATA + b"\0")),
        "vkey-ecdsa-off-curve": bad("a point that is not on the curve", vkey(2, P256_DATA[:-1] + b"\0")),
        "vkey-ecdsa-id-with-name": bad(
            "a type 0x02 id made as for other types", unbound + b64encode(b"\x02" + P256_DATA).decode()
        ),
    }


def checkpoint_cases() -> dict[str, Case]:
    """Texts of checkpoints."""

    def good(desc: str, origin: str, size: int, root: str) -> Case:
        fields = {"origin": origin, "size": size, "root": root}
        text = "".join(f"{item}\n" for item in fields.values())
        return {"desc": desc, "expect": "ok", "op": "checkpoint", "text": text} | fields

    def bad(desc: str, text: str) -> Case:
        return {"desc": desc, "expect": "format error", "op": "checkpoint", "text": text}

    def sized(desc: str, size: str) -> Case:
        return bad(desc, f"{NAME}\n{size}\n{ROOT}\n")

    def rooted(desc: str, root: str) -> Case:
        return bad(desc, f"{NAME}\n1046\n{root}\n")

    def named(desc: str, origin: str) -> Case:
        return bad(desc, f"{origin}\n1046\n{ROOT}\n")

    c2sp_root, empty_root = (
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        b64encode(sha256().digest()).decode(),
    )
    return {
        "checkpoint-c2sp": good("C2SP's example", "example.com/behind-the-sofa", 20852163, c2sp_root),
        "checkpoint-empty-tree": good("no leaves", NAME, 0, empty_root),
        "checkpoint-largest": good("the largest size", NAME, 2**63 - 1, ROOT),
        "checkpoint-extensions": bad(
            "extension lines, which no log of this format has", TEXT + "one\ntwo words\n"
        ),
        "checkpoint-no-text": bad("no text", ""),
        "checkpoint-root-missing": bad("two lines", f"{NAME}\n1046\n"),
        "checkpoint-final-newline-missing": bad("cut before the last newline", TEXT[:-1]),
        "checkpoint-empty-line-before": bad("an empty line before the origin", "\n" + TEXT),
        "checkpoint-empty-line-after": bad("an empty line after the root", TEXT + "\n"),
        "checkpoint-empty-extension": bad("an empty line between extensions", TEXT + "one\n\ntwo\n"),
        "checkpoint-extension-with-tab": bad("U+0009 in an extension", TEXT + "one\ttwo\n"),
        "checkpoint-carriage-returns": bad("lines that end in CR LF", TEXT.replace("\n", "\r\n")),
        "checkpoint-lines-swapped": bad("the size after the root", f"{NAME}\n{ROOT}\n1046\n"),
        "checkpoint-origin-empty": named("no origin", ""),
        "checkpoint-origin-with-space": named("a space in the origin", "go.sum database tree"),
        "checkpoint-origin-with-semicolon": named("a semicolon in the origin", "log;epoch=1"),
        "checkpoint-origin-with-plus": named("a plus sign in the origin", "a+b"),
        "checkpoint-origin-256-bytes": named("an origin that is one byte too long", "n" * 256),
        "checkpoint-size-empty": sized("no size", ""),
        "checkpoint-size-leading-zero": sized("a leading zero", "01046"),
        "checkpoint-size-double-zero": sized("two zeros", "00"),
        "checkpoint-size-plus-sign": sized("a plus sign", "+1046"),
        "checkpoint-size-negative": sized("a minus sign", "-1046"),
        "checkpoint-size-hexadecimal": sized("hexadecimal", "0x416"),
        "checkpoint-size-underscore": sized("an underscore between digits", "1_046"),
        "checkpoint-size-other-digits": sized("digits beyond ASCII", "\uff11\uff10\uff14\uff16"),
        "checkpoint-size-space-after": sized("a space after the size", "1046 "),
        "checkpoint-size-2-to-63": sized("one more than the largest size", str(2**63)),
        "checkpoint-size-fraction": sized("a fraction", "1046.0"),
        "checkpoint-root-empty": rooted("no root", ""),
        "checkpoint-root-31-bytes": rooted("a root that is too short", b64encode(bytes(31)).decode()),
        "checkpoint-root-33-bytes": rooted("a root that is too long", b64encode(bytes(33)).decode()),
        "checkpoint-root-unpadded": rooted("base64 without its padding", ROOT.rstrip("=")),
        "checkpoint-root-bits-set": rooted("bits set behind the last byte", set_last_bits(ROOT)),
        "checkpoint-root-hexadecimal": rooted("hexadecimal", sha256(b"root").hexdigest()),
        "checkpoint-root-url-alphabet": rooted(
            "the alphabet for URLs", urlsafe_b64encode(b"\xff" * 32).decode()
        ),
        "checkpoint-root-space-after": rooted("a space after the root", ROOT + " "),
    }


def origin_cases() -> dict[str, Case]:
    """Names of logs."""

    def case(desc: str, expect: str, origin: str) -> Case:
        return {"desc": desc, "expect": expect, "op": "origin", "origin": origin}

    refused = {
        "empty": ("no origin", ""),
        "with-space": ("a space", "log example"),
        "with-space-after": ("a space at the end", "log.example "),
        "with-no-break-space": ("U+00A0", "log\u00a0example"),
        "with-ideographic-space": ("U+3000", "log\u3000example"),
        "with-line-separator": ("U+2028", "log\u2028example"),
        "with-newline": ("a newline", "log.example\n"),
        "with-nul": ("U+0000", "log\0example"),
        "with-delete": ("U+007F", "log\x7fexample"),
        "with-next-line": ("U+0085", "log\x85example"),
        "reversed": ("U+202E turns the rest around", "log\u202eexample"),
        "with-zero-width-space": ("U+200B cannot be seen", "log\u200bexample"),
        "with-lone-surrogate": ("no text at all", "log\ud800example"),
        "with-semicolon": ("a semicolon, which separates the fields of a context", "log;epoch=1"),
        "with-plus": ("a plus sign, which separates the fields of a vkey", "log+example"),
        "256-bytes": ("one byte too long", "n" * 256),
        "256-bytes-of-utf8": ("128 characters of 2 bytes", "\u00fc" * 128),
    }
    cases = {
        f"origin-{name}": case(desc, "configuration error", text) for name, (desc, text) in refused.items()
    }
    return cases | {
        "origin-url": case("a URL without its scheme", "ok", NAME),
        "origin-word": case("one word", "ok", "app1"),
        "origin-unicode": case("letters beyond ASCII", "ok", "b\u00fccher.example"),
        "origin-punctuation": case("what else URLs hold", "ok", "log.example:8443/a_b-c~d?e=f&g#h%20i,@!"),
        "origin-255-bytes": case("the longest", "ok", "n" * 255),
    }


def files() -> dict[str, str]:
    """File names and their contents."""
    cases = vkey_cases() | checkpoint_cases() | origin_cases()
    # ASCII only, so that the files show what a terminal would hide.
    return {f"{name}.json": json.dumps(case, indent=2) + "\n" for name, case in cases.items()}


if __name__ == "__main__":
    for name, content in files().items():
        Path(__file__).with_name(name).write_text(content, encoding="utf-8")
