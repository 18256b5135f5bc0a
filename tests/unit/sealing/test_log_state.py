"""What an agent remembers of a log: found by name, by real path, or by id where the log was moved."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.format.seal_lines import Abandoned
from epochseal.sealing.log_state import LogState
from tests.reference.keys import Keys
from tests.reference.maker import Maker

LOG, ROOT = bytes(range(32)), bytes(range(32, 64))
CALLS = [Abandoned(3, b64encode(bytes(32)), 2)]


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    """A log directory."""
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "states"


def remember(states: Path, logdir: Path, log: bytes = LOG, size: int = 5) -> None:
    """Say that the log has this id and size."""
    state = LogState.open(states, logdir, keep_carry=True)
    state.replace(log, size, ROOT, CALLS)
    state.close()


def known(states: Path, logdir: Path) -> int:
    """The size that is remembered of it."""
    state = LogState.open(states, logdir, keep_carry=True)
    state.close()
    return state.size


def test_it_is_there_for_the_next_process(states: Path, logdir: Path) -> None:
    """In the one form that is stated, readable by us alone."""
    remember(states, logdir)
    state = LogState.open(states, logdir, keep_carry=True)
    assert (state.kept, state.log, state.size, state.root) == (True, LOG, 5, ROOT)
    assert state.state is not None
    assert state.state.abandoned == CALLS
    state.close()
    (folder,) = states.iterdir()
    assert len(folder.name) == 16
    assert json.loads((folder / "state").read_bytes())["place"] == str(logdir)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state").stat().st_mode) == 0o600


def test_nothing_is_remembered_without_a_directory(logdir: Path) -> None:
    """Every method is there and does nothing."""
    state = LogState.open(None, logdir, keep_carry=True)
    state.replace(LOG, 5, ROOT, ())
    page = memoryview(bytearray(32))
    state.write_carry(LOG, 5, ROOT, page)
    assert state.read_carry(page) is None
    state.destroy_carry()
    state.forget()
    state.close()
    assert (state.kept, state.size, state.log, state.root, state.state) == (False, 0, b"", b"", None)


def test_only_what_changed_is_written(states: Path, logdir: Path) -> None:
    """The same once more costs no write."""
    state = LogState.open(states, logdir, keep_carry=True)
    state.replace(LOG, 5, ROOT, ())
    (path,) = states.glob("*/state")
    before = path.stat().st_ino
    state.replace(LOG, 5, ROOT, ())
    assert path.stat().st_ino == before
    state.replace(LOG, 6, ROOT, ())
    assert path.stat().st_ino != before
    state.close()


def test_a_link_that_leads_elsewhere_finds_the_memory_of_its_name(
    states: Path, logdir: Path, tmp_path: Path
) -> None:
    """The name counts, not where it leads: so the old memory speaks against the new log."""
    link = tmp_path / "link"
    link.symlink_to(logdir)
    remember(states, link)
    link.unlink()
    (tmp_path / "anew").mkdir()
    link.symlink_to(tmp_path / "anew")
    assert known(states, link) == 5


def test_another_name_of_the_same_directory_finds_it(
    states: Path, logdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a link, a relative path, a path with dots."""
    remember(states, logdir)
    (tmp_path / "link").symlink_to(logdir)
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "link", Path("log"), Path("link/../log"), logdir):
        assert known(states, name) == 5
    assert len(list(states.iterdir())) == 1


def test_a_moved_log_finds_it_by_its_id(states: Path, tmp_path: Path) -> None:
    """The directory was moved, or copied to another host: what is remembered of the log goes with it."""
    log = Maker(tmp_path / "log", Keys(tmp_path), "this one")
    log.begin("genesis").block(b"a\n").close()
    remember(states, log.path, log.log, 7)
    other = Maker(tmp_path / "other", Keys(tmp_path), "another one")
    other.begin("genesis")
    # While the log is where it was, a copy of it is another log directory.
    assert known(states, shutil.copytree(log.path, tmp_path / "copy")) == 0
    moved = log.path.rename(tmp_path / "moved")
    assert known(states, other.path) == 0
    assert known(states, moved) == 7
    state = LogState.open(states, moved, keep_carry=True)
    state.replace(log.log, 8, ROOT, ())
    state.close()
    assert known(states, moved) == 8


def test_two_agents_have_no_memory_in_common(states: Path, logdir: Path) -> None:
    """It is locked while one goes on."""
    state = LogState.open(states, logdir, keep_carry=True)
    with pytest.raises(LogBusy):
        LogState.open(states, logdir, keep_carry=True)
    state.close()
    assert known(states, logdir) == 0


def test_a_torn_state_is_put_away(states: Path, logdir: Path) -> None:
    """Cut at any byte, or of another form, it is missing, and a person can look at it."""
    remember(states, logdir)
    (path,) = states.glob("*/state")
    raw = path.read_bytes()
    for content in [
        *(raw[:cut] for cut in range(0, len(raw), 7)),
        raw[:-1],
        raw + b"\n",
        raw.replace(b'"version":1', b'"version":2'),
    ]:
        path.write_bytes(content)
        state = LogState.open(states, logdir, keep_carry=True)
        assert (state.unreadable, state.state, state.kept) == (True, None, True)
        assert path.with_name("state.unreadable").read_bytes() == content
        state.replace(LOG, 5, ROOT, CALLS)
        state.close()
        assert known(states, logdir) == 5


def open_to_all(path: Path) -> None:
    """Others may write it."""
    path.chmod(0o666)


def linked(path: Path) -> None:
    """It is a link."""
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def piped(path: Path) -> None:
    """It is a pipe."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [open_to_all, linked, piped])
def test_what_others_can_write_is_not_believed(
    states: Path, logdir: Path, spoil: Callable[[Path], None]
) -> None:
    """A start ends, rather than believe it or go on without."""
    remember(states, logdir)
    (path,) = states.glob("*/state")
    spoil(path)
    with pytest.raises(ConfigError):
        LogState.open(states, logdir, keep_carry=True)


def test_the_carry_is_kept_only_where_it_is_wanted(states: Path, logdir: Path) -> None:
    """Without `keep_carry` none is written; one that is there is read and destroyed all the same."""
    page = memoryview(bytearray(b"c" * 32))
    into = memoryview(bytearray(32))
    for keep in (True, False):
        state = LogState.open(states, logdir, keep_carry=keep)
        state.write_carry(LOG, 5, ROOT, page)
        assert (state.read_carry(into) is not None, bytes(into)) == (keep, b"c" * 32 if keep else bytes(32))
        state.destroy_carry()
        assert state.read_carry(into) is None
        state.close()


def test_it_is_forgotten_as_a_whole(states: Path, logdir: Path) -> None:
    """The carry, the state and what could not be read."""
    remember(states, logdir)
    state = LogState.open(states, logdir, keep_carry=True)
    state.write_carry(LOG, 5, ROOT, memoryview(bytearray(32)))
    state.forget()
    state.close()
    assert list(states.iterdir()) == []
    assert known(states, logdir) == 0


def test_a_state_directory_that_is_a_file(tmp_path: Path, logdir: Path) -> None:
    """It cannot be used, and that is said."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        LogState.open(tmp_path / "file", logdir, keep_carry=True)
