"""Contexts, key URIs and the loader, without any backend that exists."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from epochseal.encoding import UNSEEN
from epochseal.errors import ConfigError, FormatError
from epochseal.keys import (
    MAX_WRAPPED,
    SECRET_SIZE,
    Context,
    Issued,
    KeyURI,
    PublicKey,
    check_secret_buffer,
    load_backend,
    parse_key_uri,
)

CONTEXT = Context("example.com/app", bytes(range(32)), 7, b"\xff" * 32)
SPKI = PublicFormat.SubjectPublicKeyInfo

origins = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "Cc", "Cf"], exclude_characters=";+"), min_size=1
).filter(lambda text: len(text.encode()) <= 255 and UNSEEN.search(text) is None)
contexts = st.builds(
    Context,
    origins,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)


def test_context_encoding_is_the_specified_one() -> None:
    """A known context gives known text, byte for byte."""
    assert CONTEXT.encode() == (
        b"log=example.com/app;;id=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=;epoch=7;"
        b"prev=//////////////////////////////////////////8="
    )


@pytest.mark.parametrize(
    ("origin", "head"), [("app1", b"log=app1;"), ("app12", b"log=app12;;;"), ("é", b"log=\xc3\xa9;;;")]
)
def test_context_pads_bytes_not_characters(origin: str, head: bytes) -> None:
    """The origin's part is filled to a multiple of 3 bytes, also where a character has two."""
    assert replace(CONTEXT, origin=origin).encode().startswith(head + b"id=")


@given(contexts)
def test_context_can_be_bound_by_a_base64_prefix(context: Context) -> None:
    """The origin's part alone, in base64, is how the whole context in base64 begins."""
    whole = context.encode()
    head = whole[: whole.index(b";id=") + 1]
    assert len(head) % 3 == 0
    assert b64encode(whole).startswith(b64encode(head))


@given(contexts)
def test_context_encoding_can_be_read_back(context: Context) -> None:
    """No two contexts share an encoding: the four values can be read out of it again."""
    origin, *_, log, epoch, prev = context.encode().decode().split(";")
    again = Context(
        origin.removeprefix("log="),
        b64decode(log.removeprefix("id=")),
        int(epoch.removeprefix("epoch=")),
        b64decode(prev.removeprefix("prev=")),
    )
    assert again == context


def test_context_fields() -> None:
    """The encryption context of a KMS has the same four values as text."""
    assert CONTEXT.fields() == {
        "origin": "example.com/app",
        "log": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "epoch": "7",
        "prev": "//////////////////////////////////////////8=",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "a;b",
        "a+b",
        "a b",
        "a\n",
        "\ta",
        "a\x7f",
        "a\x85",
        "a\u00a0b",
        "a\u2028",
        "\u202ea",
        "\udcff",
        "é" * 128,
    ],
)
def test_context_refuses_origin(origin: str) -> None:
    """An origin that could be read in two ways, or is longer than 255 bytes, is refused."""
    with pytest.raises(FormatError, match="origin"):
        replace(CONTEXT, origin=origin)


def test_context_takes_the_longest_origin() -> None:
    """255 bytes are not too many."""
    assert replace(CONTEXT, origin="o" * 255).encode().startswith(b"log=" + b"o" * 255 + b";")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("log", bytes(31)),
        ("log", bytes(33)),
        ("prev", b""),
        ("prev", bytes(64)),
        ("epoch", -1),
        ("epoch", 2**63),
    ],
)
def test_context_refuses_sizes(field: str, value: object) -> None:
    """Ids and tags have 32 bytes, an epoch 63 bits."""
    fields = {"origin": "o", "log": bytes(32), "epoch": 0, "prev": bytes(32), field: value}
    with pytest.raises(FormatError, match=r"log id|previous tag|epoch"):
        Context(**fields)  # type: ignore[arg-type]  # the sizes are wrong, and mypy sees only objects


@pytest.mark.parametrize("key_id", ["", "a b", 'a"', "a\\", "a\n", "é", "\x7f", "k" * 256])
def test_issued_refuses_key_id(key_id: str) -> None:
    """A key id that JSON would escape, or that is too long, is refused."""
    with pytest.raises(FormatError, match="key id"):
        Issued(key_id, b"w")


