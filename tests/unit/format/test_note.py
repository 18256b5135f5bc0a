from __future__ import annotations

import json
import runpy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from epochseal.encoding import MAX_INT, UNSEEN, b64decode, b64encode
from epochseal.errors import ConfigError, EpochsealError, FormatError, VerificationError
from epochseal.format.note import (
    MAX_NAME,
    MAX_NOTE,
    MAX_SIGNATURES,
    Checkpoint,
    HeldSignatures,
    Note,
    Signature,
    UnknownKey,
    VerifierKey,
    check_origin,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    sign_text,
    verify_note,
)
from epochseal.keys import PublicKey

VECTORS = Path(__file__).parents[2] / "vectors" / "note"
EXPECTED: dict[str, type[EpochsealError]] = {
    "format error": FormatError,
    "verification failure": VerificationError,
    "unknown key": UnknownKey,
    "configuration error": ConfigError,
}

ORIGIN = "log.example/payments"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01")
P256 = ec.derive_private_key(1, ec.SECP256R1())
ED_KEY = VerifierKey(
    ORIGIN, PublicKey("ed25519", ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
)
P256_KEY = VerifierKey(
    ORIGIN,
    PublicKey("ecdsa-p256", P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
)
CHECKPOINT = Checkpoint(ORIGIN, 1046, sha256(b"root").digest())
TEXT = CHECKPOINT.text()


def sign_p256(text: str) -> bytes:
    """What a KMS returns for the text: ECDSA over its SHA-256, in DER."""
    return P256.sign(text.encode(), ec.ECDSA(SHA256()))


RAW = Note(TEXT, (sign_text(TEXT, ED_KEY, ED25519.sign(TEXT.encode())),)).encode()

# Any character that a name may hold, and a few that have to be kept apart from spaces and line ends.
names = st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "C"], exclude_characters="+"), min_size=1)
short_names = names.filter(lambda name: len(name.encode()) <= MAX_NAME and UNSEEN.search(name) is None)
lines = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]))
signatures = st.builds(
    Signature, short_names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)


def run_vector(case: dict[str, Any]) -> None:
    """Do what the vector says; raises what the code raises."""
    match case["op"]:
        case "vkey":
            key = parse_vkey(case["vkey"])
            assert (key.name, key.key_id.hex()) == (case["name"], case["key_id"])
            assert (key.key.algorithm, key.key.data.hex()) == (case["algorithm"], case["data"])
            assert key.vkey == case["vkey"]
        case "note":
            raw = case["note"].encode() if "note" in case else bytes.fromhex(case["note_hex"])
            note = parse_note(raw)
            assert note.encode() == raw
            signers = verify_note(note, [parse_vkey(text) for text in case["vkeys"]])
            assert [key.vkey for key in signers] == case["signed_by"]
        case "checkpoint":
            checkpoint = parse_checkpoint(case["text"])
            assert checkpoint.text() == case["text"]
            assert (checkpoint.origin, checkpoint.size) == (case["origin"], case["size"])
            assert checkpoint.root == b64decode(case["root"], "root")
        case "origin":
            assert check_origin(case["origin"]) == case["origin"]
        case other:
            pytest.fail(f"vector with the unknown operation {other}")


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("*.json")))
def test_vector(name: str) -> None:
    """Every vector file has the verdict that it expects, and no other error."""
    case = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    if case["expect"] == "ok":
        run_vector(case)
        return
    with pytest.raises(EXPECTED[case["expect"]]) as caught:
        run_vector(case)
    assert caught.type is EXPECTED[case["expect"]]


