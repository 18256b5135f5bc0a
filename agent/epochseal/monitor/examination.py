"""One examination of one log: what it is asked with, and what it found; run in a child process."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from epochseal.api.given_keys import LogKeys
from epochseal.api.verification import request_for
from epochseal.errors import EpochsealError
from epochseal.evidence.known_logs import KnownLogs
from epochseal.monitor.counted_recovery import CountedRecovery
from epochseal.monitor.cpu_share import CpuShare
from epochseal.monitor.stamps import rows_of
from epochseal.storage.archive_path import parse_log_place
from epochseal.storage.durable import replace_file
from epochseal.storage.own_files import OWN_MODE
from epochseal.verifier import EpochMark, ResumeMisfitError, ResumePoint, Verdict

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to examine.

    Args:
        place: the log's directory, an absolute path.
        memory: the folder in which the monitor remembers logs.
        page: where a verification of the whole log writes the page about it; None: nowhere.
        log: the id that the log must have, 32 bytes.
        max_age: as `verify --max-age`, in ms.
        since: where to begin; None: the whole log.
        marks: what was verified behind that already, as an earlier outcome has it.
        share: of one core, at most, over the time that it takes; 1.0 for as fast as it goes.
    """

    place: str
    keys: LogKeys
    memory: Path
    page: Path | None = None
    log: bytes | None = None
    max_age: int | None = None
    since: ResumePoint | None = None
    marks: bytes = b""
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found. Exactly one of `verdict`, `misfit` and `error` says something.

    Attributes:
        whole: whether the whole log was verified; else what stands behind a resume point.
        started: when the log was looked at, in ms.
        seconds: how long it took.
        resume: where the next one may begin; None: at the beginning.
        marks: what it need not verify behind that, pickled: the monitor only keeps it.
        misfit: why the log could not be verified from where it was to begin.
        rows: the stamps (`rows_of`) of the files that were to be read, from just before that.
        recovered: epoch secrets that the key backend was asked for.
        error: why nothing can be said of the log, with its hint: a backend, a disk, a wrong key.
    """

    whole: bool
    started: int
    seconds: float
    verdict: Verdict | None = None
    resume: ResumePoint | None = None
    marks: bytes = b""
    rows: dict[str, int] = field(default_factory=dict)
    recovered: int = 0
    misfit: str = ""
    error: str = ""
    hint: str = ""


def examine_log(job: Job, progress: Progress) -> Outcome:
    """Verify the log of a job against what is remembered of it, and remember it; raises nothing expected."""
    started, begun = time.time_ns() // 1_000_000, time.monotonic()
    share = CpuShare(job.share)

    def after_segment(done: int, total: int) -> None:
        progress(done, total)
        share.rest()

    # Before they are read: what is changed from now on has another stamp than what was verified.
    rows = rows_of(job.place, job.since.segment if job.since is not None else 0)
    found: dict[str, str] = {}
    recovery = CountedRecovery()
    verdict, resume = None, None
    marks = b""
    try:
        request = request_for(
            job.keys, trusted=None, log=job.log, max_age=job.max_age, strict=False, policy=None
        )
        # The bytes are those of an outcome, and have never left this program's processes.
        known: tuple[EpochMark, ...] = pickle.loads(job.marks) if job.marks else ()  # noqa: S301  # as it says above
        request = replace(request, since=job.since, marks=known, progress=after_segment)
        if request.make_recoverer is not None:
            request = replace(request, make_recoverer=recovery.over(request.make_recoverer))
        remembered = KnownLogs(job.memory).examine(parse_log_place(job.place), request)
        verdict = remembered.found.verdict
        # A point is of use only beside a memory that has moved there.
        if verdict.verdict == "verified" and not any(
            item.kind == "not_remembered" for item in verdict.warnings
        ):
            resume = remembered.found.resume
            # A closed log is not read again soon.
            marks = b"" if verdict.closed else pickle.dumps(remembered.found.marks)
        if job.since is None and job.page is not None:
            _write_page(job.page, parse_log_place(job.place), verdict, started)
    except ResumeMisfitError as exc:
        found["misfit"] = str(exc)
    except EpochsealError as exc:
        found |= {"error": f"{exc}", "hint": exc.hint or ""}
    except OSError as exc:
        found["error"] = f"{exc.filename or 'input or output'}: {exc.strerror or exc}"
    return Outcome(
        whole=job.since is None,
        started=started,
        seconds=time.monotonic() - begun,
        verdict=verdict,
        resume=resume,
        marks=marks,
        rows=rows,
        recovered=recovery.secrets,
        **found,
    )


def _write_page(path: Path, logdir: Path, verdict: Verdict, now: int) -> None:
    """The page of `verify --report`; a log that cannot be read for it, or changes, has the one before."""
    try:
        from epochseal.report.page import Subject, render_report  # noqa: PLC0415  # its library is an extra
    except ImportError:
        return
    with suppress(EpochsealError):
        replace_file(path, render_report([Subject(logdir, verdict, ("monitor",))], now), OWN_MODE)
