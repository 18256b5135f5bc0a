"""The carry of a clean close: on disk until the log has gone on, then neither there nor in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.agents import wait_until
from tests.memory.log_keys import LogKey
from tests.memory.program import CARRY_LEAKS
from tests.memory.running import Backend, Look, Watched, index_of
from tests.memory.test_no_key_left import check, check_at_rest


@dataclass(frozen=True)
class GoingOn:
    """What a start behind a clean close leaves of the carry that it went on with.

    Attributes:
        carry: its name among the keys.
        begun: its agent when an epoch has begun and nothing stands behind its first line.
        on_disk: keys in the state directory then.
        later: its agent when one entry is acknowledged.
        left: keys in the state directory then.
        freed: what the blocks hold that the file had.
        agent: the process.
    """

    carry: str
    begun: Look
    on_disk: list[str]
    later: Look
    left: list[str]
    freed: bytes
    agent: int


def close(folder: Path, backend: Backend) -> tuple[Path, list[LogKey]]:
    """Seal some and close the log; its carry file, and its keys."""
    state = folder / "state"
    with Watched(folder, backend, "--state-dir", str(state), change="no memfd_secret") as watched:
        watched.commit(50)
        assert keys_in(state, watched.keys()) == []
        assert watched.agent.stop() == 0
        keys = watched.keys()
    (path,) = state.glob("*/carry")
    return path, keys


def go_on(folder: Path, backend: Backend, change: str) -> GoingOn:
    """Close a log, and start again."""
    path, keys = close(folder, backend)
    assert keys_in(folder / "state", keys) == [keys[-1].name]
    state = folder / "state"
    with (
        path.open("rb", buffering=0) as file,
        Watched(folder, backend, "--state-dir", str(state), change=change) as watched,
    ):
        # It says how many entries there are before it has a key.
        wait_until(lambda: watched.epochs() == keys[-1].epoch + 2)
        begun, on_disk = watched.look_at_rest(), keys_in(state, watched.keys())
        watched.commit(1)
        later, left = watched.look_at_rest(), keys_in(state, watched.keys())
        known = watched.keys()
        (carry,) = (key.name for key in known if key.value == keys[-1].value)
        found = GoingOn(carry, begun, on_disk, later, left, file.read(), watched.pid)
        assert watched.agent.stop() == 0
        return found


def keys_in(folder: Path, keys: list[LogKey]) -> list[str]:
    """The keys that the files of a folder hold, each as often as it is there."""
    data = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return [key for _, key in sorted({(start, key) for start, key, _ in index_of(keys).find(data)})]


def test_a_clean_close_hands_on_one_key(tmp_path: Path, file_backend: Backend) -> None:
    """The state directory holds the carry, once, in a file of the owner's alone; while it ran, no key."""
    path, keys = close(tmp_path, file_backend)
    assert keys[-1].name.startswith("carry out of epoch ")
    assert keys_in(tmp_path / "state", keys) == [keys[-1].name]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_gone_when_the_log_has_gone_on(tmp_path: Path, file_backend: Backend) -> None:
    """Out of memory with the epoch line, off the disk with the line behind it, before its entry counts."""
    found = go_on(tmp_path, file_backend, "no memfd_secret")
    check_at_rest(found.begun, found.agent, 1)
    assert found.on_disk == [found.carry]
    check_at_rest(found.later, found.agent, 1)
    assert found.left == []
    assert found.freed == bytes(152)


@pytest.mark.parametrize("leak", CARRY_LEAKS)
def test_a_carry_that_is_left_is_seen(tmp_path: Path, file_backend: Backend, leak: str) -> None:
    """With a mistake in the agent one of these checks fails, and no other does."""
    found = go_on(tmp_path, file_backend, f"no memfd_secret,{leak}")
    if leak == "a carry that is read":
        assert {hit.key for hit in found.begun.superseded} == {found.carry}
        with pytest.raises(AssertionError):
            check(found.later, found.agent, 1)
    else:
        check(found.later, found.agent, 1)
    assert found.left == ([found.carry] if leak == "a carry file that is kept" else [])
    assert (found.freed == bytes(len(found.freed))) == (leak == "a carry that is read")
