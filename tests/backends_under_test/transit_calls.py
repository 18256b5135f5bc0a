"""The calls of each role on provisioned transit keys, and what an administrator does to the keys."""

from __future__ import annotations

import json

from epochseal.errors import EpochsealError
from epochseal.keys import Issued, parse_key_uri, recover_one
from epochseal_backends.vault import backend as vault
from tests.backends_under_test.openbao import OpenBao, Provisioned
from tests.backends_under_test.proxy import Proxy
from tests.contract.backend_contract import CONTEXT, MESSAGE

UNTOUCHED = b"\xa5" * 32


def issue(keys: Provisioned, settings: dict[str, str] | None = None) -> Issued:
    """Issue with the agent's login, or another; a failed call must leave the buffer as it was."""
    into = bytearray(UNTOUCHED)
    issuer = vault.issuer(parse_key_uri(keys.epoch_uri), settings or keys.agent)
    try:
        issued = issuer.issue(CONTEXT, memoryview(into))
    except EpochsealError:
        assert into == UNTOUCHED
        raise
    assert into != UNTOUCHED
    return issued


def recover(keys: Provisioned, wrapped: bytes, settings: dict[str, str] | None = None) -> bytes:
    """Recover with the verifier's login, or another; a failed call must leave the buffer as it was."""
    into = bytearray(UNTOUCHED)
    recoverer = vault.recoverer(parse_key_uri(keys.epoch_uri), settings or keys.verifier)
    try:
        recover_one(recoverer, wrapped, CONTEXT, memoryview(into))
    except EpochsealError:
        assert into == UNTOUCHED
        raise
    return bytes(into)


def sign(keys: Provisioned, settings: dict[str, str] | None = None, query: str = "") -> bytes:
    """Sign with the agent's login, or another."""
    return vault.signer(parse_key_uri(keys.checkpoint_uri + query), settings or keys.agent).sign(MESSAGE)


def configure(bao: OpenBao, keys: Provisioned, which: str, **config: object) -> None:
    """Change the configuration of a key."""
    bao.request("POST", f"{keys.mount}/keys/{keys.name}-{which}/config", config)


def rotate(bao: OpenBao, keys: Provisioned, which: str) -> None:
    """Make a new version of a key; the agent may sign with any of three."""
    bao.request("POST", f"{keys.mount}/keys/{keys.name}-{which}/rotate", {})
    bao.allow_versions(keys, CONTEXT.origin, 1, 2, 3)


def calls(bao: OpenBao, path: str) -> int:
    """How many requests for `path` the server's trail holds."""
    entries = (json.loads(line) for line in bao.trail.read_text().splitlines())
    return sum(entry["type"] == "request" and entry["request"]["path"] == path for entry in entries)


def through(proxy: Proxy, settings: dict[str, str]) -> dict[str, str]:
    """The same login by way of a proxy."""
    return {**settings, "address": f"https://127.0.0.1:{proxy.port}"}
