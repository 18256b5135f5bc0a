"""Names of KMS keys as URIs, in the forms that cosign has, read strictly: one spelling names one key.

awskms:///KEY-ID                     1234abcd-12ab-34cd-56ef-1234567890ab, or mrk- and 32 hexadecimal digits
awskms:///alias/NAME
awskms:///arn:aws:kms:REGION:ACCOUNT:key/KEY-ID
awskms:///arn:aws:kms:REGION:ACCOUNT:alias/NAME
awskms://HOST[:PORT]/…               any of these at another endpoint, by https
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from epochseal.errors import ConfigError
from epochseal.keys import KeyURI

_KEY_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}"
_ALIAS = r"alias/[A-Za-z0-9/_-]{1,250}"
_ARN = (
    r"arn:(?P<partition>aws(?:-[a-z]+)*):kms:(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+):(?P<account>[0-9]{12})"
    rf":(?:key/(?P<id>{_KEY_ID})|{_ALIAS})"
)
_HOST = r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
_REST = re.compile(rf"//(?P<host>{_HOST})?/(?P<key>{_ARN}|{_KEY_ID}|{_ALIAS})")
_MAX_PORT = 65535
_HINT = "write awskms:///alias/NAME, awskms:///KEY-ID or awskms:///arn:aws:kms:REGION:ACCOUNT:key/KEY-ID"


@dataclass(frozen=True, slots=True)
class KeyName:
    """One KMS key as its URI names it.

    Args:
        name: what KMS is asked for: a key id, an alias or the ARN of either.
        arn: `name` if that is the ARN of a key, which needs no resolving; else None.
        region: the region in the ARN, None where there is none.
        endpoint: the URL of the host in the URI, None where there is none.
    """

    name: str
    arn: str | None
    region: str | None
    endpoint: str | None


def parse(uri: KeyURI) -> KeyName:
    """Read the name of a KMS key.

    Raises:
        ConfigError: any other form than those of this module, or another spelling of one.
    """
    match = _REST.fullmatch(uri.rest)
    if match is None:
        raise ConfigError(f"not the name of a KMS key: {str(uri)[:120]!r}", _HINT)
    host = match["host"]
    if match["port"] and int(match["port"]) > _MAX_PORT:
        raise ConfigError(f"{uri} names a port above {_MAX_PORT}", _HINT)
    return KeyName(
        name=match["key"],
        arn=match["key"] if match["id"] else None,
        region=match["region"],
        endpoint=f"https://{host}" if host else None,
    )


def is_same_key(one: str, other: str) -> bool:
    """Whether two key ARNs name one key, or replicas of one multi-Region key.

    Replicas open what any of them wrapped. Anything but a key ARN is the same as nothing.
    """
    first, second = re.fullmatch(_ARN, one), re.fullmatch(_ARN, other)
    if first is None or second is None or not first["id"]:
        return False
    if first["id"].startswith("mrk-"):
        parts = ("partition", "account", "id")
        return all(first[part] == second[part] for part in parts)
    return one == other
