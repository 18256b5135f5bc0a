"""How keys of a transit engine are named, and the one form of what it wraps and signs.

    hashivault://MOUNT/KEY              openbao://MOUNT/KEY is the same
    openbao://teams/audit/transit/KEY   a mount may have slashes: the last part is the key
    openbao://transit/KEY?version=2     of a checkpoint key; without it, version 1

A wrapped secret or signature is `vault:vN:BASE64`, N being the key's version. The key id of an epoch key is
`vault:vN:MOUNT/KEY`: the version stands in front, so that no longer name is taken for another version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from epochseal.encoding import b64decode, b64encode, parse_decimal
from epochseal.errors import ConfigError, FormatError
from epochseal.keys import Context, KeyURI

FIRST_VERSION = 1
# Together with `vault:v` and 19 digits of a version it has to fit into a key id.
_MAX_PATH = 200
_PATH = re.compile(r"//((?:\w[\w.-]*/)+)(\w(?:[\w.-]*\w)?)", re.ASCII)
_VERSIONED = re.compile(r"vault:v([0-9]+):(.+)")
_KEY_ID = re.compile(r"vault:v([1-9][0-9]{0,18}):(.+)")


@dataclass(frozen=True, slots=True)
class KeyName:
    """One key of a transit engine.

    Args:
        mount: path of the engine, without slashes around it.
        key: name of the key in it.
        version: version that signs; an epoch key has no fixed one.
    """

    mount: str
    key: str
    version: int = FIRST_VERSION

    def __str__(self) -> str:
        return f"{self.mount}/{self.key}"

    def key_id(self, version: int) -> str:
        """What an epoch line says about the wrapping key."""
        return f"vault:v{version}:{self}"

    def has_id(self, key_id: str) -> bool:
        """Whether `key_id` is that of any version of this key."""
        match = _KEY_ID.fullmatch(key_id)
        return match is not None and match[2] == str(self)


def parse_epoch_key(uri: KeyURI) -> KeyName:
    """The epoch key that `uri` names.

    Raises:
        ConfigError: not `//MOUNT/KEY`, or with a version: issuing takes the newest one.
    """
    path, mark, _ = uri.rest.partition("?")
    if mark:
        raise ConfigError(
            f"{uri}: an epoch key has no version",
            hint="leave out what follows '?': the newest issues, and any that the log names is recovered",
        )
    return _key_name(uri, path, FIRST_VERSION)


def parse_checkpoint_key(uri: KeyURI) -> KeyName:
    """The checkpoint key that `uri` names, in the version that it names or else the first.

    Raises:
        ConfigError: not `//MOUNT/KEY` or `//MOUNT/KEY?version=N`.
    """
    path, mark, query = uri.rest.partition("?")
    if not mark:
        return _key_name(uri, path, FIRST_VERSION)
    try:
        version = parse_decimal(query.removeprefix("version="), "version")
    except FormatError:
        version = 0
    if version < FIRST_VERSION or not query.startswith("version="):
        raise ConfigError(f"{uri}: no version is named after '?'", hint="write ?version=N, counted from 1")
    return _key_name(uri, path, version)


def parse_versioned(text: str, what: str) -> tuple[int, bytes]:
    """Version and content of `vault:vN:BASE64`.

    The server takes more than it writes (`v0` for `v1`, some base64 that is not canonical), so a changed byte
    could go unnoticed there: here each value has one spelling.

    Raises:
        FormatError: any other form.
    """
    match = _VERSIONED.fullmatch(text)
    if match is None:
        raise FormatError(f"{what} is not vault:vN:BASE64")
    version = parse_decimal(match[1], f"key version of {what}")
    if version < FIRST_VERSION:
        raise FormatError(f"{what} has key version 0, and they count from 1")
    return version, b64decode(match[2], what)


def encode_context(context: Context) -> str:
    """The derivation context as the API takes it: base64 of `Context.encode`."""
    return b64encode(context.encode())


def context_prefix(context: Context) -> str:
    """How every context of this log begins in base64: what a policy binds an agent with."""
    return b64encode(context.encode_origin())


def _key_name(uri: KeyURI, path: str, version: int) -> KeyName:
    match = _PATH.fullmatch(path)
    if match is None or len(path) > _MAX_PATH:
        raise ConfigError(
            f"{uri} does not name a key of a transit engine",
            hint=f"write {uri.scheme}://MOUNT/KEY, for example {uri.scheme}://transit/epoch",
        )
    return KeyName(match[1].rstrip("/"), match[2], version)
