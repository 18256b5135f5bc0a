"""PKCS#11 URIs: what is read, what is refused, and that p11tool of GnuTLS means the same by them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.errors import ConfigError
from epochseal.keys import parse_key_uri
from epochseal_backends.pkcs11.uri import Pkcs11URI, parse_pkcs11_uri
from tests.backends_under_test.softhsm import MODULE, PIN, SoftHSM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=t;object=o", Pkcs11URI(token="t", object="o")),
        ("object=o;token=t", Pkcs11URI(token="t", object="o")),
        ("token=Soft%20PKCS%2311;id=%69%95%3e", Pkcs11URI(token="Soft PKCS#11", id=b"i\x95>")),
        ("serial=DECC0401648;object=my-key", Pkcs11URI(serial="DECC0401648", object="my-key")),
        ("token=a:b@c!$'()*+,=&;object=%C3%A9", Pkcs11URI(token="a:b@c!$'()*+,=&", object="é")),
        ("model=m;manufacturer=A%2C%20Inc.;id=%00", Pkcs11URI(model="m", manufacturer="A, Inc.", id=b"\0")),
        ("token=t;object=o;type=private", Pkcs11URI(token="t", object="o")),
        ("token=t;object=o;type=public", Pkcs11URI(token="t", object="o")),
        ("token=t;id=1?pin-source=file:/run/pin", Pkcs11URI(token="t", id=b"1", pin_source=Path("/run/pin"))),
        ("token=t;id=1?pin-source=file:///pin", Pkcs11URI(token="t", id=b"1", pin_source=Path("/pin"))),
        (
            "token=t;object=o?pin-source=file%3A%2Frun%2Fa%20b&module-path=/usr/lib/x.so",
            Pkcs11URI(token="t", object="o", pin_source=Path("/run/a b"), module_path=Path("/usr/lib/x.so")),
        ),
        ("token=t;object=o?module-name=softhsm2", Pkcs11URI(token="t", object="o", module_name="softhsm2")),
    ],
)
def test_read(text: str, expected: Pkcs11URI) -> None:
    """Attributes in any order, percent-encoded or not, where RFC 7512 allows them."""
    assert parse_pkcs11_uri(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty part"),
        ("token=t", "names no key"),
        ("object=o", "names no token"),
        ("type=private;object=o", "names no token"),
        ("token=t;object=o;", "unknown attribute ''"),
        (";token=t;object=o", "unknown attribute ''"),
        ("token=t;;object=o", "unknown attribute ''"),
        ("token=t;object=o?", "empty part"),
        ("token=t;object=o?pin-source=file:/a&", "unknown attribute ''"),
        ("token=t;token=t;object=o", "gives token twice"),
        ("token=t;object=o;id=%01;id=%02", "gives id twice"),
        ("token=t;object=o?pin-source=file:/a&pin-source=file:/b", "gives pin-source twice"),
        ("token=;object=o", "value of token .* is empty"),
        ("token=t;object=o;id=", "value of id .* is empty"),
        ("token=t;object", "unknown attribute 'object'|did you mean"),
        ("token=a b;object=o", "not percent-encoded"),
        ("token=a/b;object=o", "not percent-encoded"),
        ("token=a%2;object=o", "not percent-encoded"),
        ("token=a%zz;object=o", "not percent-encoded"),
        ("token=é;object=o", "not percent-encoded"),
        ("token=%ff;object=o", "not UTF-8"),
        ("token=%c0%af;object=o", "not UTF-8"),
        ("token=a%00b;object=o", "control character"),
        ("token=a%0Ab;object=o", "control character"),
        ("Token=t;object=o", "unknown attribute 'Token'"),
        ("tok%65n=t;object=o", "unknown attribute"),
        ("token=t;object=o;x-vendor=1", "unknown attribute 'x-vendor'"),
        ("token=t;object=o;slot-id=3", "changes by itself"),
        ("token=t;object=o;library-version=2.6", "changes by itself"),
        ("token=t;object=o;type=cert", "names a 'cert'"),
        ("token=t;object=o;pin-source=file:/a", "belongs after the"),
        ("token=t;object=o?token=t", "belongs before the"),
        ("token=t;object=o?pin-value=1234", "holds a PIN"),
        ("token=t;object=o;pin-value=1234", "holds a PIN"),
        ("token=t;object=o?pin-source=|/bin/sh", "names a command"),
        ("token=t;object=o?pin-source=/run/pin", "not a file: URI"),
        ("token=t;object=o?pin-source=file:pin", "not an absolute path"),
        ("token=t;object=o?pin-source=file://host/pin", "not an absolute path"),
        ("token=t;object=o?module-path=softhsm2.so", "not an absolute path"),
        ("token=t;object=o?module-name=../evil", "not the plain name"),
        ("token=t;object=o?module-name=a&module-path=/a", "keep one|both"),
        ("token=t;object=o?pin-source=file:/a?b&c=d", "unknown attribute 'c'"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """Anything else is a ConfigError that says what is wrong, and never repeats a PIN."""
    with pytest.raises(ConfigError, match=message) as refused:
        parse_pkcs11_uri(text)
    assert "1234" not in f"{refused.value}{refused.value.hint}"


@given(st.text(min_size=1, max_size=20).filter(str.isprintable), st.binary(min_size=1, max_size=20))
def test_any_name_can_be_written(label: str, identifier: bytes) -> None:
    """Whatever a label or an id holds, percent-encoded it comes back as it was."""
    escaped = "".join(f"%{byte:02X}" for byte in label.encode())
    uri = parse_pkcs11_uri(
        f"token={escaped};object={escaped};id={''.join(f'%{byte:02x}' for byte in identifier)}"
    )
    assert (uri.token, uri.object, uri.id) == (label, label, identifier)


@given(st.text(alphabet="token=object;id%?&pin-sourcefile:/|01 é\x00", max_size=60))
def test_nonsense_is_a_config_error(text: str) -> None:
    """No text makes the reader fail with anything but a ConfigError."""
    try:
        uri = parse_pkcs11_uri(text)
    except ConfigError:
        return
    assert uri.object is not None or uri.id is not None


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHSM:
    """A folder of tokens for one test: p11tool looks at the first few alone."""
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    return SoftHSM(tmp_path)


def test_p11tool_prints_what_is_read(hsm: SoftHSM) -> None:
    """The URIs that p11tool lists for awkward labels are read, and name the label and id that were given."""
    token = hsm.token("uri")
    label, identifier = "a b/c;d=e%f?g&h é", "003b25ff"
    token.generate(label, "p256", "derive", identifier)
    listed = _p11tool(f"pkcs11:token={token.label}")
    found = [parse_pkcs11_uri(parse_key_uri(uri).rest) for uri in re.findall(r"URL: (\S+)", listed)]
    assert len(found) == 2
    for uri in found:
        assert (uri.token, uri.object, uri.id) == (token.label, label, bytes.fromhex(identifier))
        assert (uri.manufacturer, uri.model) == ("SoftHSM project", "SoftHSM v2")


def test_p11tool_finds_what_is_written(hsm: SoftHSM) -> None:
    """A URI that is accepted here leads p11tool to the same two objects, by label and by id."""
    token = hsm.token("uri")
    token.generate("epoch", "p256", "derive", "01")
    token.generate("other", "p256", "derive", "02")
    for rest in (
        f"token={token.label};object=epoch",
        f"token={token.label};id=%01",
        f"token={token.label};object=epoch;id=%01",
    ):
        parse_pkcs11_uri(rest)
        listed = _p11tool(f"pkcs11:{rest}")
        assert re.findall(r"Label: (\S+)", listed) == ["epoch", "epoch"]


def _p11tool(uri: str) -> str:
    command = ["p11tool", "--provider", str(MODULE), "--login", "--list-all", uri]
    environment = os.environ | {"GNUTLS_PIN": PIN}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