@pytest.mark.parametrize("size", [0, MAX_WRAPPED + 1])
def test_issued_refuses_wrapped(size: int) -> None:
    """A wrapped secret of no or more than 4096 bytes is refused."""
    with pytest.raises(FormatError, match=f"{size} bytes"):
        Issued("k", bytes(size))


def test_issued_takes_the_limits() -> None:
    """Every printable character but three, 255 of them, and 4096 bytes are accepted."""
    printable = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')
    assert Issued(printable, b"w").key_id == printable
    assert Issued("k" * 255, bytes(MAX_WRAPPED)).wrapped == bytes(MAX_WRAPPED)


def test_public_key_takes_both_algorithms() -> None:
    """32 raw bytes of Ed25519 and the usual DER of a P-256 key are accepted."""
    der = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.DER, SPKI)
    assert PublicKey("ecdsa-p256", der).data == der
    assert PublicKey("ed25519", bytes(32)).data == bytes(32)


def test_public_key_refuses_other_forms() -> None:
    """Wrong sizes, another curve, a bare point and an unknown algorithm are refused."""
    p256 = generate_private_key(SECP256R1()).public_key()
    der = p256.public_bytes(Encoding.DER, SPKI)
    p384 = generate_private_key(SECP384R1()).public_key().public_bytes(Encoding.DER, SPKI)
    compressed = p256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for data in (der[:-1], der + b"\0", p384, p384[: len(der)], der[26:], compressed, bytes(32), b""):
        with pytest.raises(FormatError, match="P-256 key"):
            PublicKey("ecdsa-p256", data)
    for data in (bytes(31), bytes(33), der, b""):
        with pytest.raises(FormatError, match="ed25519"):
            PublicKey("ed25519", data)
    with pytest.raises(FormatError, match="unknown"):
        PublicKey("rsa", der)  # type: ignore[arg-type]  # what a caller without mypy may do


@pytest.mark.parametrize(
    "into",
    [
        memoryview(bytes(32)),
        memoryview(bytearray(31)),
        memoryview(bytearray(64))[::2],
        memoryview(bytearray(32)).cast("I"),
    ],
)
def test_secret_buffer_refused(into: memoryview) -> None:
    """Read-only, short, scattered and non-byte buffers are refused."""
    with pytest.raises(ValueError, match="writable buffer of 32 bytes"):
        check_secret_buffer(into)


def test_secret_buffer_accepted() -> None:
    """A part of a larger page is a good buffer."""
    check_secret_buffer(memoryview(bytearray(4096))[64 : 64 + SECRET_SIZE])


@pytest.mark.parametrize(
    "text",
    [
        "file:keys/agent",
        "file:/srv/keys of me@home/agent",
        "file:///srv/x",
        "hashivault://transit/kek",
        "awskms:///alias/epochseal",
        "awskms://localhost:4566/arn:aws:kms:eu-west-1:123456789012:key/1234",
        "pkcs11:token=t;object=o?pin-source=file:/run/pin",
        "pkcs11:token=a:b@c;object=o",
        "2fa:x",
    ],
)
def test_key_uri_round_trip(text: str) -> None:
    """A good URI is split at its first colon and gives itself back."""
    uri = parse_key_uri(text)
    assert str(uri) == text
    assert f"{uri.scheme}:" == text[: len(uri.scheme) + 1]


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "file", "file:", ":x", "keys/agent"),
        *("File:x", "fi-le:x", " file:x", "é:x"),
        *("file:a\nb", "file:\x00", "file:\x9b", "file:\udcff"),
    ],
)
def test_key_uri_refuses_shape(text: str) -> None:
    """No scheme, nothing behind it, a scheme of other characters, or a control character."""
    with pytest.raises(ConfigError, match="not a key URI") as refused:
        parse_key_uri(text)
    assert "file:keys/agent" in str(refused.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=t?pin-value=s3cret",
        "pkcs11:token=t?PIN-Value=s3cret",
        "pkcs11:token=t?pin%2Dvalue=s3cret",
        "pkcs11:token=t?pin-value%3Ds3cret",
        "pin-value=s3cret",
        "hashivault://me:s3cret@transit/kek",
        "hashivault://s3cret@transit/kek",
        "awskms://me:s3cret%40localhost/alias/x",
        "Hashi-Vault://me:s3cret@transit",
    ],
)
def test_key_uri_refuses_secrets(text: str) -> None:
    """A PIN or a password in the URI is refused, and the message does not spread it."""
    with pytest.raises(ConfigError, match="key URI holds a") as refused:
        parse_key_uri(text)
    assert refused.value.hint
    assert "s3cret" not in str(refused.value) + refused.value.hint


