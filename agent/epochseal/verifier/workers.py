"""Do the checking: one task after the other, or in several processes; results in order either way.

How many processes a log is worth is said here too (`default_jobs`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec.structs import replace
from msgspec.structs import replace as replace_part

from epochseal.custody.memory import SecretPage, harden_process
from epochseal.errors import EpochsealError, StorageError
from epochseal.storage.archive_path import ArchivePath
from epochseal.storage.opener import GoneError
from epochseal.storage.segments import FOLDER
from epochseal.verifier.check_epoch import check_epoch
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.epoch_secrets import Recoverers
from epochseal.verifier.helpers import Helpers, page_size, use_page
from epochseal.verifier.keyring import Keyring
from epochseal.verifier.reading_budget import Reading, shares
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.sealed_entries import LogEnd, SealedEntries
from epochseal.verifier.shared_runs import LONG, weight
from epochseal.verifier.snapshot import SegmentPart
from epochseal.version import __version__

if TYPE_CHECKING:  # loaded where processes are made, and nowhere else
    from concurrent.futures import Executor, Future

    from epochseal.verifier.cluster import Cluster

# What is as much work as so many bytes of entries: a byte of lines with their signatures, and a file: on a
# disk to hand it over to another process, so that a small one gains nothing there; in an archive to wait for.
_PARALLEL_FROM, _A_FILE, _A_LINE_BYTE = 64 << 20, 32 << 10, 16
_TASK_SEAL_BYTES = 64 << 10
_AHEAD = 4
_IN_A_ROW = 16


class Task(msgspec.Struct, frozen=True):
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
        return replace(self, part=replace_part(self.part, lines=replace(self.part.lines, epochs=[])))


class TaskResult(msgspec.Struct, frozen=True):
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
    """How many processes a log is worth: all cores for one that takes much work."""
    folder, work = logdir / FOLDER, 0
    for name, size in _archived(folder) if isinstance(folder, ArchivePath) else _on_disk(folder):
        work += size * (_A_LINE_BYTE if name.endswith(".seal") else 1)
    return len(os.sched_getaffinity(0)) if work > _PARALLEL_FROM else 1


def _on_disk(folder: Path) -> Iterator[tuple[str, int]]:
    # Of what stands there now, a link for itself: what cannot be looked at is for the verdict to say.
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            with suppress(OSError):
                yield entry.name, max(0, entry.stat(follow_symlinks=False).st_size - _A_FILE)


def _archived(folder: ArchivePath) -> Iterator[tuple[str, int]]:
    with suppress(OSError, StorageError):
        yield from ((item.key, item.size + _A_FILE) for item in folder.objects())


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
    tasks: Sequence[Task],
    make_recoverer: Callable[[], Recoverers] | None,
    jobs: int,
    cluster: Cluster | None = None,
) -> Iterator[TaskResult]:
    """Run all tasks with at most `jobs` processes, or on a cluster; the results in the order of the log.

    Raises:
        StorageError: a file cannot be read.
        BackendError: the key backend failed.
    """
    work = _Work()
    if cluster is not None:
        rows = _rows(tasks, cluster.slots)
        started = (_on_cluster(cluster, make_recoverer, row) for row in rows)
        yield from map(work.add, _some_ahead(started, cluster.slots * _AHEAD))
        return
    if jobs <= 1 or (len(tasks) <= 1 and not any(map(_is_long, tasks))):
        # A caller may verify in several threads: here each has a worker of its own.
        yield from map(work.add, _Worker(_keyring_of(make_recoverer)).run(tasks))
        return
    # A small log is verified without all that processes need.
    import multiprocessing  # noqa: PLC0415
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    with ExitStack() as stack:
        # Before the processes are forked, which share it.
        keyed = make_recoverer is not None
        page = stack.enter_context(SecretPage(page_size(jobs - 1))) if keyed else None
        initial = make_recoverer, page
        context = multiprocessing.get_context("fork")
        # A task alone is seen to here, with the others' help.
        others = jobs - 1 if len(tasks) == 1 else jobs
        pool = stack.enter_context(ProcessPoolExecutor(others, context, _prepare_worker, initial))
        here = _Here(make_recoverer, Helpers(jobs - 1, pool, page))
        # An epoch that many processes check is seen to here; nothing of it is done before its turn.
        started = (
            here.run(row) if _is_long(row[0]) else _elsewhere(pool, row)
            for row in _rows(tasks, jobs if keyed else 0)
        )
        yield from map(work.add, _some_ahead(started, jobs * _AHEAD))


def _some_ahead(started: Iterator[Iterator[TaskResult]], most: int) -> Iterator[TaskResult]:
    """Results in order; only a few wait at any time, so that memory does not grow with the log."""
    ahead: deque[Iterator[TaskResult]] = deque()
    for results in started:
        ahead.append(results)
        if len(ahead) >= most:
            yield from ahead.popleft()
    while ahead:
        yield from ahead.popleft()


def _is_long(task: Task) -> bool:
    """Whether it is worth several processes by itself."""
    part = task.part
    return part.log.suffix == ".log" and any(weight(part, epoch) >= LONG for epoch in task.epochs)


def _rows(tasks: Sequence[Task], jobs: int) -> Iterator[Sequence[Task]]:
    """Tasks that follow each other have their secrets recovered in one call; a long one stands alone."""
    most = max(min(_IN_A_ROW, len(tasks) // (jobs * _AHEAD)), 1) if jobs else 1
    row: list[Task] = []
    for task in tasks:
        if row and (len(row) == most or _is_long(task) or _is_long(row[0])):
            yield row
            row = []
        row.append(task)
    if row:
        yield row


def _elsewhere(pool: Executor, row: Sequence[Task]) -> Iterator[TaskResult]:
    return _of(row, pool.submit(_run_in_worker, [task.alone() for task in row]))


def _on_cluster(
    cluster: Cluster, make_recoverer: Callable[[], Recoverers] | None, row: Sequence[Task]
) -> Iterator[TaskResult]:
    import pickle  # noqa: PLC0415  # for a cluster alone, as what follows

    from epochseal.verifier.cluster import run_on_worker  # noqa: PLC0415

    keys, work = pickle.dumps(make_recoverer), pickle.dumps([task.alone() for task in row])
    return _given_back(row, cluster.pool.submit(run_on_worker, __version__, keys, work))


def _given_back(
    row: Sequence[Task], future: Future[list[TaskResult] | EpochsealError]
) -> Iterator[TaskResult]:
    try:
        done = future.result()
    except Exception as exc:  # whatever a worker, the scheduler or the library raises
        # A lost worker is no such case: its tasks are done by another one, a few times.
        text = f"the cluster did not do what was asked: {type(exc).__name__}: {exc}"
        raise StorageError(text, "see what its workers say") from exc
    if isinstance(done, EpochsealError):
        raise done
    yield from (replace(result, task=task) for task, result in zip(row, done, strict=True))


class _Here:
    """Checks long epochs in this process, with the others' help."""

    def __init__(self, make_recoverer: Callable[[], Recoverers] | None, helpers: Helpers) -> None:
        self._make_recoverer, self._helpers = make_recoverer, helpers
        self._worker: _Worker | None = None

    def run(self, row: Sequence[Task]) -> Iterator[TaskResult]:
        """As `_Worker.run`, when the first result is asked for."""
        if self._worker is None:
            self._worker = _Worker(_keyring_of(self._make_recoverer), self._helpers)
        yield from self._worker.run(row)


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
        if (done.bounded, done.too_far) == (self._bounded, self._too_far):
            return done
        return replace(done, bounded=self._bounded, too_far=self._too_far)


