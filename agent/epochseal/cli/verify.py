"""`epochseal verify`: check logs, with keys or with a public key alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.options import DURATION, LOGDIR, ORIGIN, TRUST, recovering_option
from epochseal.errors import EpochsealError
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.evidence.trust_file import Trust
    from epochseal.verifier import Examination, Verdict


@click.command()
@click.argument("logdirs", metavar="LOGDIR…", type=LOGDIR, nargs=-1, required=True)
@recovering_option
@click.option("--checkpoint-key", metavar="URI|FILE", help="Public checkpoint key: a key URI or a vkey file.")
@click.option(
    "--trust", "trust_file", type=TRUST, metavar="FILE", help="What earlier verifications have seen."
)
@click.option("--origin", type=ORIGIN, help="The origin that the log must have.")
@click.option(
    "--max-age", type=DURATION, help="How old the end of an open log may be. [default: 3 heartbeats]"
)
@click.option("--strict", is_flag=True, help="Treat a close and reopen as incomplete.")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Processes. [default: all cores for large logs]"
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
    epoch_key: tuple[KeyURI, ...],
    checkpoint_key: str | None,
    trust_file: Path | None,
    origin: str | None,
    max_age: int | None,
    strict: bool,
    jobs: int | None,
    as_json: bool,
    policy: Path | None,
    report: Path | None,
) -> int:
    """Check sealed logs: every entry, every link, every signed checkpoint.

    With --epoch-key everything is checked. With --checkpoint-key alone, what a public key can show. With
    --trust the log is also held against what `epochseal trust` and earlier verifications have seen; the file
    brings the checkpoint key, and a log that is verified moves it forward.

    \b
    Example:
      epochseal verify logs --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
      epochseal verify logs --epoch-key file:keys/verifier --trust payments.trust

    Exit status: 0 verified, 1 tampered, 2 usage, 3 incomplete, 4 untrusted or unknown key, 5 nothing to
    verify, 6 backend or disk.
    """
    if not epoch_key and checkpoint_key is None and trust_file is None:
        raise click.UsageError("no key was given\nname --epoch-key, --checkpoint-key or --trust", ctx)
    if trust_file is not None and len(logdirs) > 1:
        raise click.UsageError("a trust file is of one log\nverify each log by itself", ctx)
    from epochseal.api.verification import request_for
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.report import ReportFile
    from epochseal.cli.show import show_verdict
    from epochseal.evidence.trust_file import read_trust
    from epochseal.verifier import examine
    from epochseal.verifier.verdict import EXIT_STATUS, gravest
    from epochseal.verifier.workers import default_jobs

    trust = read_trust(trust_file) if trust_file is not None else None
    request = request_for(
        epoch_keys=epoch_key,
        checkpoint_key=checkpoint_key,
        trust=trust,
        origin=origin,
        max_age=max_age,
        strict=strict,
        policy=policy,
    )
    page = ReportFile(report, logdirs) if report is not None else None
    verdicts: list[Verdict] = []
    for logdir in logdirs:
        with progress_bar(logdir.resolve().name) as progress:
            found = examine(logdir, replace(request, jobs=jobs or default_jobs(logdir), progress=progress))
        verdicts.append(found.verdict)
        failed = _move(trust_file, trust, found) if trust_file is not None and trust is not None else None
        show_verdict(logdir, found.verdict, as_json=as_json)
        if failed is not None:
            raise failed
    if page is not None:
        page.write(verdicts, epoch_key, checkpoint_key, request.origin)
    return EXIT_STATUS[gravest(verdict.verdict for verdict in verdicts)]


def _move(path: Path, trust: Trust, found: Examination) -> EpochsealError | None:
    """Move a trust file forward; what kept it from it is raised once the verdict has been shown."""
    from epochseal.evidence.trust_file import move_or_withdraw

    try:
        now = move_or_withdraw(path, trust, found)
    except EpochsealError as exc:
        return exc
    if now is not None:
        click.echo(f"epochseal: {path}: {now.checkpoint.size:,} lines of {now.key.name} seen", err=True)
    return None
