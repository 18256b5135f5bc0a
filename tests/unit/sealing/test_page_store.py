"""What cannot be written beside the page: waited for where waiting mends it, and only there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.counters import Counters
from epochseal.sealing.full_disk import FullDisk
from epochseal.sealing.page_store import PageStore
from epochseal.service.commit_loop import SystemClock
from epochseal.storage.durable import DiskFullError
from tests.integration.agents import tmpfs


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PageStore]:
    """A page on tmpfs, and the file beside it."""
    with tmpfs() as runtime:
        made = PageStore.in_directory(runtime, tmp_path)
        yield made
        made.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_only_room_is_waited_for(store: PageStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file system that fails, or became read-only, ends the log; one that is full is tried again."""
    disk = FullDisk(SystemClock(), Counters())
    tries: list[None] = []
    disk.pause = lambda _: len(tries) < 3
    waits = number in {errno.ENOSPC, errno.EDQUOT}

    def refuse(*_: object) -> int:
        tries.append(None)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StorageError) as caught:
        disk.wait_out(lambda: store.keep_pending(memoryview(b"entry\n")))
    assert len(tries) == (4 if waits else 1)
    assert isinstance(caught.value.__cause__, DiskFullError) == waits
