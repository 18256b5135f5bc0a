"""Read the memory of a process and its children from outside, and count the keys that are in it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.memory.patterns import Patterns

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) *(.*)")
_PIECE = 16 << 20
_WORDS = 1 << 16
_MIX = np.uint64(0x9E3779B97F4A7C15)
_LONGEST = 128


@dataclass(frozen=True)
class Hit:
    """One form of one key at one place.

    Args:
        key: its name.
        form: raw, hex, … (tests/memory/patterns.py).
        pid: the process, the first one of those that share the place.
        mapping: the name that the kernel gives to this memory.
        place: the address, or in memory that processes can share the offset.
    """

    key: str
    form: str
    pid: int
    mapping: str
    place: int


class Index:
    """Finds any of the patterns in a run of bytes, in a few passes over it."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._sizes = {}
        # One in 128 at most is set: few words are looked at twice, and a small table stays in the cache.
        bits = 7 + sum(len(rows) for rows, *_ in patterns.parts.values()).bit_length()
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        for size, (rows, owners, leads, forms) in patterns.parts.items():
            anchors = np.ascontiguousarray(rows[:, :8]).view("<u8").reshape(-1)
            order = np.argsort(anchors)
            self._table[self._slots(anchors)] = True
            sorted_forms = [forms[item] for item in order]
            self._sizes[size] = anchors[order], rows[order], owners[order], leads[order], sorted_forms

    def find(self, data: bytes) -> Iterator[tuple[int, str, str]]:
        """Where a form begins, or would, the name of its key, and the form: for each half that is found."""
        for start in range(min(8, max(len(data) - 7, 0))):
            words = np.frombuffer(data, "<u8", (len(data) - start) // 8, start)
            pieces = range(0, len(words), _WORDS)
            known = [self._table[self._slots(words[first : first + _WORDS])] for first in pieces]
            candidates = np.flatnonzero(np.concatenate(known))
            if len(candidates):
                yield from self._compare(data, start, words, candidates)

    def _compare(
        self, data: bytes, start: int, words: npt.NDArray[np.uint64], candidates: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, str, str]]:
        for size, (anchors, rows, owners, leads, forms) in self._sizes.items():
            low = np.searchsorted(anchors, words[candidates], "left")
            high = np.searchsorted(anchors, words[candidates], "right")
            same = np.flatnonzero(low < high)
            for place, first, last in zip(candidates[same], low[same], high[same], strict=True):
                offset = start + 8 * int(place)
                for item in range(int(first), int(last)):
                    if data[offset : offset + size] == rows[item].tobytes():
                        yield offset - int(leads[item]), self._patterns.keys[owners[item]], forms[item]

    def _slots(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        mixed = words * _MIX
        mixed >>= self._shift
        return mixed.view(np.int64)


def processes(root: int) -> list[int]:
    """The process and all that descend from it."""
    found = [root]
    for pid in found:
        found += children(pid)
    return found


def children(pid: int) -> list[int]:
    """The processes that this one has started and that are there."""
    found: list[int] = []
    threads: list[str] = []
    with suppress(OSError):  # a process that has ended meanwhile
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  # a folder that may go at any moment
    for thread in threads:
        with suppress(OSError):  # a thread that has
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="ascii")
            found += [int(child) for child in text.split()]
    return found


@contextmanager
def stopped(root: int) -> Iterator[list[int]]:
    """Hold the process and its children still; those that are there."""
    held: list[int] = []
    try:
        # A courier may be forked between looking and stopping: look again until there is nothing new.
        while fresh := [pid for pid in processes(root) if pid not in held]:
            for pid in fresh:
                held.append(pid)
                with suppress(ProcessLookupError):  # a courier that was on its way out
                    os.kill(pid, signal.SIGSTOP)
                    _wait_until_stopped(pid)
        yield held
    finally:
        for pid in held:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in {"T", "t", "Z", "X"}:
            return
        time.sleep(0.001)
    raise AssertionError(f"process {pid} does not stop")


@dataclass
class Scan:
    """What one look found.

    Attributes:
        hits: every place, each counted once whichever of its halves was found.
        read: bytes read.
        refused: mappings that the kernel shows to nobody, by name.
    """

    hits: list[Hit]
    read: int
    refused: list[str]


def scan(pids: list[int], index: Index) -> Scan:
    """Look at every readable mapping of the processes; shared memory is one place, whoever maps it."""
    hits: dict[tuple[object, int, str, str], Hit] = {}
    read, refused = 0, []
    for pid in pids:
        for low, high, inode, name in _mappings(pid):
            for at, data in _pieces(pid, low, high):
                if data is None:
                    refused.append(f"{pid} {name}")
                    break
                read += len(data)
                for offset, key, form in index.find(data):
                    place = at + offset - low if inode else at + offset
                    where: object = (name, inode) if inode else pid
                    hit = Hit(key, form, pid, name or "anonymous", place)
                    hits.setdefault((where, place, key, form), hit)
    return Scan(list(hits.values()), read, refused)


def _mappings(pid: int) -> Iterator[tuple[int, int, int, str]]:
    try:
        text = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended
    for line in text.splitlines():
        match = _MAPPING.fullmatch(line)
        assert match is not None, line
        # Guard pages and reserved room cannot be read by the process either; vsyscall is no memory.
        if match[3][0] == "r" and match[5] not in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
            yield int(match[1], 16), int(match[2], 16), int(match[4]), match[5]


def _pieces(pid: int, low: int, high: int) -> Iterator[tuple[int, bytes | None]]:
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended
    try:
        while low < high:
            try:
                data = os.pread(memory, min(_PIECE, high - low), low)
            except OSError:
                yield low, None
                return
            if not data:
                return
            yield low, data
            # With some overlap, so that nothing is missed at a seam.
            low += len(data) if low + len(data) >= high else max(len(data) - _LONGEST, 1)
    finally:
        os.close(memory)
