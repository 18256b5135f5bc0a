"""`epochseal forget`: a log that was removed on purpose makes room for another one, on record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import Place, kinds, tmpfs
from tests.integration.logs import ORIGIN


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A closed log, and what its agent remembers of it."""
    with tmpfs() as runtime:
        made = Place(tmp_path, runtime)
        made.seal(b"one\n", *made.resuming)
        yield made


def forget(place: Place, *options: str) -> tuple[int, str]:
    """The exit status, and what is said."""
    done = place.run("forget", str(place.log), *options)
    return done.returncode, done.stderr.decode()


def test_said_before(place: Place) -> None:
    """State, carry and page go; the next log is a new one that denies nothing; a record of it is left."""
    known = place.verify().log
    (folder,) = (path for path in place.state.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {"state", "carry"}
    shutil.rmtree(place.log)
    status, said = forget(place, *place.remembering, *place.resuming)
    assert status == 0
    assert known in said
    assert [path.name for path in place.state.iterdir()] == ["forgotten"]
    assert not list(place.runtime.iterdir())
    record = json.loads((place.state / "forgotten").read_text(encoding="utf-8"))
    assert (record["place"], record["log"], record["size"]) == (str(place.log), known, 3)
    assert (place.state / "forgotten").stat().st_mode & 0o777 == 0o600
    place.seal(b"two\n", *place.resuming)
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict)) == ("verified", [])
    assert verdict.log != known


def test_not_said(place: Place) -> None:
    """The agent convicts the disk; said only afterwards, that start is still to be accepted."""
    shutil.rmtree(place.log)
    place.seal(b"two\n", *place.resuming)
    assert kinds(place.verify()) == ["tampered_at_start"]
    status, said = forget(place, *place.remembering, *place.resuming)
    assert status == 0
    assert "is still to be accepted" in said
    assert kinds(place.verify()) == ["tampered_at_start"]


def test_the_daemons_configuration_names_the_directories(place: Place) -> None:
    """By the place as it is named there; a place that it does not have is refused."""
    path = place.folder / "epochseal.toml"
    uri = f"file:{place.keys.directory / 'agent'}"
    path.write_text(
        f'epoch_key = "{uri}"\ncheckpoint_key = "{uri}"\nstate_dir = "{place.state}"\n'
        f'[[log]]\ndir = "{place.log}"\norigin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n'
    )
    done = place.run("forget", str(place.folder / "other"), "--config", str(path))
    assert done.returncode == 2
    assert str(place.log).encode() in done.stderr
    assert forget(place, "--config", str(path))[0] == 0
    assert [item.name for item in place.state.iterdir()] == ["forgotten"]


def test_while_an_agent_runs(place: Place) -> None:
    """Exit 6, and nothing is forgotten."""
    with place.agent(*place.resuming) as agent:
        status, said = forget(place, *place.remembering)
        assert (status, "another agent holds" in said) == (6, True)
        assert agent.end() == 0
    assert place.verify().verdict == "verified"


def test_nothing_was_remembered(place: Place) -> None:
    """Exit 5, and nothing is made."""
    other = place.folder / "nobody"
    assert forget(place, "--state-dir", str(other))[0] == 5
    assert not other.exists()
    assert not (place.state / "forgotten").exists()
