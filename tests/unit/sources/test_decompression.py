from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest

from epochseal.sources import decompression
from epochseal.sources.compressed_copy import CompressedCopy
from tests.unit.sources.tailer import compress

ENDINGS = (".gz", ".bz2", ".xz", ".zst")


def _read(path: Path) -> bytes:
    copy, data, free = CompressedCopy(str(path)), b"", memoryview(bytearray(1 << 20))
    try:
        while copy.has_more():
            data += free[: copy.read_into(free)]
    finally:
        copy.close()
    return data


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_form_is_read_in_bounded_pieces(tmp_path: Path, ending: str) -> None:
    """Of one member or several, with content that the form makes a thousand times smaller."""
    data = random.Random(1).randbytes(300_000) + bytes(5 << 20) + b"end\n"
    path = tmp_path / f"x{ending}"
    path.write_bytes(compress(data[:1000], ending) + compress(data[1000:], ending))
    copy, read, free = CompressedCopy(str(path)), b"", memoryview(bytearray(1 << 20))
    while copy.has_more():
        count = copy.read_into(free)
        assert count <= decompression.SLICE
        read += free[:count]
    copy.close()
    assert read == data


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_damaged_says_so(tmp_path: Path, ending: str) -> None:
    """Cut off, with something else behind it, or no such file at all."""
    data = random.Random(2).randbytes(200_000)
    packed = compress(data, ending)
    path = tmp_path / f"x{ending}"
    for wrong in (packed[:-9], packed[: len(packed) // 2], packed + b"something", b"plain text\n"):
        path.write_bytes(wrong)
        with pytest.raises(OSError, match="cannot be decompressed"):
            _read(path)


def test_a_header_that_asks_for_much_memory(tmp_path: Path) -> None:
    """Xz can ask for 4 GiB: what needs more than the limit is refused before it is taken."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20, "preset": 0, "mf": lzma.MF_HC3}]
    compressor = lzma.LZMACompressor(filters=filters)
    path = tmp_path / "x.xz"
    packed = compressor.compress(b"x") + compressor.flush()
    path.write_bytes(packed)
    with pytest.raises(OSError, match="emory"):
        _read(path)
