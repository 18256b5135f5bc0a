"""Tags of many lines at once are those of one line after the other, and leave no key behind."""

from __future__ import annotations

import ctypes
from random import Random

import pytest

from epochseal.custody import line_tags, ratchet
from epochseal.custody.line_tags import tag_lines

NUMBERS = 3000


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, NUMBERS])
def test_same_as_the_ratchet(count: int) -> None:
    """Tags, and the key behind the last line."""
    rng = Random(count)
    before, leaves = rng.randbytes(32), [rng.randbytes(32) for _ in range(count)]
    one, many = (memoryview(bytearray(Random(7).randbytes(32))) for _ in range(2))
    tags: list[bytes] = []
    scratch = memoryview(bytearray(32))
    for leaf in leaves:
        tags.append(ratchet.compute_tag(one, tags[-1] if tags else before, leaf))
        ratchet.advance(one, scratch)
        one[:] = scratch
    assert tag_lines(many, before, leaves) == tags
    assert many == one


def test_the_objects_that_were_keys_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, where it lies, whether the tags were made or not."""
    seen: list[bytes] = []
    wipe = line_tags.__dict__["_wipe"]

    def wiped(keys: list[bytes]) -> None:
        seen.extend(keys)
        assert any(seen[-1])
        wipe(keys)

    monkeypatch.setattr(line_tags, "_wipe", wiped)
    key = memoryview(bytearray(b"k" * 32))
    tag_lines(key, bytes(32), [bytes(32)] * 1500)
    with pytest.raises(TypeError):
        tag_lines(key, bytes(32), [bytes(32), "no bytes"])  # type: ignore[list-item]  # that is the point
    assert len(seen) == 1501 + 2
    assert all(ctypes.string_at(ctypes.c_char_p(item), 32) == bytes(32) for item in seen)
    assert any(key)
