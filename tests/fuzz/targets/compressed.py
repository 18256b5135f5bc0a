"""Compressed log files, as the verifier reads them: no further than asked, and whole."""

from __future__ import annotations

from pathlib import Path

from epochseal.verifier.log_streams import BrokenStreamError, TooManyPartsError, open_stream
from tests.fuzz.scratch import file_of

_MOST = 1 << 20
"""No caller reads beyond what is sealed: here, this many bytes."""


def gzip_stream(data: bytes) -> None:
    """A `.log.gz`."""
    _read(Path("000001-20260101T000000Z.log.gz"), data)


def zstd_stream(data: bytes) -> None:
    """A `.log.zst`."""
    _read(Path("000001-20260101T000000Z.log.zst"), data)


def _read(path: Path, data: bytes) -> None:
    with file_of(data) as file:
        stream = open_stream(path, file)
        room = memoryview(bytearray(64 << 10))
        total = 0
        try:
            while total < _MOST and (count := stream.readinto(room)):
                assert 0 < count <= len(room)
                stream.give_back(bytes(room[: count // 2]))
                total += count - count // 2
            if total < _MOST:
                stream.check_whole()
        except (BrokenStreamError, TooManyPartsError):
            pass
