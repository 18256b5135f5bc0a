"""The descriptors that no client gets."""

from __future__ import annotations

import resource

import pytest

from epochseal.descriptors import RESERVED, is_reserved


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft limit, as a test sets it."""
    value = [1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (value[0], value[0]))
    return value


def test_the_last_ones_are_reserved(limit: list[int]) -> None:
    """So many of a large limit, a quarter of a small one, none where there is no limit."""
    assert not is_reserved(1024 - RESERVED - 1)
    assert is_reserved(1024 - RESERVED)
    limit[0] = 40
    assert not is_reserved(29)
    assert is_reserved(30)
    limit[0] = resource.RLIM_INFINITY
    assert not is_reserved(1 << 20)
