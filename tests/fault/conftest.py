"""Where the logs are that are driven by hand (tests/fault/story.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fault.story import Host, running_host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Keys in files, and a zygote that knows them."""
    with running_host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for logs where a sync costs nothing: there are hundreds of them."""
    with TemporaryDirectory(dir="/dev/shm") as made:  # a test's own directory
        yield Path(made)


@pytest.fixture(params=["in memory", "on tmpfs"])
def runtime_dir(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Where the ratchet's page is: gone with the process, or not."""
    if request.param == "in memory":
        yield None
        return
    with TemporaryDirectory(dir="/dev/shm") as directory:  # keys are kept on no other file system
        yield Path(directory)


@pytest.fixture
def here(request: pytest.FixtureRequest) -> str:
    """Which test it is, and with what: by that it takes its samples (tests/fault/samples.py)."""
    name: str = request.node.name
    return name
