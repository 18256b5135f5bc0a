from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.sources.log_file import source_name
from epochseal.sources.matched_paths import MatchedPaths
from tests.unit.sources.tailer import Tailer, append

pytestmark = pytest.mark.usefixtures("hasty")


def test_files_that_are_left_out(tmp_path: Path) -> None:
    """By a glob or by name; also one that appears later, and one that is named outright."""
    (tmp_path / "in").mkdir()
    named = [tmp_path / name for name in ("a.log", "debug.log", "in/debug.log", "b.log", "in/c.log")]
    tailer = Tailer(
        tmp_path / "**" / "*.log", named[1], exclude=[str(tmp_path / "*debug.log"), str(named[3])]
    )
    for path in named:
        append(path, b"%b\n" % path.name.encode())
    tailer.run()
    for path in named:
        append(path, b"again\n")
    tailer.run()
    assert {src.name for src in tailer.pieces} == {source_name(str(named[0])), source_name(str(named[4]))}
    assert sorted(tailer.sealed.split()) == [b"a.log", b"again", b"again", b"c.log"]
    tailer.close()


@pytest.mark.parametrize(
    ("pattern", "path", "is_named"),
    [
        ("/var/log/*.log", "/var/log/a.log", True),
        ("/var/log/*.log", "/var/log/in/a.log", False),
        ("/var/log/*.log", "/var/log/.a.log", False),
        ("/var/log/.*.log", "/var/log/.a.log", True),
        ("/var/*/a.log", "/var/log/a.log", True),
        ("/var/**/*.log", "/var/a.log", True),
        ("/var/**/*.log", "/var/log/in/a.log", True),
        ("/var/**/*.log", "/var/.log/a.log", False),
        ("/var/**", "/var/log/a.log", True),
        ("/var/**", "/var", False),
        ("/var/[ab].log", "/var/a.log", True),
        ("/var/log", "/var/log", True),
    ],
)
def test_which_paths_a_glob_names(pattern: str, path: str, *, is_named: bool) -> None:
    """As the shell with `globstar`, and as `glob` lists them."""
    assert MatchedPaths([pattern]).matches(path) is is_named
