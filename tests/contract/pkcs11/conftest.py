"""Each test of the PKCS#11 backend begins as a courier does, with tokens of SoftHSM."""

from __future__ import annotations

import pytest

from tests.backends_under_test.softhsm import Roles, SoftHSM, make_roles
from tests.contract.pkcs11.parties import fresh_process


@pytest.fixture(autouse=True)
def as_a_courier_starts() -> None:
    """No module is initialized, nothing is open, nobody is logged in."""
    fresh_process()


@pytest.fixture(scope="module")
def hsm() -> SoftHSM:
    """This process's folder of tokens."""
    return SoftHSM.shared()


@pytest.fixture(scope="module")
def roles(hsm: SoftHSM) -> Roles:
    """Tokens that no test changes."""
    return make_roles(hsm)
