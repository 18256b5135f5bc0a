"""What an audit device writes in the place of a text: `sys/audit-hash/DEVICE`.

The device's HMAC has a salt that never leaves the server, so each text is a call; answers are remembered. The
device writes these calls down as well, with the same HMACs: asking shows nothing that it does not show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from epochseal.errors import BackendError, ConfigError
from epochseal.keys import KeyURI
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.names import parse_epoch_key
from epochseal_backends.vault.session import Refusal, Session

_DEVICE = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)
_MAY_NOT = "compare texts with the audit trail"
_PREFIX = "hmac-sha256:"


class _Hash(msgspec.Struct):
    hash: str


def audit_hasher(uri: KeyURI, settings: Mapping[str, str], device: str) -> AuditHasher:
    """What an audit device of the server of `uri` writes in the place of a text.

    Raises:
        ConfigError: `uri`, a setting or the device's name cannot be used.
    """
    parse_epoch_key(uri)
    return AuditHasher(Session(read_access(settings)), device)


class AuditHasher:
    """The HMACs of one audit device.

    Args:
        session: the server, and a role that may ask it.
        device: path of the device, without slashes around it.

    Raises:
        ConfigError: `device` is no path of a device.
    """

    def __init__(self, session: Session, device: str) -> None:
        if _DEVICE.fullmatch(device) is None:
            raise ConfigError(
                f"not an audit device: {device[:80]!r}", hint="name it as `audit list` does, such as file"
            )
        self._session = session
        self._device = device
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The HMAC that stands for `text`, with its prefix `hmac-sha256:`.

        Raises:
            ConfigError: the server has no such device.
            Denied, Unavailable, BackendError: the server did not tell it.
        """
        if text not in self._known:
            self._known[text] = self._ask(text)
        return self._known[text]

    def _ask(self, text: str) -> str:
        path = f"sys/audit-hash/{self._device}"
        try:
            found = self._session.write(path, {"input": text}, _Hash, _MAY_NOT).hash
        except Refusal as exc:
            raise ConfigError(
                f"vault: there is no audit device {self._device!r}: {exc.said}",
                hint="`audit list` names those that the server has",
            ) from exc
        if not found.startswith(_PREFIX):
            raise BackendError(f"vault: {path} answered with what is no HMAC of an audit device")
        return found
