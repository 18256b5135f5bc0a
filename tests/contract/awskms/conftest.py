"""A KMS for the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends_under_test.kms import KmsServer, running_kms
from tests.backends_under_test.kms_calls import do_not_pause, see_only


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsServer]:
    """One server for all tests of this file."""
    with running_kms(tmp_path_factory.mktemp("kms")) as kms:
        yield kms


@pytest.fixture
def kms(server: KmsServer, monkeypatch: pytest.MonkeyPatch) -> KmsServer:
    """The server, and an environment in which nothing but it is found."""
    see_only(server.environ, monkeypatch)
    do_not_pause(monkeypatch)
    return server
