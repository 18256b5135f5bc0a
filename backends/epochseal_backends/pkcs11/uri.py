"""PKCS#11 URIs (RFC 7512), read strictly: `pkcs11:token=audit;object=epoch?pin-source=file:/run/pin`.

| part of the URI                                     | names                                              |
|-----------------------------------------------------|----------------------------------------------------|
| `token` `serial` `manufacturer` `model`             | the token: all that are given must match           |
| `object` `id`                                       | the key pair, by CKA_LABEL and CKA_ID; one or both |
| `type=private` or `type=public`                     | nothing here: both halves of a pair are meant      |
| after `?`: `module-path` `module-name` `pin-source` | the library, and the file that holds the PIN       |

Bytes other than letters, digits, `-._~` and the RFC's few reserved ones are percent-encoded: `id=%01`,
`my%20token`. Everything else is refused: an unknown or doubled attribute, an empty value, a PIN in the URI
(`pin-value`), a command as `pin-source` (`|`), and slots and library versions (`slot-id`,
`library-version`, …), which change by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote_to_bytes

from epochseal.errors import ConfigError

_TOKEN = ("token", "serial", "manufacturer", "model")
_PATH = (*_TOKEN, "object", "id", "type")
_QUERY = ("module-path", "module-name", "pin-source")
_PASSING = (
    "slot-id",
    "slot-description",
    "slot-manufacturer",
    "library-description",
    "library-manufacturer",
    "library-version",
)
# RFC 7512, section 2.3: pk11-pchar and pk11-qchar.
_UNESCAPED = r"A-Za-z0-9\-._~:\[\]@!$'()*+,="
_PATH_VALUE = re.compile(rf"(?:[{_UNESCAPED}&]|%[0-9A-Fa-f]{{2}})+")
_QUERY_VALUE = re.compile(rf"(?:[{_UNESCAPED}/?|]|%[0-9A-Fa-f]{{2}})+")


@dataclass(frozen=True, slots=True)
class Pkcs11URI:
    """What one URI names; made by `parse_pkcs11_uri`. Texts are decoded, None stands for what is not given.

    Args:
        token: label of the token.
        serial: its serial number.
        manufacturer: its manufacturer.
        model: its model.
        object: label of the key pair (CKA_LABEL).
        id: its CKA_ID.
        module_path: absolute path of the module.
        module_name: name of the module without `lib` and `.so`.
        pin_source: absolute path of the file that holds the PIN.
    """

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: Path | None = None
    module_name: str | None = None
    pin_source: Path | None = None

    def __str__(self) -> str:
        """The key and its token, for messages."""
        names = [f"{name} {value!r}" for name in _TOKEN if (value := getattr(self, name)) is not None]
        where = " in the token with " + " and ".join(names) if names else ""
        return self.key + where

    @property
    def key(self) -> str:
        """Label and id, for messages."""
        parts = [] if self.object is None else [f"labelled {self.object!r}"]
        if self.id is not None:
            parts.append(f"with id {self.id.hex()}")
        return " ".join(parts)


def parse_pkcs11_uri(rest: str) -> Pkcs11URI:
    """Read a URI without its `pkcs11:`.

    Raises:
        ConfigError: it is not a URI of RFC 7512, or not one that names a key as described above.
    """
    path, mark, query = rest.partition("?")
    found = _attributes(path, ";", _PATH, _PATH_VALUE)
    if mark:
        found |= _attributes(query, "&", _QUERY, _QUERY_VALUE)
    if (kind := found.pop("type", b"private")) not in {b"private", b"public"}:
        raise ConfigError(
            f"pkcs11 URI names a {kind.decode(errors='replace')!r}, not a key pair", "leave type= out"
        )
    identifier = found.pop("id", None)
    texts = {name: _text(name, value) for name, value in found.items()}
    uri = Pkcs11URI(
        token=texts.get("token"),
        serial=texts.get("serial"),
        manufacturer=texts.get("manufacturer"),
        model=texts.get("model"),
        object=texts.get("object"),
        id=identifier,
        module_path=_absolute("module-path", texts.get("module-path")),
        module_name=texts.get("module-name"),
        pin_source=_pin_file(texts.get("pin-source")),
    )
    if uri.object is None and uri.id is None:
        raise ConfigError("pkcs11 URI names no key", "add object=LABEL, or id=%XX")
    if all(getattr(uri, name) is None for name in _TOKEN):
        raise ConfigError("pkcs11 URI names no token", "add token=LABEL or serial=NUMBER")
    if uri.module_path is not None and uri.module_name is not None:
        raise ConfigError("pkcs11 URI has both module-path and module-name", "keep one of them")
    if uri.module_name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.+\-]*", uri.module_name, re.ASCII):
        raise ConfigError(f"module-name is not the plain name of a library: {uri.module_name!r}")
    return uri


def _attributes(
    text: str, separator: str, known: tuple[str, ...], value: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator):
        name, equals, escaped = part.partition("=")
        if name not in known or not equals:
            raise _unknown(name, known, text)
        if name in found:
            # Which of the two would count is for the reader to guess, so there must not be two.
            raise ConfigError(f"pkcs11 URI gives {name} twice")
        if value.fullmatch(escaped) is None:
            raise ConfigError(
                f"value of {name} in the pkcs11 URI is empty or not percent-encoded: {escaped[:80]!r}",
                "write a space as %20, a slash as %2F, an id in hex as %01%0A",
            )
        found[name] = unquote_to_bytes(escaped)
    return found


def _unknown(name: str, known: tuple[str, ...], text: str) -> ConfigError:
    if name == "pin-value":
        return ConfigError("pkcs11 URI holds a PIN", "write it to a file: pin-source=file:PATH")
    if name in _PASSING:
        return ConfigError(
            f"pkcs11 URI names a token by {name}, which changes by itself", "name it by token= or serial="
        )
    if not text:
        return ConfigError("pkcs11 URI has an empty part", "write pkcs11:token=LABEL;object=LABEL")
    other = _QUERY if known is _PATH else _PATH
    if name in other:
        place = "after the '?'" if other is _QUERY else "before the '?'"
        return ConfigError(f"{name} belongs {place} of a pkcs11 URI")
    near = get_close_matches(name, known, n=1)
    return ConfigError(
        f"unknown attribute {name[:40]!r} in the pkcs11 URI",
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}",
    )


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"value of {name} in the pkcs11 URI is not UTF-8") from exc
    if not text.isprintable():
        raise ConfigError(f"value of {name} in the pkcs11 URI holds a control character")
    return text


def _absolute(name: str, value: str | None) -> Path | None:
    if value is None:
        return None
    path = Path(value)
    if not path.is_absolute():
        # Neither code nor a PIN is to depend on the directory that a command was started in.
        raise ConfigError(f"{name} is not an absolute path: {value!r}")
    return path


def _pin_file(value: str | None) -> Path | None:
    if value is None:
        return None
    if value.startswith("|"):
        raise ConfigError("pin-source names a command, and none is ever run", "write pin-source=file:PATH")
    if not value.startswith("file:"):
        raise ConfigError("pin-source is not a file: URI", "write pin-source=file:PATH, the path absolute")
    path = value.removeprefix("file:")
    if path.startswith("//"):
        # RFC 8089: file://HOST/PATH; the local host is written as nothing.
        path = path.removeprefix("//")
    return _absolute("pin-source", path)
