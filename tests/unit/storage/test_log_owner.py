"""A log goes on only as the user who sealed it: root's files in it would end the agent's next start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.errors import ConfigError
from epochseal.storage.log_owner import check_owner, others_files, user_name

STEM = "000001-20261129T090000Z"
SOMEBODY = 4321


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    """A directory with one file pair of this user."""
    (tmp_path / "segments").mkdir()
    for ending in ("log", "seal"):
        (tmp_path / "segments" / f"{STEM}.{ending}").touch()
    return tmp_path


def _as(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """This process as another user, to whom the file system gives what it makes."""
    monkeypatch.setattr("epochseal.storage.log_owner.os.geteuid", lambda: user)
    monkeypatch.setattr("epochseal.storage.log_owner._owner_of_new_files", lambda *_: user)


def test_own_files(logdir: Path) -> None:
    """Whoever sealed it goes on; nothing is made in the directory for that."""
    before = sorted(logdir.rglob("*"))
    check_owner(logdir)
    assert sorted(logdir.rglob("*")) == before


def test_no_log_yet(tmp_path: Path) -> None:
    """There is nothing that could be another's."""
    check_owner(tmp_path)


@pytest.mark.parametrize(("user", "hint"), [(0, "run it as "), (SOMEBODY, f"chown user {SOMEBODY} ")])
def test_another_users_log(logdir: Path, monkeypatch: pytest.MonkeyPatch, user: int, hint: str) -> None:
    """It is refused with both users' names, and with what to do for root and for the agent."""
    _as(monkeypatch, user)
    monkeypatch.setattr("epochseal.storage.log_owner.Path.lstat", _lstat_of(SOMEBODY - 1))
    with pytest.raises(ConfigError, match=f"belongs to .*, and this runs as {user_name(user)}") as caught:
        check_owner(logdir)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_share_that_renames_root(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system gives what is made to another user, that user's files are ours."""
    mine = os.geteuid()
    monkeypatch.setattr("epochseal.storage.log_owner.os.geteuid", lambda: SOMEBODY)
    assert others_files(logdir, logdir.rglob("*.seal")) == []
    monkeypatch.setattr("epochseal.storage.log_owner._owner_of_new_files", lambda *_: mine + 1)
    assert others_files(logdir, logdir.rglob("*.seal")) == [logdir / "segments" / f"{STEM}.seal"]


def _lstat_of(owner: int) -> object:
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = real(path)
        return os.stat_result((*found[:4], owner, *found[5:]))

    return lstat
