from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.errors import ConfigError
from epochseal.sources.log_file import source_name
from epochseal.sources.matched_paths import MatchedPaths
from epochseal.sources.rotated_names import Order, RotatedNames
from epochseal.sources.tail_options import TailOptions
from tests.unit.sources.tailer import GRACE, Tailer, append, compress, long_lines, put_away

pytestmark = pytest.mark.usefixtures("hasty")


def test_files_that_are_left_out(tmp_path: Path) -> None:
    """By a glob or by name; also one that appears later, and one that is named outright."""
    (tmp_path / "in").mkdir()
    named = [tmp_path / name for name in ("a.log", "debug.log", "in/debug.log", "b.log", "in/c.log")]
    tailer = Tailer(
        tmp_path / "**" / "*.log",
        named[1],
        options=TailOptions(exclude=[str(tmp_path / "*debug.log"), str(named[3])]),
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


def test_a_log_that_begins_at_the_end(tmp_path: Path) -> None:
    """At the first start what stands in the files is left, up to a line that is not whole; and only then."""
    append(tmp_path / "a.log", b"old\nhal")
    append(tmp_path / "named", b"old\n")
    paths = tmp_path / "*.log", tmp_path / "named"
    tailer = Tailer(*paths, options=TailOptions(from_end=True))
    tailer.run()
    assert tailer.positions[source_name(str(tmp_path / "named"))].offset == 4
    append(tmp_path / "a.log", b"f\n1\n")
    append(tmp_path / "new.log", b"2\n")
    append(tmp_path / "named", b"3\n")
    tailer.run()
    tailer.restart()
    append(tmp_path / "down.log", b"4\n")
    tailer.run()
    assert (sorted(tailer.sealed.split()), tailer.gaps) == ([b"1", b"2", b"3", b"4", b"half"], 0)
    tailer.close()


def test_files_that_are_old_when_they_are_found(tmp_path: Path) -> None:
    """What stands in them is left, and what comes later is not; those that were sealed go on there."""
    append(tmp_path / "old.log", b"old\n")
    append(tmp_path / "young.log", b"1\n")
    os.utime(tmp_path / "old.log", (1, 1))
    tailer = Tailer(tmp_path / "*.log", options=TailOptions(ignore_older=3600.0))
    tailer.run()
    tailer.restart()
    for name in ("old.log", "young.log"):
        append(tmp_path / name, b"2\n")
        os.utime(tmp_path / name, (1, 1))
    tailer.run()
    assert (sorted(tailer.sealed.split()), tailer.gaps) == ([b"1", b"2", b"2"], 0)
    tailer.close()


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_files_that_are_closed_soon(log: Path) -> None:
    """A quiet one takes no descriptor after the time that is given; another one does."""
    append(log, b"1\n")
    for seconds, closed in ((0.5, True), (2.0, False)):
        tailer = Tailer(log, options=TailOptions(close_inactive=seconds))
        tailer.run(1.0)
        assert (_is_open(log), tailer.sealed) == (not closed, b"1\n")
        append(log, b"2\n")
        assert tailer.run() == b"1\n2\n"
        tailer.close()
        log.write_bytes(b"1\n")


def _is_open(path: Path) -> bool:
    links = Path("/proc/self/fd").iterdir()
    return any(os.path.realpath(link) == str(path) for link in links)


@pytest.mark.parametrize(
    ("names", "order", "rotated"),
    [
        (["{name}~*"], "down", ["app.log~3", "app.log~2", "app.log~1"]),
        (["{stem}#*{ending}"], "up", ["app#9.log", "app#10.log", "app#11.log"]),
        (["before-{name}", "{name}.[ab]"], "time", ["app.log.b", "before-app.log", "app.log.a"]),
        (["{name}~*"], "up", ["app.log~1.gz", "app.log~2.bz2", "app.log~3.xz"]),
    ],
)
def test_rotated_names_by_hand(log: Path, names: list[str], order: Order, rotated: list[str]) -> None:
    """While the agent was down; such names are no logs of their own."""
    options = TailOptions(names=RotatedNames(names, order))
    tailer = Tailer(log.parent / "*", options=options)
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    for number, name in enumerate(rotated, start=2):
        append(log, long_lines(number))
        packed = compress(log.read_bytes(), log.with_name(name).suffix)
        log.with_name(name).write_bytes(packed)
        os.utime(log.with_name(name), (number, number))
        put_away(log)
    append(log, long_lines(5))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3, 4, 5), 0)
    tailer.close()


def test_names_by_hand_that_say_not_of_which_log() -> None:
    """Where the name of the log does not follow from that of a rotated file, it is refused."""
    for text in ("old-*", "{name}", "{stem}{ending}", "{stem}.*", "a/{name}.1", "{name}{name}.1", "{log}.1"):
        with pytest.raises(ConfigError, match="does not say"):
            RotatedNames([text])


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize("olddir", ["old", "absolute"])
def test_a_folder_for_old_files(log: Path, olddir: str, *, is_down: bool) -> None:
    """Files that are moved there are read to their end, whether they keep their name there or not."""
    old = log.parent / "old"
    old.mkdir()
    names = RotatedNames(olddir="old" if olddir == "old" else str(old))
    tailer = Tailer(log, options=TailOptions(names=names))
    append(log, long_lines(1))
    tailer.run()
    if is_down:
        tailer.restart()
    for number, name in ((2, "app.log.2"), (3, "app.log.1")):
        append(log, long_lines(number))
        log.rename(old / name)
    append(log, long_lines(4))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3, 4), 0)
    tailer.close()