def test_vectors_are_what_the_generators_write() -> None:
    """The stored vectors are the generators', byte for byte, with none missing and none left over."""
    stored = {path.name: path.read_text(encoding="utf-8") for path in VECTORS.glob("*.json")}
    written: dict[str, str] = {}
    for generator in ("generate.py", "generate_texts.py"):
        written |= runpy.run_path(str(VECTORS / generator))["files"]()
    assert stored == written


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("note-separator-missing", "no empty line"),
        ("note-signatures-missing", "does not end in a signature line"),
        ("note-line-after", "not a signature line: 'more'"),
        ("note-101-signatures", "more than 100 signatures"),
        ("vkey-type-06", "unsupported type 0x06"),
        ("vkey-id-of-another-key", "its text says"),
    ],
)
def test_errors_say_what_is_wrong(name: str, message: str) -> None:
    """A reader learns which part is malformed, not only that re-encoding gave other bytes."""
    with pytest.raises(FormatError, match=message):
        run_vector(json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8")))


def test_sign_text_takes_what_backends_return() -> None:
    """Raw signatures of either algorithm make one note that both keys verify."""
    note = Note(
        TEXT,
        (sign_text(TEXT, P256_KEY, sign_p256(TEXT)), sign_text(TEXT, ED_KEY, ED25519.sign(TEXT.encode()))),
    )
    assert verify_note(parse_note(note.encode()), [ED_KEY, P256_KEY]) == (P256_KEY, ED_KEY)


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (ED_KEY, ED25519.sign(b"another text\n")),
        (ED_KEY, sign_p256(TEXT)),
        (P256_KEY, ED25519.sign(TEXT.encode())),
        (P256_KEY, b""),
    ],
    ids=["another-text", "p256-by-ed25519", "ed25519-by-p256", "empty"],
)
def test_sign_text_refuses_what_no_reader_would_accept(key: VerifierKey, signature: bytes) -> None:
    """A backend that signed another text, or with another key, is found out before its note is stored."""
    with pytest.raises(VerificationError, match="does not hold"):
        sign_text(TEXT, key, signature)


def test_known_key_may_be_named_twice() -> None:
    """The same key given twice is one key: only two different ones under one name and id are refused."""
    assert verify_note(parse_note(RAW), [ED_KEY, parse_vkey(ED_KEY.vkey)]) == (ED_KEY,)


def test_keys_are_read_once() -> None:
    """Known keys may come from any iterable."""
    assert verify_note(parse_note(RAW), iter([P256_KEY, ED_KEY])) == (ED_KEY,)


def test_unknown_key_is_told_apart() -> None:
    """A note by a stranger is named as such, with the key that did sign."""
    with pytest.raises(UnknownKey, match=f"{ORIGIN}\\+{ED_KEY.key_id.hex()}"):
        verify_note(parse_note(RAW), [P256_KEY])


def test_witness_key_is_refused_by_name() -> None:
    """A witness's key in the place of a log's key is told as what it is."""
    encoded = b64encode(b"\x04" + ED_KEY.key.data)
    with pytest.raises(FormatError, match="0x04: it is a witness's"):
        parse_vkey(f"{ORIGIN}+00000000+{encoded}")


def test_note_is_limited_in_size() -> None:
    """A note of exactly the limit is read; one byte more is neither read nor written."""
    room = MAX_NOTE - len(RAW)
    largest = b"a" * room + RAW
    assert parse_note(largest).encode() == largest
    with pytest.raises(FormatError, match="longer than"):
        parse_note(b"a" + largest)
    with pytest.raises(FormatError, match="longer than"):
        Note("a" * (room + 1) + TEXT, parse_note(RAW).signatures).encode()


@pytest.mark.parametrize(
    "text", ["", "\n", "no newline", "tab\t\n", "escape \x1b[2J\n", "surrogate \ud800\n"]
)
def test_note_refuses_texts_that_no_reader_takes(text: str) -> None:
    """What could not be read back cannot be built either."""
    with pytest.raises(FormatError, match="note"):
        Note(text, parse_note(RAW).signatures)


@pytest.mark.parametrize("number", [0, MAX_SIGNATURES + 1])
def test_note_has_a_number_of_signatures(number: int) -> None:
    """A note has at least one signature and at most the limit."""
    with pytest.raises(FormatError, match=f"note has {number} signatures"):
        Note(TEXT, parse_note(RAW).signatures * number)


@pytest.mark.parametrize(
    ("name", "key_id", "data"),
    [
        ("", b"1234", b"s"),
        ("a b", b"1234", b"s"),
        ("a+b", b"1234", b"s"),
        ("a", b"123", b"s"),
        ("a", b"1234", b""),
    ],
)
def test_signature_refuses_what_its_line_cannot_hold(name: str, key_id: bytes, data: bytes) -> None:
    """A signature line that would read back as something else cannot be built."""
    with pytest.raises(FormatError):
        Signature(name, key_id, data)


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "log example"},
        {"origin": "log;epoch=1"},
        {"size": -1},
        {"size": MAX_INT + 1},
        {"root": bytes(31)},
    ],
)
def test_checkpoint_refuses_values_that_no_reader_takes(fields: dict[str, Any]) -> None:
    """What could not be read back cannot be signed either."""
    with pytest.raises(FormatError):
        replace(CHECKPOINT, **fields)


