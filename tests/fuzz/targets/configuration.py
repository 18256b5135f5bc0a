"""What an operator writes: TOML, key URIs, sizes and durations."""

from __future__ import annotations

from contextlib import suppress

from epochseal.config import read_config
from epochseal.errors import ConfigError
from epochseal.keys import parse_key_uri
from epochseal.units import format_duration, format_size, parse_duration, parse_size
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri
from tests.fuzz.scratch import scratch

TOML_WORDS = (
    *(
        b"[[log]]\n",
        b"[[log.source]]\n",
        b"[env.prod]\n",
        b"[env.prod.log.audit]\n",
        b"[vault]\n",
        b"[metrics]\n",
    ),
    *(
        b'kind = "tail"\n',
        b"origin",
        b"epoch_key",
        b'"""',
        b"'''",
        b"= [",
        b"{",
        b"}",
        b"\\u0000",
        b"1979-05-27",
        b"inf",
    ),
)
URI_WORDS = (
    b"token=",
    b"object=",
    b"id=%01",
    b"?pin-source=file:/",
    b"&module-path=/",
    b"type=private",
    b"%00",
    b"%ff",
)


def toml(data: bytes) -> None:
    """A configuration file: every complaint names a line of it."""
    path = scratch("toml") / "epochseal.toml"
    path.write_bytes(data)
    complaint = ""
    try:
        read_config(path, "")
    except ConfigError as exc:
        complaint = str(exc)
    number = complaint.removeprefix(f"{path}:").partition(":")[0]
    if number.isdigit():
        assert 1 <= int(number) <= data.count(b"\n") + 1, complaint


def pkcs11_uri(data: bytes) -> None:
    """What follows `pkcs11:`."""
    with suppress(ConfigError):
        uri = parse_pkcs11_uri(data.decode("utf-8", "surrogateescape"))
        assert uri.object is not None or uri.id is not None
        assert str(uri)


def key_uri(data: bytes) -> None:
    """The name of a key; one form."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ConfigError):
        assert str(parse_key_uri(text)) == text


def units(data: bytes) -> None:
    """Sizes and durations: what is read can be written and read again."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ConfigError):
        size = parse_size(text)
        assert parse_size(format_size(size)) == size
    with suppress(ConfigError):
        duration = parse_duration(text)
        assert parse_duration(format_duration(duration)) == duration
