"""What tailing holds open, and what it does while nothing happens."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from epochseal.sources import follower, left_files, log_file, path_table, tail
from epochseal.sources.log_file import LogFile
from tests.unit.sources.tailer import CLOCK, GRACE, Tailer, append


def held(folder: Path) -> list[str]:
    """The files below a folder that this process has open, by name."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(link.readlink()))
    return sorted(name.removeprefix(f"{folder}/") for name in found if name.startswith(f"{folder}/"))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_a_removed_file_is_not_held_for_good(tmp_path: Path) -> None:
    """Its writer may go on with it for a while; then it is let go, whether a glob names it or not."""
    tailer = Tailer(tmp_path / "app.log", tmp_path / "g*.log")
    for name in ("app.log", "g1.log"):
        append(tmp_path / name, b"first\n")
    tailer.run()
    for name in ("app.log", "g1.log"):
        (tmp_path / name).unlink()
    tailer.run()
    assert held(tmp_path) == ["app.log (deleted)", "g1.log (deleted)"]
    CLOCK.now += 601
    tailer.run(GRACE)
    assert held(tmp_path) == []
    for name in ("app.log", "g1.log"):
        append(tmp_path / name, b"%b\n" % name.encode())
    assert sorted(tailer.run().splitlines()) == [b"app.log", b"first", b"first", b"g1.log"]
    assert tailer.gaps == 0
    tailer.close()


@pytest.mark.usefixtures("hasty")
def test_many_files_under_few_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of them at most are of files, however many there are; no file waits behind idle ones."""
    monkeypatch.setattr("resource.getrlimit", lambda _which: (64, 64))
    tailer = Tailer(tmp_path / "*.log")
    for number in range(90):
        append(tmp_path / f"{number:02d}.log", b"first\n")
    most = 0
    while tailer.sealed.count(b"\n") < 90:
        tailer.step()
        most = max(most, len(held(tmp_path)))
    for number in (0, 15, 16, 45, 89):
        append(tmp_path / f"{number:02d}.log", b"%d\n" % number)
        assert tailer.run(GRACE).endswith(b"%d\n" % number)
        most = max(most, len(held(tmp_path)))
    assert 0 < most <= 8
    assert tailer.gaps == 0
    tailer.close()


@pytest.mark.parametrize("is_glob", [False, True])
def test_nothing_is_done_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_glob: bool
) -> None:
    """Four looks a second at the times of all files, and none is opened; nothing is held open."""
    for module in (follower, left_files, log_file, path_table, tail):
        monkeypatch.setattr(module, "time", CLOCK)
    paths = [tmp_path / f"{number}.log" for number in range(10)]
    for path in paths:
        append(path, b"first\n")
    tailer = Tailer(*([tmp_path / "*.log"] if is_glob else paths))
    while held(tmp_path) or not tailer.sealed:
        tailer.step()
        CLOCK.now += tailer.source.wait_seconds()
    opened: list[str] = []
    opens = LogFile.open

    def noted(path: str) -> LogFile:
        opened.append(path)
        return opens(path)

    monkeypatch.setattr(LogFile, "open", noted)
    rounds, end = 0, CLOCK.now + 60
    while CLOCK.now < end:
        tailer.step()
        CLOCK.now += tailer.source.wait_seconds()
        rounds += 1
    assert rounds <= 60 * 5
    assert opened == []
    append(paths[3], b"second\n")
    tailer.step()
    assert tailer.sealed.endswith(b"second\n")
    tailer.close()
