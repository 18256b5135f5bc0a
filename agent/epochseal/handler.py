r"""A handler for Python's `logging` whose records are sealed before the call that logs returns.

It needs the standard library alone and talks to a `unix-stream` source with `acks = true`:

    handler = SealedHandler("/run/epochseal/app.sock")
    logging.getLogger("audit").addHandler(handler)

A record is one entry, whatever is in it: what ends a line or steers a terminal is written as `\n`, `\r`,
`\x1b`, `\u2028`. A backslash is kept, so that a record in JSON stays JSON.
"""

from __future__ import annotations

import logging
import os

from epochseal.delivery import Delivery, NotSealed

__all__ = ["NotSealed", "SealedHandler"]

_UNSAFE = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class SealedHandler(logging.Handler):
    """Has the agent seal records; what is not acknowledged raises `NotSealed`, `raiseExceptions` or not.

    Threads share one connection, and what they hand in at the same time is committed together. When the
    connection breaks, what was not acknowledged is sent again: a record may be sealed twice. After a fork the
    child makes a connection of its own.

    Args:
        path: of the agent's socket.
        timeout: seconds for a record, from the call to its acknowledgement, reconnecting included.
        wait: whether a logging call returns only when its record is durable. If not, up to
            `MAX_UNACKNOWLEDGED` records are under way, and a later call, `flush` or `close` raises for them.
        level: as of any handler.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 10.0,
        wait: bool = True,
        level: int = logging.NOTSET,
    ) -> None:
        super().__init__(level)
        self._path = os.fspath(path)
        self._timeout = timeout
        self._wait = wait
        self._process = os.getpid()
        self._delivery = Delivery(self._path, timeout)

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # as of 3.12
        """Filter and emit, but not under the handler's lock: threads' records are to share a commit."""
        found: bool | logging.LogRecord = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return found

    def emit(self, record: logging.LogRecord) -> None:
        """Seal the record; with `wait=False`, only send it. Whatever goes wrong is raised to the caller.

        Raises:
            NotSealed: this record, or with `wait=False` an earlier one, was not acknowledged in time.
        """
        if self._wait:
            self.seal(record)
        else:
            self._shared().hand_in(self._line(record))

    def seal(self, record: logging.LogRecord) -> int:
        """Seal the record and give its number in the log. Filters and level are not asked.

        Raises:
            NotSealed: it was not acknowledged within `timeout`.
        """
        return self._shared().deliver(self._line(record))

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises:
            NotSealed: something was not, within its time.
        """
        self._shared().flush()

    def close(self) -> None:
        """Wait as `flush` does, then close the connection.

        Raises:
            NotSealed: as `flush`.
        """
        try:
            self.flush()
        finally:
            self._shared().close()
            super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        # Called before any lock is taken: formatting a record may log another one, and would wait for itself.
        text = self.format(record)
        if not text.isprintable():
            text = text.translate(_UNSAFE)
        return text.encode("utf-8", "backslashreplace") + b"\n"

    def _shared(self) -> Delivery:
        if self._process != os.getpid():
            # This is a child after a fork. The connection and the records are the parent's, and another of
            # its threads may have held the lock, which nobody would ever release here.
            self._process = os.getpid()
            self._delivery = Delivery(self._path, self._timeout)
        return self._delivery
