"""`epochseal verify`: check logs, with keys or with a public key alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.exits import UNTRUSTED
from epochseal.cli.options import DURATION, LOGDIR, ORIGIN, TRUST, recovering_option
from epochseal.errors import ConfigError, EpochsealError, VerificationError
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.evidence.trust_file import Trust
    from epochseal.keys import PublicKey, Recoverer
    from epochseal.verifier import Examination, Verdict

_PARALLEL_FROM = 64 << 20


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
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.report import ReportFile
    from epochseal.cli.show import show_verdict
    from epochseal.evidence.trust_file import read_trust
    from epochseal.format.witness_policy import parse_policy
    from epochseal.verifier import Request, examine

    trust = read_trust(trust_file) if trust_file is not None else None
    named_origin, public_key = read_checkpoint_key(checkpoint_key)
    origin = one_origin(
        origin, {"checkpoint key": named_origin, "trust file": trust.key.name if trust else None}
    )
    page = ReportFile(report, logdirs) if report is not None else None
    quorum = parse_policy(policy.read_bytes()) if policy is not None else None
    verdicts: list[Verdict] = []
    for logdir in logdirs:
        with progress_bar(logdir.resolve().name) as progress:
            request = Request(
                make_recoverer=recoverer_maker(epoch_key) if epoch_key else None,
                checkpoint_key=public_key,
                origin=origin,
                pins=trust.pins() if trust is not None else None,
                max_age=max_age,
                strict=strict,
                policy=quorum,
                jobs=jobs or default_jobs(logdir),
                progress=progress,
            )
            found = examine(logdir, request)
        verdicts.append(found.verdict)
        failed = _move(trust_file, trust, found) if trust_file is not None and trust is not None else None
        show_verdict(logdir, found.verdict, as_json=as_json)
        if failed is not None:
            raise failed
    if page is not None:
        page.write(verdicts, epoch_key, checkpoint_key, origin)
    return worst([verdict.exit_status for verdict in verdicts])


def _move(path: Path, trust: Trust, found: Examination) -> EpochsealError | None:
    """Move a trust file forward; what kept it from it is raised once the verdict has been shown."""
    if found.verdict.verdict != "verified":
        return None
    from epochseal.evidence.trust_file import move_forward
    from epochseal.verifier.verdict import withdraw

    try:
        now = move_forward(path, trust, found)
    except VerificationError as exc:
        withdraw(found.verdict, "forked", str(exc))
    except EpochsealError as exc:
        return exc
    else:
        click.echo(f"epochseal: {path}: {now.checkpoint.size:,} lines of {now.key.name} seen", err=True)
    return None


def one_origin(origin: str | None, named: dict[str, str | None]) -> str | None:
    """The origin that was asked for, by option, key file or trust file.

    Raises:
        ConfigError: two of them differ.
    """
    for what, other in named.items():
        if other is not None and origin not in (None, other):
            raise ConfigError(f"the {what} is for origin {other!r}, {origin!r} is asked for")
        origin = origin or other
    return origin


def worst(statuses: list[int]) -> int:
    """Of several logs the gravest status: tampered, untrusted, incomplete, empty, verified."""
    return next((status for status in (1, UNTRUSTED, 3, 5) if status in statuses), 0)


def recoverer_maker(uris: tuple[KeyURI, ...]) -> _RecovererMaker:
    """What makes recoverers of these keys in each process; this one is hardened before it has a key."""
    from epochseal.custody.memory import harden_process

    harden_process()
    maker = _RecovererMaker(uris)
    maker()  # so that a wrong URI or folder is an error of its own before anything is read
    return maker


class _RecovererMaker:
    """Makes recoverers in each process that needs some."""

    def __init__(self, uris: tuple[KeyURI, ...]) -> None:
        from epochseal.config.environment import settings_from_environment
        from epochseal.keys import settings_of

        self._keys = [(uri, settings_of(uri, settings_from_environment(uri))) for uri in uris]

    def __call__(self) -> list[Recoverer]:
        from epochseal.keys import load_backend

        return [load_backend(uri).recoverer(uri, settings) for uri, settings in self._keys]


def read_checkpoint_key(text: str | None) -> tuple[str | None, PublicKey | None]:
    """The public key, and the origin that a vkey file names with it."""
    if text is None:
        return None, None
    from epochseal.config.environment import settings_from_environment
    from epochseal.format.note import parse_vkey
    from epochseal.keys import load_backend, parse_key_uri, settings_of

    path = Path(text)
    if path.is_file():
        key = parse_vkey(path.read_text(encoding="utf-8").strip())
        return key.name, key.key
    if ":" not in text:
        raise ConfigError(
            f"there is no file {text}", "name a vkey file, or a key URI such as file:keys/auditor"
        )
    uri = parse_key_uri(text)
    settings = settings_of(uri, settings_from_environment(uri))
    return None, load_backend(uri).public_key(uri, settings)


def default_jobs(logdir: Path) -> int:
    """How many processes a log is worth: all cores for a large one."""
    size = sum(path.stat().st_size for path in (logdir / "segments").glob("*.log*"))
    return len(os.sched_getaffinity(0)) if size > _PARALLEL_FROM else 1
