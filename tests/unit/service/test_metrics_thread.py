"""The thread for metrics, if it ends, is made again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from epochseal.journal import Journal
from epochseal.service import metrics_server
from epochseal.service.daemon import Daemon


class Server:
    """A listener whose thread a test ends."""

    address = ("127.0.0.1", 1)

    def __init__(self) -> None:
        self.serving, self.closed = True, False

    def close(self) -> None:
        """Stop listening."""
        self.closed = True


def test_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same address, the old one closed first; one that serves stays."""
    made: list[Server] = []

    def start(_listen: str, _views: object) -> Server:
        made.append(Server())
        return made[-1]

    monkeypatch.setattr(metrics_server, "start_metrics", start)
    journal = SimpleNamespace(info=lambda *_, **__: None)
    daemon = Daemon(tmp_path / "c", None, cast("Journal", journal))
    daemon._serve("127.0.0.1:1")  # noqa: SLF001  # what a start does
    daemon._serve_again()  # noqa: SLF001  # what each round of the main loop does
    assert len(made) == 1
    made[0].serving = False
    daemon._serve_again()  # noqa: SLF001
    assert [server.closed for server in made] == [True, False]
