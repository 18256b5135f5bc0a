"""The descriptors that no client gets."""

from __future__ import annotations

import resource
import select
import socket
from pathlib import Path

import pytest

from epochseal.descriptors import RESERVED, is_reserved
from epochseal.sources import listener
from epochseal.sources.listener import Listener


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


def test_a_client_that_would_take_a_reserved_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody is accepted for a second, so that a crowd costs no time of the loop either."""
    with (
        socket.socket(socket.AF_UNIX) as sock,
        select.epoll() as epoll,
        socket.socket(socket.AF_UNIX) as client,
    ):
        sock.bind(str(tmp_path / "s"))
        made = Listener(sock, "s", epoll)
        monkeypatch.setattr(listener, "is_reserved", lambda _: True)
        client.connect(str(tmp_path / "s"))
        assert made.accept() is None
        assert not made.active
        assert client.recv(1) == b""
