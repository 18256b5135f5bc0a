"""The calls of each role on the keys of a KMS, and an environment in which no other AWS is found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest
from botocore.retries import standard

from epochseal.errors import EpochsealError
from epochseal.keys import Issued, parse_key_uri, recover_one
from epochseal_backends.awskms import backend as awskms
from tests.backends_under_test.kms import KmsServer
from tests.contract.backend_contract import CONTEXT, MESSAGE

UNTOUCHED = b"\xa5" * 32

Settings = Mapping[str, str]


def see_only(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all that the environment says of AWS, and of proxies."""
    for name in os.environ:
        if name.startswith("AWS_") or name.upper() in {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"}:
            monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def do_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the library's pauses before another attempt so short that a test need not wait for them."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda _self, _context: 0.001)


def issue(uri: str, settings: Settings) -> Issued:
    """Issue; a failed call must leave the buffer as it was."""
    into = bytearray(UNTOUCHED)
    try:
        issued = awskms.issuer(parse_key_uri(uri), settings).issue(CONTEXT, memoryview(into))
    except EpochsealError:
        assert into == UNTOUCHED
        raise
    assert into != UNTOUCHED
    return issued


def recover(uri: str, settings: Settings, wrapped: bytes) -> bytes:
    """Recover; a failed call must leave the buffer as it was."""
    into = bytearray(UNTOUCHED)
    try:
        recover_one(awskms.recoverer(parse_key_uri(uri), settings), wrapped, CONTEXT, memoryview(into))
    except EpochsealError:
        assert into == UNTOUCHED
        raise
    return bytes(into)


def sign(uri: str, settings: Settings) -> bytes:
    """Sign one message."""
    return awskms.signer(parse_key_uri(uri), settings).sign(MESSAGE)


def each_call(kms: KmsServer, wrapped: bytes, **changed: str) -> dict[str, Callable[[], object]]:
    """Issue, recover and sign as their roles do, with some settings changed."""
    agent, verifier = ({**kms.settings(role), **changed} for role in ("agent", "verifier"))
    return {
        "issue": lambda: issue(kms.epoch_uri, agent),
        "recover": lambda: recover(kms.epoch_uri, verifier, wrapped),
        "sign": lambda: sign(kms.checkpoint_uri, agent),
    }
