from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends_under_test.s3 import S3Server, running_s3


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store for all tests of this folder."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server
