from __future__ import annotations

import sys
from pathlib import Path

import pytest

from epochseal.sources import tail
from tests.unit.sources.tailer import GRACE, Tailer, append, compress, long_lines, put_away

pytestmark = pytest.mark.usefixtures("hasty")
ENDINGS = (".gz", ".bz2", ".xz", ".zst")


def test_without_the_library_it_is_a_gap(
    log: Path, tailer: Tailer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Zstandard is an extra: what is missed for it is told, with what would help."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    log.with_name("app.log.2.gz").write_bytes(compress(log.read_bytes(), ".gz"))
    put_away(log)
    log.with_name("app.log.1.zst").write_bytes(compress(long_lines(2), ".zst"))
    append(log, long_lines(3))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 3), 1)
    assert "in a checkout: pip install '.[zstd]'" in caplog.text


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_copy_in_every_form(log: Path, tailer: Tailer, ending: str) -> None:
    """Compressed while the agent was down: the rest of it is sealed, then what followed."""
    append(log, long_lines(1, 2))
    tailer.run()
    tailer.restart()
    append(log, long_lines(3))
    log.with_name(f"app.log.1{ending}").write_bytes(compress(log.read_bytes(), ending))
    put_away(log)
    append(log, long_lines(4))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3, 4), 0)


class _SlowClock:
    """Every look at it takes a hundredth of a second."""

    now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now += 0.01
        return self.now


def test_others_do_not_wait_for_large_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place in a compressed file is searched for bit by bit: another log is sealed before it is found."""
    large, other = tmp_path / "large.log", tmp_path / "other.log"
    line = b"x" * 1023 + b"\n"
    append(large, line * 4096)
    tailer = Tailer(tmp_path / "*.log")
    while len(tailer.sealed) < 4096 * 1024:
        tailer.step()
    tailer.restart()
    monkeypatch.setattr(tail, "time", _SlowClock())
    tailer.sealed = b""
    append(large, b"rest\n")
    large.with_name("large.log.1.gz").write_bytes(compress(large.read_bytes(), ".gz"))
    large.unlink()
    append(large, b"new\n")
    append(other, b"other\n")
    tailer.step()
    tailer.step()
    assert tailer.sealed == b"other\n"
    while not tailer.sealed.endswith(b"rest\n"):
        tailer.step()
    monkeypatch.undo()
    tailer.close()


def test_a_stop_does_not_wait_for_a_search(
    log: Path, tailer: Tailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up, and the next start begins it again: nothing is lost, and nothing sealed twice."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    append(log, long_lines(2))
    log.with_name("app.log.1.gz").write_bytes(compress(log.read_bytes(), ".gz"))
    log.unlink()
    append(log, long_lines(3))
    monkeypatch.setattr(tail.TailSource, "_search_on", lambda _self: None)
    tailer.step()
    tailer.source.finish()
    assert tailer.source.ended
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.undo()
    tailer.restart()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
