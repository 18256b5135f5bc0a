"""A source that may fail without costing anything but itself: it is opened again where that can mend it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from epochseal.format.seal_lines import SourceMark
from epochseal.journal import Journal
from epochseal.sealing.limits import Piece
from epochseal.service.failures import TELL_SECONDS, RetryDelay, failure_text, needs_person
from epochseal.service.source_figures import SourceFigures
from epochseal.sources.source import FileLook, Source


class GuardedSource:
    """Passes everything on to a source, until that raises.

    Then the source is closed, and a position with `gap` says so in the chain: what it had read, or was sent
    while it was closed, may be missing. It is opened again after 1 s, then twice as long up to a minute; one
    that has to be configured otherwise, or that can be opened only once, stays closed. Either is told in the
    journal, once a minute while it lasts.

    Args:
        name: what it is called until it was opened.
        open_source: opens it.
        journal: of its log.
        once: whether it cannot be opened a second time.

    Raises:
        EpochsealError: it cannot be opened as it is configured. For any other reason it is tried again.

    Attributes:
        failure: what it failed with; None while it is open. Any thread may ask.
        figures: gaps, and when something was read last.
    """

    def __init__(
        self, name: str, open_source: Callable[[], Source], journal: Journal, *, once: bool = False
    ) -> None:
        self._name = name
        self._open_source = open_source
        self._journal = journal
        self._once = once
        self._source: Source | None = None
        self._delay = RetryDelay()
        self._gap: SourceMark | None = None
        self._cut = False
        self._failing: Exception | None = None
        self._finishing = False
        self._retry_at = math.inf
        self._tell_at = math.inf
        self.failure: Exception | None = None
        self.figures = SourceFigures()
        self._try_to_open()

    # --- what the loop asks ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """As the source's."""
        return self._source.name if self._source is not None else self._name

    @property
    def has_entry(self) -> bool:
        """As the source's; a gap that is to be told is one."""
        return self._gap is not None or (self._source is not None and self._source.has_entry)

    @property
    def full_block(self) -> bool:
        """As the source's."""
        return self._source is not None and self._source.full_block

    @property
    def buffered(self) -> int:
        """As the source's; nothing while it is closed."""
        return source.buffered if (source := self._source) is not None else 0

    @property
    def lag(self) -> int:
        """As the source's; nothing while it is closed. Any thread may ask."""
        return source.lag if (source := self._source) is not None else 0

    @property
    def files(self) -> Sequence[FileLook]:
        """As the source's; none while it is closed. Any thread may ask."""
        return source.files if (source := self._source) is not None else ()

    @property
    def perishable(self) -> int:
        """As the source's; nothing while it is closed, for which there is a gap already."""
        return self._source.perishable if self._source is not None else 0

    @property
    def trouble(self) -> str:
        """Why nothing new reaches it: what it failed with, or as the source's. Any thread may ask."""
        if (failure := self.failure) is not None:
            return failure_text(failure)
        return source.trouble if (source := self._source) is not None else ""

    @property
    def ended(self) -> bool:
        """As the source's; closed, it has ended unless it will be opened again."""
        if self._source is not None:
            return self._source.ended
        return self._gap is None and (self._finishing or self._retry_at == math.inf)

    def descriptors(self) -> Sequence[int]:
        """As the source's."""
        try:
            if self._source is not None and self._failing is None:
                return self._source.descriptors()
        except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
            self._failed(exc)
        return ()

    def ready(self, descriptor: int) -> None:
        """As the source's."""
        try:
            if self._source is not None and self._failing is None:
                self._source.ready(descriptor)
        except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
            self._failed(exc)

    def wait_seconds(self) -> float:
        """As the source's; closed, until it is tried again or told of."""
        if self._source is not None:
            return self._source.wait_seconds()
        retry_at = math.inf if self._finishing else self._retry_at
        return max(0.0, min(retry_at, self._tell_at) - time.monotonic())

    def tick(self) -> None:
        """As the source's; closed, it is tried again in time."""
        if self._source is not None:
            try:
                if self._failing is None:
                    self._source.tick()
            except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
                self._failed(exc)
            return
        now = time.monotonic()
        if now >= self._retry_at and not self._finishing:
            self._try_to_open()
        if self.failure is not None and now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            self._journal.error("source_closed", self.failure, source=self.name)

    def finish(self) -> None:
        """As the source's; closed, it is not opened any more."""
        self._finishing = True
        try:
            if self._source is not None and self._failing is None:
                self._source.finish()
        except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
            self._failed(exc)

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """As the source's; a gap goes before what comes after it."""
        if self._gap is not None:
            mark, self._gap = self._gap, None
            self.figures.missed(mark)
            return Piece(0, 0, mark)
        try:
            if self._source is None or self._failing is not None:
                return None
            piece = self._source.cut_piece(entries, size, first)
        except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
            self._failed(exc)
            return None
        if piece is not None:
            self._cut = True
            self.figures.took(piece)
        return piece

    def piece_bytes(self) -> memoryview:
        """As the source's."""
        return self._source.piece_bytes() if self._source is not None and self._cut else memoryview(b"")

    def done(self, first_entry: int) -> None:
        """As the source's."""
        cut, self._cut = self._cut, False
        try:
            if cut and self._source is not None and self._failing is None:
                self._source.done(first_entry)
        except Exception as exc:  # noqa: BLE001  # a source's mistake is no reason to end the log
            self._failed(exc)
        if self._failing is not None:
            self._fail(self._failing)

    def positions(self) -> list[SourceMark]:
        """As the source's."""
        return self._source.positions() if self._source is not None else []

    def close(self) -> None:
        """As the source's."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    # --- failing --------------------------------------------------------------------------------------------

    def _try_to_open(self) -> None:
        try:
            self._source = self._open_source()
        except Exception as exc:
            if needs_person(exc) and self.failure is None:
                raise
            # One that could be opened before may be opened again, whatever is in its way now.
            self._closed_by(exc, lasting=False)
        else:
            if self.failure is not None:
                self._journal.info("source_back", source=self.name)
            self.failure, self._retry_at, self._tell_at = None, math.inf, math.inf

    def _failed(self, exc: Exception) -> None:
        if self._cut:
            # Pieces of it are being sealed: it is closed once they are.
            self._failing = exc
        else:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        source, self._source, self._failing = self._source, None, None
        if source is None:
            return
        self._name = source.name
        marks = [mark for mark in source.positions() if mark.name == source.name]
        # A source of that name may be resumed from its position: this one says the same.
        self._gap = replace(marks[0] if marks else SourceMark(source.name, 0), gap=1)
        source.close()
        self._closed_by(exc, lasting=self._once or needs_person(exc))

    def _closed_by(self, exc: Exception, *, lasting: bool) -> None:
        now = time.monotonic()
        self._retry_at = math.inf if lasting else now + self._delay.after_failure()
        if self.failure is None or str(self.failure) != str(exc):
            self._journal.error("source_failed", exc, source=self.name, again=not lasting)
            self._tell_at = now + TELL_SECONDS
        self.failure = exc
