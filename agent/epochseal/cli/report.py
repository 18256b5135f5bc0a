"""`--report` of `verify` and `reconcile`: where the page goes, and what it needs, known beforehand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from epochseal.errors import ConfigError

if TYPE_CHECKING:
    from epochseal.trail import Reconciliation
    from epochseal.verifier import Request, Verdict


class ReportFile:
    """The page of one run.

    Raises:
        ConfigError: it cannot be written there, or the library that fills the page is not installed; known
            before anything is verified.
    """

    def __init__(self, path: Path, logdirs: Sequence[Path]) -> None:
        check_report(path)
        self._path = path
        self._logdirs = logdirs

    def write(self, verdicts: Sequence[Verdict], requests: Sequence[Request]) -> None:
        """Render and replace the file as a whole.

        Raises:
            StorageError: a log cannot be read, or the file not be written.
        """
        from epochseal.report import Subject, render_report
        from epochseal.storage.durable import replace_file
        from epochseal.storage.segments import log_name

        subjects = [
            Subject(
                logdir,
                verdict,
                (f"epochseal verify {log_name(logdir)}", *_key_options(request), *_log_option(verdict)),
            )
            for logdir, verdict, request in zip(self._logdirs, verdicts, requests, strict=True)
        ]
        replace_file(self._path, render_report(subjects, time.time_ns() // 1_000_000))


def _key_options(request: Request) -> list[str]:
    """Without the URI of a key, because the reader has other keys and the URI may be confidential."""
    options = ["--epoch-key URI"] if request.make_recoverer is not None else []
    options += ["--checkpoint-key URI"] if request.checkpoint_key is not None else []
    return options + ([f"--origin {request.origin}"] if request.origin is not None else [])


def _log_option(verdict: Verdict) -> list[str]:
    """The id for the reader to ask for, where it proves something: while the log's first line is there."""
    expired = {"pruned", "prefix_missing"} & {item.kind for item in (*verdict.warnings, *verdict.problems)}
    return [f"--log {verdict.log}"] if verdict.log and not expired else []


class TrailReportFile:
    """The page of one comparison with a trail.

    Raises:
        ConfigError: as `ReportFile`.
    """

    def __init__(self, path: Path) -> None:
        check_report(path)
        self._path = path

    def write(self, logdir: Path, result: Reconciliation) -> None:
        """Render and replace the file as a whole.

        Raises:
            StorageError: the file cannot be written.
        """
        from epochseal.report import render_trail_report
        from epochseal.storage.durable import replace_file
        from epochseal.storage.segments import log_name

        replace_file(self._path, render_trail_report(log_name(logdir), result, time.time_ns() // 1_000_000))


def check_report(path: Path) -> None:
    """Refuse a page that could not be made, before the work begins.

    Raises:
        ConfigError: it cannot be written there, or the library that fills it is not installed.
    """
    try:
        import jinja2  # noqa: F401  # only whether it is there
    except ImportError as exc:
        raise ConfigError("--report needs jinja2", "in a checkout: pip install '.[report]'") from exc
    if not path.parent.is_dir():
        raise ConfigError(f"there is no directory {path.parent}", "make it, or name another --report")
