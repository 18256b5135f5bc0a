"""Do the checking: one task after the other, or in several processes; results in order either way.

How many processes a log is worth is said here too (`default_jobs`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from epochseal.custody.memory import harden_process
from epochseal.storage.opener import GoneError
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_secrets import Recoverers
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.sealed_entries import LogEnd, SealedEntries
from epochseal.verifier.snapshot import SegmentPart

_PARALLEL_FROM = 64 << 20
_TASK_SEAL_BYTES = 64 << 10
_AHEAD = 4
_IN_A_ROW = 16


@dataclass(frozen=True, slots=True)
class Task:
    """Some epochs of one segment; `last`: what follows the sealed bytes is to be looked at too.

    `unread`: its entries are not read, since those before it were more than the log file has.
    """

    part: SegmentPart
    epochs: tuple[EpochPart, ...]
    first: bool
    last: bool
    unread: bool = False


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task found.

    `end` is of the log file, where the task is the last of its segment. `asked` is how many bytes of entries
    its blocks have that lie in a plain log file of `size` bytes; `bounded` whether that, and what stood
    before it in the segment, was no more than it may be. `gone`: a file of the segment was not there any
    more; nothing else is known then.
    """

    task: Task
    results: tuple[EpochResult, ...] = ()
    end: LogEnd | None = None
    asked: int = 0
    size: int = 0
    bounded: bool = True
    gone: bool = False


def default_jobs(logdir: Path) -> int:
    """How many processes a log is worth: all cores for a large one."""
    # Of what stands there now, a link for itself: what cannot be looked at is for the verdict to say.
    size = 0
    for path in (logdir / "segments").glob("*.log*"):
        with suppress(OSError):
            size += path.lstat().st_size
    return len(os.sched_getaffinity(0)) if size > _PARALLEL_FROM else 1


def cut_tasks(parts: Sequence[SegmentPart]) -> list[Task]:
    """Tasks of some size. A compressed segment is one: it can only be read from its beginning."""
    tasks = []
    for part in parts:
        groups: list[list[EpochPart]] = [[]]
        size = 0
        for epoch in part.epochs:
            if size > _TASK_SEAL_BYTES and part.log.suffix == ".log":
                groups.append([])
                size = 0
            groups[-1].append(epoch)
            size += epoch.stop - epoch.start
        for place, group in enumerate(groups):
            tasks.append(Task(part, tuple(group), place == 0, place == len(groups) - 1))
    return tasks


def run_tasks(
    tasks: Sequence[Task], make_recoverer: Callable[[], Recoverers] | None, jobs: int
) -> Iterator[TaskResult]:
    """Run all tasks with at most `jobs` processes and give the results in the order of the log.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed.
    """
    work = _Work()
    if jobs <= 1 or len(tasks) <= 1:
        # A caller may verify in several threads: here each has a keyring of its own.
        yield from _run_in_order(tasks, _keyring_of(make_recoverer), work)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, initializer=_prepare_worker, initargs=(make_recoverer,)) as pool:
        ahead: list[Future[list[TaskResult]]] = []
        # Tasks that follow each other have their secrets recovered in one call.
        in_a_row = min(_IN_A_ROW, len(tasks) // (jobs * _AHEAD)) if make_recoverer is not None else 1
        for start in range(0, len(tasks), step := max(in_a_row, 1)):
            row = [work.allowed(task) for task in tasks[start : start + step]]
            ahead.append(pool.submit(_run_in_worker, row))
            # Only a few results wait at any time, so that memory does not grow with the log.
            if len(ahead) >= jobs * _AHEAD:
                yield from map(work.add, ahead.pop(0).result())
        while ahead:
            yield from map(work.add, ahead.pop(0).result())


class _Work:
    """How much of the segment at hand was read: blocks that lie over each other would make it any amount."""

    def __init__(self) -> None:
        self._stem = ""
        self._asked = 0
        self._bounded = True

    def allowed(self, task: Task) -> Task:
        over = task.part.segment.stem == self._stem and not self._bounded
        return replace(task, unread=True) if over else task

    def add(self, done: TaskResult) -> TaskResult:
        if done.task.first:
            self._stem, self._asked, self._bounded = done.task.part.segment.stem, 0, True
        self._asked += done.asked
        self._bounded = self._bounded and done.bounded and self._asked <= 2 * done.size
        return replace(done, bounded=self._bounded)


class _Worker:
    """What each process keeps: its own page and its own connection to the backend."""

    keyring: Keyring | None = None


def _prepare_worker(make_recoverer: Callable[[], Recoverers] | None) -> None:
    # Only in a process of our own: hardening lowers limits for good, and whether the calling process bears
    # that is for its owner to say.
    harden_process()
    _Worker.keyring = _keyring_of(make_recoverer)


def _keyring_of(make_recoverer: Callable[[], Recoverers] | None) -> Keyring | None:
    return Keyring(make_recoverer()) if make_recoverer is not None else None


def _run_in_worker(tasks: Sequence[Task]) -> list[TaskResult]:
    return list(_run_in_order(tasks, _Worker.keyring, _Work()))


def _run_in_order(tasks: Sequence[Task], keyring: Keyring | None, work: _Work) -> Iterator[TaskResult]:
    if keyring is not None:
        epochs = (epoch for task in tasks for epoch in task.epochs)
        keyring.secrets.expect([epoch.header for epoch in epochs if epoch.header is not None])
    try:
        for task in tasks:
            yield work.add(_run(work.allowed(task), keyring))
    finally:
        if keyring is not None:
            keyring.secrets.wipe()


def _run(task: Task, keyring: Keyring | None) -> TaskResult:
    part = task.part
    try:
        content = SealedEntries(part.log, part.sealed, last=part.last, unread=task.unread)
        try:
            results = tuple(check_epoch(part, epoch, content, keyring) for epoch in task.epochs)
            end = content.end() if task.last else None
            return TaskResult(task, results, end, content.asked, content.size, content.bounded)
        finally:
            content.close()
    except GoneError:
        return TaskResult(task, gone=True)
