"""What sources tell, such as a gap, as events of the daemon's journal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import main_thread

from epochseal.journal import Journal, Level


class _Handler(logging.Handler):
    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        # A log's thread has the log's name. What is told while logs are opened comes from the main one.
        log = {} if record.threadName == main_thread().name else {"log": record.threadName}
        self._journal.tell(level, "source_message", **log, text=record.getMessage())


@contextmanager
def told_in(journal: Journal) -> Iterator[None]:
    """Within the block, what sources and other parts tell by `logging` goes to the journal, line by line."""
    handler, logger = _Handler(journal), logging.getLogger("epochseal")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
