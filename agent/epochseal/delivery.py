"""Lines on their way to the agent: threads hand them in, one thread at a time sends for all."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from _thread import LockType
from collections import deque
from contextlib import suppress

from epochseal.errors import EpochsealError

MAX_UNACKNOWLEDGED = 10_000
"""Lines that may be under way without somebody who waits for them; further ones wait."""
_ACK = re.compile(rb"(0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})")
_STEP_SECONDS = 0.05
_PAUSE_SECONDS = 0.001
_COLLECT_EVERY = 64
# What a read waits for at the most, as the system wants it: seconds, microseconds.
_READ_TIMEOUT = struct.pack("@ll", 0, int(_STEP_SECONDS * 1_000_000))


class NotSealed(EpochsealError):
    """Records were not acknowledged in time. They may or may not be in the log."""


class Batch:
    """Lines that are sent together.

    Attributes:
        lines: in order; `numbers` are those of the first of them, as far as they are durable.
        gates: one for each thread that waits, unless it leads; released when the batch is done.
        loose: lines that nobody waits for.
        deadline: when the time of the last line is over.
        dropped: whether it was given up: it is not sent again.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.numbers: list[int] = []
        self.gates: list[LockType] = []
        self.loose = 0
        self.deadline = 0.0
        self.dropped = False

    @property
    def missing(self) -> int:
        """Lines that are not durable yet."""
        return len(self.lines) - len(self.numbers)


