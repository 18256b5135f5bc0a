from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from epochseal.sources import tail
from tests.unit.sources.tailer import CLOCK, GRACE, Tailer, append

pytestmark = pytest.mark.usefixtures("hasty")


def test_a_truncated_file_of_a_service_that_does_not_append(log: Path, tailer: Tailer) -> None:
    """It goes on at its old place: what is before that are NUL bytes, part of the first line; all is kept."""
    with log.open("wb", buffering=0) as service:
        service.write(b"1\n2\n")
        tailer.run()
        shutil.copy(log, log.with_name("app.log.1"))
        os.truncate(log, 0)
        service.write(b"3\n")
        tailer.run()
        service.write(b"4\n")
        assert (tailer.run(), tailer.gaps) == (b"1\n2\n" + bytes(4) + b"3\n4\n", 1)


def test_a_folder_that_is_replaced(tmp_path: Path) -> None:
    """The file that is open is read to its end, that of the new folder after it."""
    folder = tmp_path / "logs"
    folder.mkdir()
    tailer = Tailer(folder / "*.log")
    append(folder / "app.log", b"1\n")
    tailer.run()
    folder.rename(tmp_path / "old")
    append(tmp_path / "old" / "app.log", b"2\n")
    folder.mkdir()
    append(folder / "app.log", b"3\n")
    assert tailer.run(20 * GRACE).replace(b"2\n", b"") == b"1\n3\n"
    assert b"2\n" in tailer.sealed or tailer.gaps > 0
    tailer.close()


def test_bytes_of_every_kind(log: Path, tailer: Tailer) -> None:
    """A line is what stands between newlines, whatever it holds."""
    odd = [b"\xef\xbb\xbfbom", b"crlf\r", b"cr\rin", b"nul\0x", b"\xff\xfe\xc0", b"", b"  ", b"tab\t\x1b[31m"]
    odd += ["sep\u2028x".encode(), b"z" * 3_000_000, *"üñA".encode("utf-16").split(b"\n")]
    append(log, b"\n".join(odd) + b"\n")
    assert tailer.run() == b"\n".join(odd) + b"\n"


def test_a_file_that_cannot_be_read_for_a_while(
    log: Path, tailer: Tailer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is open is read on; its successor waits until it may be opened, and nothing is lost."""
    append(log, b"1\n")
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, b"2\n")
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == str(log):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr("epochseal.sources.log_file.os.open", refuse)
        append(log.with_name("app.log.1"), b"late\n")
        tailer.run()
        assert caplog.text.count("Permission denied; trying again") == 1
        assert b"2" not in tailer.sealed
    assert tailer.run(20 * GRACE).splitlines()[-1] == b"2"
    assert b"late" in tailer.sealed or tailer.gaps > 0


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_a_file_with_two_names_that_is_rotated(tmp_path: Path) -> None:
    """Under one of them: it goes on under the other, and the new file is a log of its own."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "a.log", b"1\n")
    os.link(tmp_path / "a.log", tmp_path / "b.log")
    tailer.run()
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    append(tmp_path / "a.log", b"3\n")
    append(tmp_path / "b.log", b"2\n")
    tailer.run(20 * GRACE)
    append(tmp_path / "b.log", b"4\n")
    append(tmp_path / "a.log", b"5\n")
    tailer.run(20 * GRACE)
    lost = {b"1", b"2", b"3", b"4", b"5"} - set(tailer.sealed.split())
    assert len(set(tailer.sealed.split())) == len(tailer.sealed.split())
    assert not lost or tailer.gaps > 0
    tailer.close()


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_unfinished_lines_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait in their files, however many they are; each is an entry when its newline has come."""
    monkeypatch.setattr(tail, "_MOST_BYTES", 8 << 20)
    tailer = Tailer(tmp_path / "*.log")
    for number in range(12):
        append(tmp_path / f"{number}.log", b"%d" % (number % 10) * 3_000_000)
    tailer.run()
    assert (tailer.source.buffered, tailer.sealed) == (0, b"")
    for number in range(12):
        append(tmp_path / f"{number}.log", b"." * 1000)
    tailer.run()
    assert (tailer.source.buffered, tailer.sealed) == (0, b"")
    assert tailer.source.lag == 12 * 3_001_000
    most = 0
    for number in range(12):
        append(tmp_path / f"{number}.log", b"\n")
    for _ in range(100):
        CLOCK.now += 0.001
        tailer.source.tick()
        most = max(most, tailer.source.buffered)
        tailer.step()
    assert sorted(map(len, tailer.sealed.splitlines())) == [3_001_000] * 12
    # One read more may come to each of those that were read when there was room still.
    assert most <= (8 << 20) + 12 * (1 << 20)
    tailer.close()