def test_origin_error_says_what_to_do() -> None:
    """The message names the character that is in the way; the hint shows a good origin."""
    with pytest.raises(ConfigError, match=r"holds U\+003B") as caught:
        check_origin("log;epoch=1")
    assert caught.value.hint is not None


@given(st.data())
def test_no_flipped_bit_goes_unseen(data: st.DataObject) -> None:
    """Whichever bit of a signed note is changed, no known key stands behind the result."""
    bit = data.draw(st.integers(0, len(RAW) * 8 - 1))
    changed = bytearray(RAW)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((FormatError, VerificationError)):
        verify_note(parse_note(bytes(changed)), [ED_KEY])


@given(
    st.binary() | lines.map(lambda text: text.encode()) | st.just(RAW),
    st.binary(max_size=4),
    st.integers(0, 300),
)
def test_foreign_bytes_raise_format_errors_only(raw: bytes, more: bytes, place: int) -> None:
    """Whatever bytes are read as a note: it is the one spelling of a note, or a FormatError."""
    spliced = raw[:place] + more + raw[place:]
    try:
        note = parse_note(spliced)
    except FormatError:
        return
    assert note.encode() == spliced


@given(st.lists(lines, min_size=1).map("\n".join), st.lists(signatures, min_size=1, max_size=4))
def test_notes_survive_a_round_trip(text: str, signed: list[Signature]) -> None:
    """What can be built is read back as it was."""
    text = f"text{text}\n"
    note = Note(text, tuple(signed))
    assert parse_note(note.encode()) == note


@given(
    short_names.filter(lambda name: ";" not in name),
    st.integers(0, MAX_INT),
    st.binary(min_size=32, max_size=32),
)
def test_checkpoints_survive_a_round_trip(origin: str, size: int, root: bytes) -> None:
    """What can be signed is read back as it was, and its origin is one that a configuration may name."""
    checkpoint = Checkpoint(check_origin(origin), size, root)
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@given(short_names, st.binary(min_size=32, max_size=32))
def test_vkeys_survive_a_round_trip(name: str, data: bytes) -> None:
    """A key's text is read back as the key."""
    key = VerifierKey(name, PublicKey("ed25519", data))
    assert parse_vkey(key.vkey) == key


@given(st.binary(max_size=80))
def test_no_bytes_pass_as_a_signature(data: bytes) -> None:
    """Arbitrary bytes in the place of a signature fail to verify, and raise nothing else."""
    for key in (ED_KEY, P256_KEY):
        with pytest.raises(VerificationError):
            sign_text(TEXT, key, data)


def test_a_signature_that_held_is_remembered_for_its_key_its_text_and_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else passes by the memory: it is verified, and what did not hold is not remembered."""
    good = sign_text(TEXT, ED_KEY, ED25519.sign(TEXT.encode()))
    held, signed = HeldSignatures(), Note(TEXT, (good,))
    other = Checkpoint(ORIGIN, 1047, CHECKPOINT.root).text()
    stranger = VerifierKey(ORIGIN, PublicKey("ed25519", bytes(32)))
    changed = Signature(ORIGIN, ED_KEY.key_id, bytes([good.data[0] ^ 1]) + good.data[1:])
    others = [
        (Note(other, (good,)), ED_KEY),
        (Note(TEXT, (Signature(ORIGIN, stranger.key_id, good.data),)), stranger),
        (Note(TEXT, (changed,)), ED_KEY),
    ]
    assert verify_note(signed, [ED_KEY], held) == (ED_KEY,)
    for note, key in others:
        with pytest.raises(VerificationError, match="does not hold"):
            verify_note(note, [key], held)

    def verified(key: VerifierKey, _message: bytes, _signature: bytes) -> None:
        raise VerificationError(f"{key.name} is asked for")

    monkeypatch.setattr("epochseal.format.note._check_signature", verified)
    assert verify_note(signed, [ED_KEY], held) == (ED_KEY,)
    for note, key in others:
        with pytest.raises(VerificationError, match="is asked for"):
            verify_note(note, [key], held)
    with pytest.raises(VerificationError, match="is asked for"):
        verify_note(signed, [ED_KEY])
