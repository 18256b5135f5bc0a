from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.errors import ConfigError, FormatError
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import percent_encode, source_name
from epochseal.sources.tail import TailSource
from tests.unit.sources.tailer import Tailer, append

pytestmark = pytest.mark.usefixtures("hasty")


def test_names_are_percent_encoded() -> None:
    """Every byte but a few is written as % and two digits, bytes that are no UTF-8 too."""
    assert percent_encode(b"/var/log/a b%\xff~-._Z9") == "/var/log/a%20b%25%FF~-._Z9"
    assert source_name("/a\udcff") == "tail:/a%FF"


@pytest.mark.parametrize(
    "text", ["", "1-2-3", "1-2-257-" + "0" * 32, "01-2-3-" + "0" * 32, "1-2-x-0", "1-2-3-0-1-2"]
)
def test_other_identities_are_refused(text: str) -> None:
    """An identity has one spelling."""
    if text == "1-2-3":
        text = "1-2--3"
    with pytest.raises(FormatError):
        Identity.parse(text)


@pytest.mark.parametrize("path", ["app.log", "*.log", "/" + "\n" * 1400])
def test_paths_are_absolute_and_short(path: str) -> None:
    """A relative path would have another meaning at the next start; a name has to fit in a line."""
    with pytest.raises(ConfigError, match="absolute path"):
        TailSource([path], {}, block_bytes=1, max_entry_bytes=1)


def test_the_lag_is_what_is_in_the_files_and_not_sealed(log: Path, tailer: Tailer) -> None:
    """Read or not, in the file at the path and in rotated ones before it; an unfinished line too."""
    assert tailer.source.lag == 0
    append(log, b"x" * 99 + b"\n")
    tailer.source.tick()
    append(log, b"y" * 49 + b"\n")
    assert tailer.source.lag == 150
    tailer.run()
    assert tailer.source.lag == 0
    append(log, b"un")
    tailer.run()
    assert tailer.source.lag == 2
    log.rename(log.with_suffix(".log.1"))
    append(log, b"z" * 9 + b"\n")
    tailer.source.tick()
    assert tailer.source.lag == 12
    tailer.run()
    assert tailer.source.lag == 0


def test_the_lag_after_a_restart(log: Path, tailer: Tailer) -> None:
    """What was sealed before the restart is none of it, in files as large as they come."""
    append(log, b"sealed\n")
    tailer.run()
    tailer.restart()
    os.truncate(log, 6 << 30)
    tailer.source.tick()
    assert tailer.source.lag == (6 << 30) - len(b"sealed\n")


def test_the_lag_of_a_truncated_file(log: Path, tailer: Tailer) -> None:
    """The new content waits, however much had been sealed of the old one."""
    append(log, b"x" * 999 + b"\n")
    tailer.run()
    log.write_bytes(b"new\n")
    assert tailer.source.lag >= 0
    tailer.run()
    append(log, b"more")
    assert tailer.source.lag == 4


def test_the_lag_may_be_asked_of_a_closed_source(log: Path, tailer: Tailer) -> None:
    """A scrape may come while the log ends."""
    append(log, b"one\n")
    tailer.source.tick()
    tailer.close()
    assert tailer.source.lag == 4
