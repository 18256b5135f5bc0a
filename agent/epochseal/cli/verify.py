"""`epochseal verify`: check logs, with keys or with a public key alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.error_messages import Misuse
from epochseal.cli.options import DURATION, LOGDIR, ORIGIN, TRUST, log_option, recovering_option
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.evidence.log_memory import Memory
    from epochseal.verifier import Verdict

_NO_TRUST = "none"


@click.command()
@click.argument("logdirs", metavar="LOGDIR…", type=LOGDIR, nargs=-1, required=True)
@recovering_option
@click.option("--checkpoint-key", metavar="URI|FILE", help="Public checkpoint key: a key URI or a vkey file.")
@click.option(
    "--trust",
    type=TRUST,
    metavar="FILE|none",
    help="Another memory than your own of known logs; none: remember nothing.",
)
@click.option("--origin", type=ORIGIN, help="The origin that the log must have.")
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
    trust: Path | None,
    origin: str | None,
    log: bytes | None,
    max_age: int | None,
    strict: bool,
    jobs: int | None,
    as_json: bool,
    policy: Path | None,
    report: Path | None,
) -> int:
    """Check sealed logs: every entry, every link, every signed checkpoint.

    With --epoch-key everything is checked. With --checkpoint-key alone, what a public key can show. What was
    verified is remembered, and the next time the log is held against it: by default in a folder of yours,
    with --trust in a file that brings the checkpoint key. A log that is verified moves the memory forward.

    \b
    Example:
      epochseal verify logs --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
      epochseal verify logs --epoch-key file:keys/verifier --trust payments.trust

    Exit status: 0 verified, 1 tampered, 2 usage, 3 incomplete, 4 untrusted or unknown key, 5 nothing to
    verify, 6 backend or disk.
    """
    trust_file = trust if trust is not None and str(trust) != _NO_TRUST else None
    if not epoch_key and checkpoint_key is None and trust_file is None:
        raise Misuse("no key was given", "name --epoch-key, --checkpoint-key or --trust FILE", ctx)
    if (trust_file is not None or log is not None) and len(logdirs) > 1:
        raise Misuse("a trust file and a --log are of one log", "verify each log by itself", ctx)
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
    request = request_for(
        epoch_keys=epoch_key,
        checkpoint_key=checkpoint_key,
        trusted=memory.trust.key.name if isinstance(memory, TrustFile) else None,
        origin=origin,
        log=log,
        max_age=max_age,
        strict=strict,
        policy=policy,
    )
    page = ReportFile(report, logdirs) if report is not None else None
    verdicts: list[Verdict] = []
    for logdir in logdirs:
        with progress_bar(log_name(logdir)) as progress:
            asked = replace(request, jobs=jobs or default_jobs(logdir), progress=progress)
            remembered = memory.examine(logdir, asked)
        verdict = remembered.found.verdict
        verdicts.append(verdict)
        show_verdict(logdir, verdict, as_json=as_json)
        if remembered.failure is not None:
            raise remembered.failure
        if remembered.told:
            print_notice(f"remembered: {remembered.told}")
    if page is not None:
        page.write(verdicts, epoch_key, checkpoint_key, request.origin)
    return EXIT_STATUS[gravest(verdict.verdict for verdict in verdicts)]


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
