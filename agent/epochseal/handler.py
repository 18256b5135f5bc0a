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
import re
import select
import socket
import threading
import time
from collections import deque

from epochseal.errors import EpochsealError

MAX_UNACKNOWLEDGED = 10_000
"""Records that may be under way with `wait=False`; further ones wait."""
_ACK = re.compile(rb"(0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})")
_STEP_SECONDS = 0.05
_UNSAFE = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class NotSealed(EpochsealError):
    """Records were not acknowledged in time. They may or may not be in the log."""


class _Entry:
    def __init__(self, line: bytes, deadline: float) -> None:
        self.line = line
        self.deadline = deadline
        self.number: int | None = None


class SealedHandler(logging.Handler):
    """Has the agent seal records; what is not acknowledged raises `NotSealed`, `raiseExceptions` or not.

    Threads share one connection and wait side by side, so that their records are committed together. When
    the connection breaks, what was not acknowledged is sent again: a record may be sealed twice. After a fork
    the child makes a connection of its own.

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
        self._start_over()

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
            return
        line = self._line(record)
        with self._shared():
            self._raise_overdue()
            deadline = time.monotonic() + self._timeout
            while len(self._open) >= MAX_UNACKNOWLEDGED:
                if not self._advance(deadline):
                    raise self._not_sealed(1)
            self._add(_Entry(line, deadline))
            self._exchange(0.0)

    def seal(self, record: logging.LogRecord) -> int:
        """Seal the record and give its number in the log. Filters and level are not asked.

        Raises:
            NotSealed: it was not acknowledged within `timeout`.
        """
        line = self._line(record)
        with self._shared():
            entry = _Entry(line, time.monotonic() + self._timeout)
            self._add(entry)
            while entry.number is None:
                if not self._advance(entry.deadline):
                    self._open.pop(entry, None)
                    raise self._not_sealed(1)
            return entry.number

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises:
            NotSealed: something was not, within its time.
        """
        with self._shared():
            while self._open:
                self._advance(next(iter(self._open)).deadline)
                self._raise_overdue()

    def close(self) -> None:
        """Wait as `flush` does, then close the connection.

        Raises:
            NotSealed: as `flush`.
        """
        try:
            self.flush()
        finally:
            with self._changed:
                self._disconnect("the handler was closed")
            super().close()

    # --- records --------------------------------------------------------------------------------------------

    def _line(self, record: logging.LogRecord) -> bytes:
        # Called before the lock is taken: formatting a record may log another one, and would wait for itself.
        return self.format(record).translate(_UNSAFE).encode("utf-8", "backslashreplace") + b"\n"

    def _add(self, entry: _Entry) -> None:
        self._open[entry] = None
        if self._socket is not None:
            self._enqueue(entry)
            self._transmit()

    def _enqueue(self, entry: _Entry) -> None:
        self._outgoing += entry.line
        self._wire.append(entry)

    def _raise_overdue(self) -> None:
        now = time.monotonic()
        late = [entry for entry in self._open if entry.deadline <= now]
        for entry in late:
            del self._open[entry]
        if late:
            raise self._not_sealed(len(late))

    def _not_sealed(self, count: int) -> NotSealed:
        return NotSealed(
            f"{count} record(s) not acknowledged within {self._timeout:g} s by the agent at {self._path}",
            self._trouble or "the agent takes entries but does not seal them: look at its messages",
        )

    # --- the connection: everything here holds the lock -----------------------------------------------------

    def _shared(self) -> threading.Condition:
        if self._process != os.getpid():
            # This is a child after a fork. The connection and the records are the parent's, and another of
            # its threads may have held the lock, which nobody would ever release here.
            self._start_over()
        return self._changed

    def _start_over(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._leading = False
        self._socket: socket.socket | None = None
        # In order: what is not acknowledged; what was queued on this connection; the bytes not sent of it.
        self._open: dict[_Entry, None] = {}
        self._wire: deque[_Entry] = deque()
        self._outgoing = bytearray()
        self._incoming = b""
        self._trouble = ""

    def _advance(self, deadline: float) -> bool:
        """Wait for a change, one thread at the socket and the others for it; False if the time is over."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if self._leading:
            self._changed.wait(left)
            return True
        self._leading = True
        try:
            self._exchange(left)
        finally:
            self._leading = False
            self._changed.notify_all()
        return True

    def _exchange(self, seconds: float) -> None:
        if self._socket is None:
            self._connect()
        self._transmit()
        if self._socket is None:
            if seconds:
                self._changed.wait(min(seconds, _STEP_SECONDS))
            return
        if seconds:
            self._wait_for(self._socket.fileno(), min(seconds, _STEP_SECONDS))
        self._collect()

    def _wait_for(self, descriptor: int, seconds: float) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        # Without the lock other threads can add records while this one waits. One of them may also close the
        # socket; then this wait ends after `seconds`, which is short.
        self._changed.release()
        try:
            poll.poll(seconds * 1000)
        finally:
            self._changed.acquire()

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            sock.connect(self._path)
        except OSError as exc:
            sock.close()
            self._trouble = f"cannot connect: {exc.strerror or exc}"
            return
        self._socket = sock
        for entry in self._open:
            self._enqueue(entry)

    def _disconnect(self, trouble: str) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._wire.clear()
        self._outgoing.clear()
        self._incoming = b""
        self._trouble = trouble

    def _transmit(self) -> None:
        try:
            while self._outgoing and self._socket is not None:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError as exc:
            # The agent may have acknowledged records before the connection broke: those are read first.
            self._collect()
            self._disconnect(f"the connection broke: {exc.strerror}")

    def _collect(self) -> None:
        trouble = ""
        while self._socket is not None and not trouble:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as exc:
                trouble = f"the connection broke: {exc.strerror}"
            else:
                self._incoming += data
                trouble = "" if data else "the agent closed the connection"
        *lines, self._incoming = self._incoming.split(b"\n")
        for line in lines:
            match = _ACK.fullmatch(line)
            first, last = (int(match[1]), int(match[2])) if match else (0, -1)
            if not 0 < last - first + 1 <= len(self._wire):
                trouble = f"what answers there is no agent that acknowledges: {line[:40]!r}"
                break
            self._acknowledged(first, last)
        if trouble:
            self._disconnect(trouble)

    def _acknowledged(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            entry = self._wire.popleft()
            entry.number = number
            self._open.pop(entry, None)
        self._trouble = ""
