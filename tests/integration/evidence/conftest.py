from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.evidence.site import Site
from tests.reference.keys import Keys


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys for logs that are made line by line, from the page alone."""
    return Keys(tmp_path_factory.mktemp("made") / "keys").write()


@pytest.fixture
def site(tmp_path: Path, made_keys: Keys) -> Site:
    """A fresh directory with the keys of all roles."""
    return Site(tmp_path, made_keys)
