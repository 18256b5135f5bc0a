from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.config.state_dir import StateDir, check_outside, default_state_dir, parse_state_dir
from epochseal.errors import ConfigError, StorageError
from epochseal.service.ready_state_dir import ready_state_dir


def _not_told(reason: str) -> None:
    raise AssertionError(reason)


def test_what_somebody_writes() -> None:
    """A path, or `none`; nothing else is a word."""
    assert parse_state_dir("none") == StateDir(None)
    assert parse_state_dir("/var/lib/x") == StateDir(Path("/var/lib/x"))
    with pytest.raises(ConfigError):
        parse_state_dir("")


def test_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of the unit, the first if it has several; else the user's; a relative one counts as none."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert default_state_dir() == StateDir(Path("/var/lib/a"), named=False)
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == StateDir(tmp_path / "epochseal", named=False)
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_state_dir() == StateDir(tmp_path / "home/.local/state/epochseal", named=False)


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    """With its missing parents, and of mode 0700."""
    path = tmp_path / "a" / "b"
    assert ready_state_dir(StateDir(path), tmp_path / "log", _not_told) == path
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", ["log", "log/state", "link", "link/deeper"])
def test_it_is_never_in_the_log_directory(tmp_path: Path, place: str) -> None:
    """Whoever can change the log could change what is remembered of it: refused, by the real paths."""
    (tmp_path / "log").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "log")
    for named in (True, False):
        with pytest.raises(ConfigError, match="lies in the log directory"):
            ready_state_dir(StateDir(tmp_path / place, named), tmp_path / "log", _not_told)
    check_outside(tmp_path / "log2", tmp_path / "log")
    check_outside(tmp_path, tmp_path / "log")


def test_one_that_others_may_write(tmp_path: Path) -> None:
    """Refused where it was named; a default is done without, and that is told."""
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        ready_state_dir(StateDir(path), tmp_path / "log", _not_told)
    told: list[str] = []
    assert ready_state_dir(StateDir(path, named=False), tmp_path / "log", told.append) is None
    assert "others may write" in told[0]


def test_one_that_cannot_be_made(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        ready_state_dir(StateDir(tmp_path / "file" / "state"), tmp_path / "log", _not_told)
    told: list[str] = []
    assert (
        ready_state_dir(StateDir(tmp_path / "file" / "x", named=False), tmp_path / "log", told.append) is None
    )
    assert len(told) == 1


def test_a_link_that_a_unit_made(tmp_path: Path) -> None:
    """It is followed: what it leads to is ours."""
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(tmp_path / "private")
    path = tmp_path / "state"
    assert ready_state_dir(StateDir(path), tmp_path / "log", _not_told) == path


def test_nothing_is_remembered(tmp_path: Path) -> None:
    """`none` is silent; a user without a home is told of."""
    assert ready_state_dir(StateDir(None), tmp_path, _not_told) is None
    told: list[str] = []
    assert ready_state_dir(StateDir(None, named=False), tmp_path, told.append) is None
    assert told == ["this user has no home directory"]
    assert not list(tmp_path.iterdir())
