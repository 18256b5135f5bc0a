"""A log whose agent lost issue calls in an outage, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from epochseal.format.seal_lines import Abandoned, Header
from epochseal.sealing.chain import Chain, EpochStart
from epochseal.trail import read_sealed
from tests.integration.logs import LogKeys, LogWriter, entry


def write_with_abandoned(path: Path, keys: LogKeys, *, calls: int) -> Header:
    """Two epochs; the second says that so many calls came to nothing. Its epoch line."""
    writer = LogWriter(path, keys).start("genesis").block(entry(0))
    asked = writer.chain.asked()
    writer.block(entry(1))
    writer.time += 60_000
    lost = (Abandoned(asked.line, asked.tag, calls),)
    writer.chain = _Telling(writer.chain, lost)  # type: ignore[assignment]  # it only adds to what is stated
    writer.turn().block(entry(2)).end()
    return read_sealed(path).headers[1]


class _Telling:
    """The chain, with abandoned calls in what it states of a new epoch."""

    def __init__(self, chain: Chain, lost: tuple[Abandoned, ...]) -> None:
        self._chain, self._lost = chain, lost

    def __getattr__(self, name: str) -> object:
        return getattr(self._chain, name)

    def start(self, start: EpochStart, secret: memoryview, scratch: memoryview, into: memoryview) -> bytes:
        """Begin an epoch."""
        return self._chain.start(replace(start, abandoned=self._lost), secret, scratch, into)