class _Worker:
    """What each process keeps: its own page, its own connection to the backend, and how much it has read."""

    own: ClassVar[_Worker]

    def __init__(self, keyring: Keyring | None, helpers: Helpers | None = None) -> None:
        self._keyring, self._helpers = keyring, helpers
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

    def forget_reading(self) -> None:
        """Count from nothing again."""
        self._stem, self._asked = "", 0

    def _run(self, task: Task) -> TaskResult:
        part = task.part
        before = self._asked if self._stem == part.segment.stem else 0
        try:
            content = SealedEntries(part.log, part.sealed, task.reading, last=part.last, asked=before)
            try:
                results = tuple(
                    check_epoch(part, epoch, content, self._keyring, helpers=self._helpers)
                    for epoch in task.epochs
                )
                end = content.end() if task.last else None
                self._stem, self._asked = part.segment.stem, content.asked
                return TaskResult(
                    task, results, end, content.asked - before, content.size, content.bounded, content.too_far
                )
            finally:
                content.close()
        except GoneError:
            return TaskResult(task, gone=True)


def _prepare_worker(make_recoverer: Callable[[], Recoverers] | None, page: SecretPage | None) -> None:
    # Only in a process of our own: hardening lowers limits for good, and whether the calling process bears
    # that is for its owner to say.
    harden_process()
    _Worker.own = _Worker(_keyring_of(make_recoverer))
    use_page(page)


def _keyring_of(make_recoverer: Callable[[], Recoverers] | None) -> Keyring | None:
    return Keyring(make_recoverer()) if make_recoverer is not None else None


def _run_in_worker(tasks: Sequence[Task]) -> list[TaskResult]:
    return _run_by(_Worker.own, tasks)


def worker_for(
    make_recoverer: Callable[[], Recoverers] | None,
) -> Callable[[Sequence[Task]], list[TaskResult]]:
    """What checks tasks in a thread of a process that is not ours to harden.

    Raises:
        ConfigError, Denied, Unavailable, BackendError: the keys cannot be used here.
    """
    return partial(_run_anew, _Worker(_keyring_of(make_recoverer)))


def _run_anew(worker: _Worker, tasks: Sequence[Task]) -> list[TaskResult]:
    # It outlives a verification: what it read of a segment of this name before was for another one.
    worker.forget_reading()
    return _run_by(worker, tasks)


def _run_by(worker: _Worker, tasks: Sequence[Task]) -> list[TaskResult]:
    # Who gave the tasks has them already.
    return [replace(done, task=replace(done.task, epochs=())) for done in worker.run(tasks)]