@given(st.text())
def test_key_uri_never_fails_otherwise(text: str) -> None:
    """Any text is a URI that gives itself back, or a ConfigError."""
    try:
        uri = parse_key_uri(text)
    except ConfigError:
        return
    assert str(uri) == text
    assert KeyURI(uri.scheme, uri.rest) == parse_key_uri(str(uri))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder on the path that holds two installed distributions with backends of their own."""
    _install(tmp_path, "one", "tworooms = tworooms\nbroken = epochseal_test_broken\ndouble = a")
    _install(tmp_path, "two", "double = b\nsame = tworooms")
    _install(tmp_path, "three", "same = tworooms")
    (tmp_path / "tworooms.py").write_text("MARK = 'tworooms'\n")
    (tmp_path / "epochseal_test_broken.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tworooms", None)


@pytest.mark.usefixtures("packages")
def test_load_imports_the_named_module_only() -> None:
    """The module behind the scheme is loaded, and none of the others."""
    module = load_backend(KeyURI("tworooms", "x"))
    assert vars(module)["MARK"] == "tworooms"
    assert "epochseal_test_broken" not in sys.modules
    assert load_backend(KeyURI("same", "x")) is module


@pytest.mark.usefixtures("packages")
def test_load_unknown_scheme() -> None:
    """An unknown scheme is answered with the known ones, the nearest as a hint, and nothing of the rest."""
    with pytest.raises(ConfigError, match=r"unknown key scheme 'towrooms'.*broken.*tworooms") as refused:
        load_backend(KeyURI("towrooms", "s3cret"))
    assert refused.value.hint == "did you mean 'tworooms'?"
    assert "s3cret" not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        load_backend(KeyURI("zzz", "x"))
    assert refused.value.hint == "install the package that provides this backend"


@pytest.mark.usefixtures("packages")
def test_load_an_offer_that_is_written_otherwise(tmp_path: Path) -> None:
    """Other sections, comments, extras and spaces do not count, nor does a package behind its like."""
    _install(
        tmp_path / "more",
        "four",
        "# odd = no\n odd=tworooms [extra] \n\n[console_scripts]\nodd = epochseal_x",
    )
    _install(tmp_path / "more", "one", "tworooms = not_this_one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(tmp_path / "more"), str(tmp_path / "nowhere"), __file__])
        module = load_backend(KeyURI("odd", "x"))
        assert load_backend(KeyURI("tworooms", "x")) is module
    assert vars(module)["MARK"] == "tworooms"


@pytest.mark.usefixtures("packages")
def test_load_missing_library() -> None:
    """A library that is not installed is a ConfigError that names the extra which brings it."""
    with pytest.raises(ConfigError, match="a_library_that_is_not_there") as refused:
        load_backend(KeyURI("broken", "x"))
    assert refused.value.hint == "install the library that it needs"


def test_load_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a scheme of our own the hint is the command that installs its extra."""
    for scheme, extra in (
        ("hashivault", "vault"),
        ("openbao", "vault"),
        ("awskms", "aws"),
        ("pkcs11", "pkcs11"),
    ):
        folder = tmp_path / scheme
        _install(folder, "only", f"{scheme} = not_installed_either")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [str(folder)])
            with pytest.raises(ConfigError, match="not_installed_either") as refused:
                load_backend(KeyURI(scheme, "x"))
        assert refused.value.hint == f"in a checkout: pip install '.[{extra}]'"


@pytest.mark.usefixtures("packages")
def test_load_refuses_rivals() -> None:
    """Two packages that offer the same scheme are refused: the order of the path must not decide."""
    with pytest.raises(ConfigError, match=r"more than one module .*'double': a, b"):
        load_backend(KeyURI("double", "x"))


def _install(folder: Path, name: str, entry_points: str) -> None:
    """What an installer leaves behind of a distribution with backends."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[epochseal.backends]\n{entry_points}\n")
