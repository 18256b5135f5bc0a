from __future__ import annotations

import pytest

from tests.integration.logs import LogKeys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LogKeys:
    """Keys in the folders of all roles, made once."""
    made = LogKeys(tmp_path_factory.mktemp("keys") / "keys")
    made.write()
    return made
