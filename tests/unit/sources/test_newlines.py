"""Newlines are counted exactly, whatever the lines look like and wherever the counting changes its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.sources.newlines import count_newlines

_RUN = st.tuples(
    st.sampled_from([b"\n", b"x\n", b"x", b"\r\n", b"x" * 31 + b"\n", b"y" * 250 + b"\n"]),
    st.integers(0, 900),
)


@given(st.lists(_RUN, max_size=6))
def test_counts_what_bytes_count_counts(runs: list[tuple[bytes, int]]) -> None:
    """Runs of short and of long lines, one after the other, so that the sample often misleads."""
    data = b"".join(part * times for part, times in runs)
    assert count_newlines(memoryview(data)) == data.count(b"\n")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 2047, 2048, 2049, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("line", [1, 2, 31, 32, 33, 250, 70_000])
def test_counts_at_every_edge(size: int, line: int) -> None:
    """Sizes and line lengths on both sides of the sample, the bound and the piece."""
    data = ((b"x" * (line - 1) + b"\n") * (size // line + 1))[:size]
    assert count_newlines(memoryview(data)) == size // line


def test_a_misleading_beginning_is_found_out() -> None:
    """A long first line before nothing but newlines: the leaps end at their bound, the count stays right."""
    data = b"x" * 4096 + b"\n" * 300_000
    assert count_newlines(memoryview(data)) == 300_000
