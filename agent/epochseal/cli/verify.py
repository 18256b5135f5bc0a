"""`epochseal verify`: check logs, with keys or with a public key alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from epochseal.cli.error_messages import Misuse, status_of, tell
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import DURATION, LOG_PLACE, TRUST, archive_option, log_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from epochseal.cli.report import ReportFile
    from epochseal.evidence.log_memory import Memory
    from epochseal.storage.archive_path import ArchivePath
    from epochseal.verifier import Request, Verdict

_NO_TRUST = "none"


@click.command()
@click.argument("logdirs", metavar="LOGDIR…", type=LOG_PLACE, nargs=-1)
@key_options("epoch_key", "checkpoint_key", "origin")
@click.option(
    "--trust",
    type=TRUST,
    metavar="FILE|none",
    help="Another memory than your own of known logs; none: remember nothing.",
)
@log_option
@click.option(
    "--max-age", type=DURATION, help="How old the end of an open log may be. [default: 3 heartbeats]"
)
@click.option(
    "--strict", is_flag=True, help="Treat a change of the epoch key without its line as incomplete."
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Processes. [default: all cores for large logs]"
)
@archive_option
@click.option(
    "--scheduler", metavar="URL", help="Check on a Dask cluster, as tcp://HOST:8786, instead of here."
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Witnesses that must have cosigned (a C2SP tlog-policy file).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each log.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write one page for people: verdict, timeline, damaged ranges.",
)
@click.pass_context
def verify(
    ctx: click.Context,
    logdirs: tuple[Path, ...],
    keys: KeyOptions,
    trust: Path | None,
    log: bytes | None,
    max_age: int | None,
    strict: bool,
    jobs: int | None,
    as_json: bool,
    archive: ArchivePath | None,
    scheduler: str | None,
    policy: Path | None,
    report: Path | None,
) -> int:
    """Check sealed logs: every entry, every link, every signed checkpoint.

    With --epoch-key everything is checked. With --checkpoint-key alone, what a public key can show. What was
    verified is remembered, and the next time the log is held against it: by default in a folder of yours,
    with --trust in a file that brings the checkpoint key. A log that is verified moves the memory forward.
    LOGDIR is a directory or an archive (s3://BUCKET/PREFIX); with --archive a directory whose past is there.
    With --config the keys are those of the log in that file, and the login is that of its [verifier]; with no
    LOGDIR every log of the file is verified where the file has it.

    \b
    Example:
      epochseal verify logs --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
      epochseal verify logs --epoch-key file:keys/verifier --trust payments.trust
      epochseal verify --config epochseal.toml --env prod

    Exit status: 0 verified, 1 tampered, 2 usage, 3 incomplete, 4 untrusted or unknown key, 5 nothing to
    verify, 6 backend or disk.
    """
    trust_file = trust if trust is not None and str(trust) != _NO_TRUST else None
    if not logdirs and keys.config is None:
        raise Misuse("no log was named", "name its directory, or the --config that has it", ctx)
    if not keys.any_key and trust_file is None:
        hint = "name --epoch-key, --checkpoint-key, --config or --trust FILE"
        raise Misuse("no key was given", hint, ctx)
    logdirs = logdirs or tuple(log.dir for log in keys.logs())
    if (trust_file is not None or log is not None or archive is not None) and len(logdirs) > 1:
        raise Misuse(
            "a trust file, a --log and an --archive are of one log", "verify each log by itself", ctx
        )
    if scheduler is not None and jobs is not None:
        raise Misuse("--scheduler and --jobs exclude each other", "a cluster has as many as it has", ctx)
    from epochseal.api.verification import request_for
    from epochseal.cli.console import print_notice
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.report import ReportFile
    from epochseal.cli.show import show_verdict
    from epochseal.evidence.log_memory import TrustFile
    from epochseal.storage.segments import log_name
    from epochseal.verifier.verdict import EXIT_STATUS, gravest
    from epochseal.verifier.workers import default_jobs

    memory = _memory(trust)
    # All of them first, so that a wrong key of the last log is told before the first one is read.
    requests: list[Request] = []
    named = [keys.of_log(logdir) for logdir in logdirs]
    for place, of_log in enumerate(named):
        if (same := named.index(of_log)) < place:
            requests.append(requests[same])
            continue
        request = request_for(
            of_log,
            trusted=memory.trust.key.name if isinstance(memory, TrustFile) else None,
            log=log,
            max_age=max_age,
            strict=strict,
            policy=policy,
        )
        requests.append(request)
    page = ReportFile(report, logdirs) if report is not None else None
    verdicts: list[Verdict] = []
    for logdir, request in zip(logdirs, requests, strict=True):
        with progress_bar(log_name(logdir)) as progress:
            asked = replace(
                request,
                jobs=jobs or default_jobs(logdir),
                archive=archive,
                scheduler=scheduler,
                progress=progress,
            )
            # A worker has another directory than this process.
            there = logdir if scheduler is None or "://" in str(logdir) else logdir.absolute()
            remembered = memory.examine(there, asked)
        verdict = remembered.found.verdict
        verdicts.append(verdict)
        show_verdict(logdir, verdict, as_json=as_json)
        if remembered.failure is not None:
            raise remembered.failure
        if remembered.told:
            print_notice(f"remembered: {remembered.told}")
    status = EXIT_STATUS[gravest(verdict.verdict for verdict in verdicts)]
    return status if page is None else _write_page(page, verdicts, requests, status)


def _write_page(
    page: ReportFile, verdicts: Sequence[Verdict], requests: Sequence[Request], status: int
) -> int:
    """Write it, and give the status to end with: that of the verdicts, if nothing graver happens."""
    from epochseal.storage.settling import UnsettledError

    try:
        page.write(verdicts, requests)
    except UnsettledError as exc:
        return tell(exc, status or status_of(exc))
    return status


def _memory(trust: Path | None) -> Memory:
    """What the logs are held against, and what remembers them."""
    from epochseal.evidence.known_logs import own_memory
    from epochseal.evidence.log_memory import NoMemory, TrustFile

    if trust is None:
        return own_memory()
    if str(trust) == _NO_TRUST:
        return NoMemory(
            "--trust none: a log that was cut back to an earlier close, or made anew by whoever holds the "
            "agent's credential, looks like this one"
        )
    return TrustFile(trust)
