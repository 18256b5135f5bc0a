from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.format.seal_lines import SourceMark
from epochseal.journal import Journal
from epochseal.sealing.limits import Piece
from epochseal.service import source_figures
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.source_figures import MOST_FILES
from epochseal.service.source_views import MOST_SHOWN, view_of
from epochseal.sources.log_file import source_name
from epochseal.sources.tail import TailSource

BIG = 1 << 40


@pytest.fixture
def tailed(tmp_path: Path) -> Iterator[GuardedSource]:
    """What a glob names, and a path at which no file can be read: a folder."""
    paths = [str(tmp_path / "*.log"), str(tmp_path / "folder")]
    (tmp_path / "folder").mkdir()
    made = GuardedSource(
        "tail", lambda: TailSource(paths, {}, block_bytes=4096, max_entry_bytes=4096), Journal()
    )
    yield made
    made.close()


def seal(source: GuardedSource) -> None:
    """All that is there, and nothing else."""
    source.tick()
    while source.cut_piece(BIG, BIG, BIG) is not None:
        pass
    source.done(0)


def test_only_files_that_need_a_look_are_shown(
    tailed: GuardedSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be read, one that lags, one with a gap; of thousands that are well none."""
    monkeypatch.setattr(source_figures, "LAGGING_BYTES", 10)
    names = [source_name(str(tmp_path / name)) for name in ("folder", "large.log", "lost.log")]
    for name in ("well.log", "lost.log"):
        (tmp_path / name).write_bytes(b"a line\n")
    seal(tailed)
    (tmp_path / "large.log").write_bytes(b"a line that waits\n")
    tailed.finish()
    tailed.figures.took(Piece(0, 0, SourceMark(names[2], 7, gap=1, skipped=5)))
    shown = view_of([tailed])
    assert [(name, view.state) for name, view in shown.files.items()] == list(
        zip(names, ("unreadable", "lagging", "open"), strict=True)
    )
    assert shown.files[names[0]].trouble == "it is not a regular file"
    assert [view.lag for view in shown.files.values()] == [0, 18, 0]
    assert [(view.gaps, view.skipped) for view in shown.files.values()] == [(0, 0), (0, 0), (1, 5)]
    assert [view.last_read > 0 for view in shown.files.values()] == [False, False, True]
    assert (shown.state, shown.gaps, shown.skipped, shown.left_out) == ("lagging", 1, 5, 0)
    seal(tailed)
    assert names[1] not in view_of([tailed]).files


def test_as_many_files_as_a_page_can_show(tailed: GuardedSource) -> None:
    """Those with the most gaps; and no more are known than are kept."""
    for number in range(MOST_FILES + 50):
        for _ in range(1 + (number == 100)):
            tailed.figures.took(Piece(0, 0, SourceMark(f"tail:/{number}", 0, gap=1)))
    shown = view_of([tailed])
    assert (len(shown.files), shown.left_out) == (MOST_SHOWN, MOST_FILES - MOST_SHOWN)
    assert next(iter(shown.files.items()))[0] == "tail:/100"
    assert shown.gaps == MOST_FILES + 51
    assert len(tailed.figures.files) == MOST_FILES
    assert "tail:/49" not in tailed.figures.files
