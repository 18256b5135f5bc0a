from __future__ import annotations

import pytest

from tests.reference.keys import Keys


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of the reference in the folders of all roles, made once."""
    return Keys(tmp_path_factory.mktemp("keys") / "keys").write()
