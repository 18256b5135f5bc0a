from __future__ import annotations

import pytest

from tests.reference.keys import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys for logs that are made line by line, from the page alone."""
    return Keys(tmp_path_factory.mktemp("made") / "keys").write()
