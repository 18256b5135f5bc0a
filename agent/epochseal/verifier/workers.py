"""Do the checking: one task after the other, or in several processes; results in order either way.

How many processes a log is worth is said here too (`default_jobs`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from epochseal.custody.memory import harden_process
from epochseal.storage.opener import GoneError
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_secrets import Recoverers
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.reading_budget import Reading, shares
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

    `reading` is what it may cost.
    """

    part: SegmentPart
    epochs: tuple[EpochPart, ...]
    first: bool
    last: bool
    reading: Reading

    def alone(self) -> Task:
        """The same for another process: without the segment's other epochs, which would go with each task."""
        return replace(self, part=replace(self.part, lines=replace(self.part.lines, epochs=[])))


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task found.

    `end` is of the log file, where the task is the last of its segment. `asked` is how many bytes of entries
    its blocks have that lie in a plain log file of `size` bytes; `bounded` whether that, and what stood
    before it in the segment, was no more than a file of that size is asked for, and `too_far` whether it was
    more than is read of the file. `gone`: a file of the segment was not there any more; nothing else is known
    then.
    """

    task: Task
    results: tuple[EpochResult, ...] = ()
    end: LogEnd | None = None
    asked: int = 0
    size: int = 0
    bounded: bool = True
    too_far: bool = False
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
        sizes = [sum(epoch.stop - epoch.start for epoch in group) for group in groups]
        for place, (group, search) in enumerate(zip(groups, shares(part.reading.search, sizes), strict=True)):
            reading = replace(part.reading, search=search)
            tasks.append(Task(part, tuple(group), place == 0, place == len(groups) - 1, reading))
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
        # A caller may verify in several threads: here each has a worker of its own.
        yield from map(work.add, _Worker(_keyring_of(make_recoverer)).run(tasks))
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, initializer=_prepare_worker, initargs=(make_recoverer,)) as pool:
        ahead: deque[tuple[Sequence[Task], Future[list[TaskResult]]]] = deque()
        # Tasks that follow each other have their secrets recovered in one call.
        in_a_row = min(_IN_A_ROW, len(tasks) // (jobs * _AHEAD)) if make_recoverer is not None else 1
        for start in range(0, len(tasks), step := max(in_a_row, 1)):
            row = tasks[start : start + step]
            ahead.append((row, pool.submit(_run_in_worker, [task.alone() for task in row])))
            # Only a few results wait at any time, so that memory does not grow with the log.
            if len(ahead) >= jobs * _AHEAD:
                yield from map(work.add, _of(*ahead.popleft()))
        while ahead:
            yield from map(work.add, _of(*ahead.popleft()))


def _of(row: Sequence[Task], future: Future[list[TaskResult]]) -> Iterator[TaskResult]:
    return (replace(done, task=task) for task, done in zip(row, future.result(), strict=True))


class _Work:
    """How much of the segment at hand was read: blocks that lie over each other would make it any amount."""

    def __init__(self) -> None:
        self._asked = 0
        self._bounded, self._too_far = True, False

    def add(self, done: TaskResult) -> TaskResult:
        if done.task.first:
            self._asked, self._bounded, self._too_far = 0, True, False
        self._asked += done.asked
        self._bounded = self._bounded and done.bounded and self._asked <= 2 * done.size
        self._too_far = self._too_far or done.too_far or self._asked > done.task.reading.plain
        return replace(done, bounded=self._bounded, too_far=self._too_far)


class _Worker:
    """What each process keeps: its own page, its own connection to the backend, and how much it has read."""

    own: ClassVar[_Worker]

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring
        self._stem, self._asked = "", 0

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Check the epochs of tasks that follow each other."""
        keyring = self._keyring
        if keyring is not None:
            epochs = (epoch for task in tasks for epoch in task.epochs)
            keyring.secrets.expect([epoch.header for epoch in epochs if epoch.header is not None])
        try:
            yield from map(self._run, tasks)
        finally:
            if keyring is not None:
                keyring.secrets.wipe()

    def _run(self, task: Task) -> TaskResult:
        part = task.part
        before = self._asked if self._stem == part.segment.stem else 0
        try:
            content = SealedEntries(part.log, part.sealed, task.reading, last=part.last, asked=before)
            try:
                results = tuple(check_epoch(part, epoch, content, self._keyring) for epoch in task.epochs)
                end = content.end() if task.last else None
                self._stem, self._asked = part.segment.stem, content.asked
                return TaskResult(
                    task, results, end, content.asked - before, content.size, content.bounded, content.too_far
                )
            finally:
                content.close()
        except GoneError:
            return TaskResult(task, gone=True)


def _prepare_worker(make_recoverer: Callable[[], Recoverers] | None) -> None:
    # Only in a process of our own: hardening lowers limits for good, and whether the calling process bears
    # that is for its owner to say.
    harden_process()
    _Worker.own = _Worker(_keyring_of(make_recoverer))


def _keyring_of(make_recoverer: Callable[[], Recoverers] | None) -> Keyring | None:
    return Keyring(make_recoverer()) if make_recoverer is not None else None


def _run_in_worker(tasks: Sequence[Task]) -> list[TaskResult]:
    # Who gave the tasks has them already.
    return [replace(done, task=replace(done.task, epochs=())) for done in _Worker.own.run(tasks)]
