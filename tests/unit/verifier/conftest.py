"""Keys of the reference, and the empty log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference.keys import Keys
from tests.reference.maker import MINUTE, Maker, Pace


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of the reference, on disk."""
    return Keys(tmp_path_factory.mktemp("made") / "keys").write()


@pytest.fixture
def log(made_keys: Keys, tmp_path: Path) -> Maker:
    """The empty log, which promises to keep its entries for a minute."""
    return Maker(tmp_path / "log", made_keys, pace=Pace(retention=MINUTE))