class Delivery:
    """One connection that threads share.

    One of them leads: it sends what all have handed in, and reads the acknowledgements; what is handed in
    meanwhile is the next batch. That goes as soon as one comes, before anybody is woken for whom it is: so
    the agent commits it while they run. When the connection breaks, what was not acknowledged is sent again.

    Args:
        path: of the agent's socket.
        timeout: seconds for a line, from when it is handed in to its acknowledgement.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        # What is handed in for the next batch; in order, what was handed in before and is not acknowledged.
        self._filling = Batch()
        self._wire: deque[Batch] = deque()
        self._loose = self._sent = self._gates = 0
        # The batch that the leader waits for, and the gate of who was made the leader last.
        self._leading: Batch | None = None
        self._heir: LockType | None = None
        self._socket: socket.socket | None = None
        self._outgoing = bytearray()
        self._awaited = 0
        # Whether a thread leads. It alone reads, and changes what is above only under the lock.
        self._led = False
        self._incoming = b""
        self._silent = False
        self._trouble = ""

    def deliver(self, line: bytes) -> int:
        """Have a line sealed; its number in the log.

        Raises:
            NotSealed: it was not acknowledged in time.
        """
        deadline = time.monotonic() + self._timeout
        with self._lock:
            batch, place = self._filling, len(self._filling.lines)
            batch.lines.append(line)
            batch.deadline = deadline
            gate = self._join(batch)
        self._await(batch, gate, deadline)
        if place < len(batch.numbers):
            return batch.numbers[place]
        with self._lock:
            if not batch.gates and not batch.loose and batch is not self._leading:
                self._drop(batch)
        raise self._not_sealed(1)

    def hand_in(self, line: bytes) -> None:
        """Send a line and wait for nothing, unless `MAX_UNACKNOWLEDGED` are under way.

        Raises:
            NotSealed: it found no room in time, or lines before it were not acknowledged in theirs.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            with self._lock:
                self._raise_overdue()
                if room := self._loose < MAX_UNACKNOWLEDGED:
                    batch = self._filling
                    batch.lines.append(line)
                    batch.loose += 1
                    batch.deadline = deadline
                    self._loose += 1
                    self._sent += 1
                leads, self._led = not self._led, True
            if leads:
                try:
                    self._step(
                        0.0 if room else _STEP_SECONDS, collect=not room or self._sent % _COLLECT_EVERY == 0
                    )
                finally:
                    self._hand_over()
            if room:
                return
            if not leads:
                time.sleep(_PAUSE_SECONDS)
            if time.monotonic() > deadline:
                raise self._not_sealed(1)

    def flush(self) -> None:
        """Wait until all that was handed in before is acknowledged; not what comes meanwhile.

        Raises:
            NotSealed: something was not, within its time.
        """
        last: Batch | None = None
        while True:
            with self._lock:
                self._raise_overdue()
                if last is None:
                    last = self._filling if self._filling.lines else self._wire[-1] if self._wire else None
                # Batches are acknowledged in order.
                if last is None or last.dropped or not last.missing:
                    return
                gate = self._join(last)
            self._await(last, gate, last.deadline)

    def close(self) -> None:
        """Close the connection; what was not acknowledged is not waited for."""
        with self._lock:
            self._disconnect("the handler was closed")

    def _raise_overdue(self) -> None:
        """Give up the batches that nobody waits for and whose time is over."""
        first = self._wire[0] if self._wire else self._filling
        if not first.lines or first.deadline > time.monotonic():
            return
        late, now = 0, time.monotonic()
        for batch in (*self._wire, self._filling):
            waited_for = batch.gates or batch is self._leading
            if batch.deadline <= now and not waited_for and not batch.dropped:
                self._drop(batch)
                late += min(batch.loose, batch.missing)
        self._loose -= late
        if late:
            raise self._not_sealed(late)

    def _drop(self, batch: Batch) -> None:
        """Give a batch up. What was sent of it may be acknowledged yet, and is counted off then."""
        batch.dropped = True
        if batch is self._filling:
            self._filling = Batch()
        elif self._socket is None:
            with suppress(ValueError):
                self._wire.remove(batch)

    def _not_sealed(self, count: int) -> NotSealed:
        return NotSealed(
            f"{count} record(s) not acknowledged within {self._timeout:g} s by the agent at {self._path}",
            self._trouble or "the agent takes entries but does not seal them: look at its messages",
        )

    # --- who leads ------------------------------------------------------------------------------------------

    def _join(self, batch: Batch) -> LockType | None:
        """Wait for a batch, at the gate that this gives; None: this thread leads. Under the lock."""
        if not self._led:
            self._led, self._leading = True, batch
            return None
        gate = threading.Lock()
        gate.acquire()
        batch.gates.append(gate)
        self._gates += 1
        return gate

    def _await(self, batch: Batch, gate: LockType | None, deadline: float) -> None:
        """Wait until the batch is done or its time over; `_join` comes before."""
        if gate is not None:
            if not gate.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                with self._lock:
                    if gate in batch.gates:
                        batch.gates.remove(gate)
                        self._gates -= 1
                        return
            if self._heir is not gate:
                return
            # It was made the leader, perhaps at the very moment when its time was over.
        try:
            while batch.missing and (left := deadline - time.monotonic()) > 0:
                self._step(min(left, _STEP_SECONDS), collect=True)
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        """Make another one lead who waits; if nobody does, send what is left and lead no more."""
        while True:
            with self._lock:
                if (batch := self._find_waiting()) is not None:
                    self._heir, self._leading = batch.gates.pop(0), batch
                    self._gates -= 1
                    self._heir.release()
                    return
                self._leading = None
                if not self._goes_now or self._socket is None:
                    self._led = False
                    return
            self._step(0.0, collect=False)

    def _find_waiting(self) -> Batch | None:
        if not self._gates:
            return None
        return next((batch for batch in (*self._wire, self._filling) if batch.gates and batch.missing), None)

    # --- the connection: the leader alone -------------------------------------------------------------------

    def _step(self, seconds: float, *, collect: bool) -> None:
        """Send what was handed in, wait for an answer, take what is there."""
        with self._lock:
            if self._socket is None:
                self._connect()
            self._load()
            trouble, sock, full = self._transmit(), self._socket, bool(self._outgoing)
        if sock is None:
            time.sleep(min(seconds, _STEP_SECONDS))
        elif trouble or full or collect:
            if full and seconds and not trouble:
                poll = select.poll()
                poll.register(sock, select.POLLIN | select.POLLOUT)
                poll.poll(seconds * 1000)
            # The agent may have acknowledged records before the connection broke: those are read first. And
            # where it takes no more, it may have stopped reading until it is read.
            wait = seconds > 0 and not trouble and not full
            self._collect(sock, trouble, wait=wait)

    def _load(self) -> None:
        """What was handed in goes next, as one batch, if it is time. Under the lock, as all that sends."""
        if self._goes_now:
            batch, self._filling = self._filling, Batch()
            self._wire.append(batch)
            if self._socket is not None:
                self._outgoing += b"".join(batch.lines)
                self._awaited += len(batch.lines)

    @property
    def _goes_now(self) -> bool:
        """Whether something was handed in, and is not to wait for an acknowledgement.

        What threads wait for goes when nothing is under way, so that the agent need not wait for more of it;
        but not where it is silent or away, or what was given up would pile up in one batch.
        """
        batch = self._filling
        if not batch.lines:
            return False
        return batch.loose > 0 or not self._awaited or self._silent or self._socket is None

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            sock.connect(self._path)
            # So a read is one call, not a wait and a read. What writes says that it does not wait.
            sock.setblocking(True)  # noqa: FBT003  # its only argument
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _READ_TIMEOUT)
        except OSError as exc:
            sock.close()
            self._trouble = f"cannot connect: {exc.strerror or exc}"
            return
        self._socket = sock
        self._wire = deque(batch for batch in self._wire if not batch.dropped)
        for batch in self._wire:
            self._outgoing += b"".join(batch.lines[len(batch.numbers) :])
        self._awaited = sum(batch.missing for batch in self._wire)

    def _disconnect(self, trouble: str) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._outgoing.clear()
        self._incoming = b""
        self._trouble = trouble

    def _transmit(self) -> str:
        """Send as much as the agent takes now; why nothing can be sent any more, or nothing."""
        try:
            while self._outgoing and self._socket is not None:
                del self._outgoing[: self._socket.send(self._outgoing, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError as exc:
            return f"the connection broke: {exc.strerror}"
        return ""

    def _collect(self, sock: socket.socket, trouble: str, *, wait: bool) -> None:
        """Read acknowledgements, and disconnect if there is trouble; not under the lock."""
        ended = ""
        while not ended:
            try:
                data = sock.recv(1 << 16, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._silent = wait
                break
            except OSError as exc:
                ended = f"the connection broke: {exc.strerror}"
            else:
                self._incoming += data
                self._silent = False
                ended = "" if data else "the agent closed the connection"
                if data.endswith(b"\n") and len(data) < 1 << 16:
                    break
        *lines, self._incoming = self._incoming.split(b"\n")
        trouble = trouble or ended
        with self._lock:
            for line in lines:
                match = _ACK.fullmatch(line)
                first, last = (int(match[1]), int(match[2])) if match else (0, -1)
                if last < first or not self._acknowledged(first, last + 1):
                    trouble = f"what answers there is no agent that acknowledges: {line[:40]!r}"
                    break
            if trouble and self._socket is sock:
                self._disconnect(trouble)

    def _acknowledged(self, first: int, stop: int) -> bool:
        """These numbers are those of the next records; whether so many were sent."""
        if stop - first > self._awaited:
            return False
        self._awaited -= stop - first
        self._load()
        self._transmit()
        while first < stop:
            batch = self._wire[0]
            count = min(stop - first, batch.missing)
            batch.numbers.extend(range(first, first + count))
            first += count
            if not batch.missing:
                self._wire.popleft()
                if not batch.dropped:
                    self._loose -= batch.loose
                self._gates -= len(batch.gates)
                for gate in batch.gates:
                    gate.release()
                batch.gates.clear()
        self._trouble = ""
        return True
