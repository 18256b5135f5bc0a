"""A secret in a file that every user of the host may read is not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.errors import ConfigError
from epochseal_backends.credentials import read_secret
from epochseal_backends.file.key_folder import load_private, load_public


@pytest.mark.parametrize("name", ["token", "secret_id", "pin"])
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_open_to_everybody(tmp_path: Path, name: str, mode: int) -> None:
    """It is refused with its mode and what to do, and is not quoted."""
    path = tmp_path / "secret"
    path.write_text("s3cr3t-value\n")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}") as refused:
        read_secret({f"{name}_file": str(path)}, name)
    assert "s3cr3t" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(("name", "mode"), [("pin", 0o600), ("token", 0o440), ("jwt", 0o644)])
def test_closed_enough(tmp_path: Path, name: str, mode: int) -> None:
    """A group may be the way in (a volume of Kubernetes); a workload's own token has its platform's mode."""
    path = tmp_path / "secret"
    path.write_text("value\n")
    path.chmod(mode)
    assert read_secret({f"{name}_file": str(path)}, name) == "value"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A FIFO would wait for a writer, and a device never end: neither is read, as a secret or as a key."""
    path = tmp_path / "strange"
    make(path)
    with pytest.raises(ConfigError, match="is no regular file"):
        read_secret({"token_file": str(path)}, "token")
    for load in (load_private, load_public):
        with pytest.raises(ConfigError, match="is no regular file"):
            load(path)
