"""What the tests of the PKCS#11 backend have in common."""

from __future__ import annotations

from epochseal.keys import Issued
from epochseal_backends.pkcs11 import session as pkcs11_session
from tests.backends_under_test.softhsm import SoftToken
from tests.contract.backend_contract import CONTEXT, Party


def party(token: SoftToken) -> Party:
    """Access to one token, with its PIN and the labels `epoch` and `checkpoint`."""
    return Party(token.uri("epoch"), token.uri("checkpoint"), token.hsm.settings)


def issue(agent: Party) -> Issued:
    """A secret for the context of the contract; only its wrapped form is kept."""
    return agent.issuer().issue(CONTEXT, memoryview(bytearray(32)))


def fresh_process() -> None:
    """As after a fork: nothing is open, nobody is logged in."""
    pkcs11_session.process.pid = -1
