"""`epochseal reconcile`: the log against the audit trail of its key backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import Styled, print_json, print_line
from epochseal.cli.error_messages import Misuse
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import LOG_PLACE
from epochseal.cli.tables import print_table
from epochseal.errors import ConfigError

if TYPE_CHECKING:
    from epochseal.api.given_keys import LogKeys
    from epochseal.trail import Reconciliation, TrailFinding

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_COLORS = {"clean": "green", "contradiction": "red", "incomplete": "yellow", "empty": "yellow"}
_SHOWN = 50


@click.command()
@click.argument("logdir", type=LOG_PLACE)
@click.option(
    "--trail",
    type=_FILE,
    metavar="FILE…",
    multiple=True,
    required=True,
    help="Files of CloudTrail, or of a Vault or OpenBao audit device; gzipped or not.",
)
@click.argument("more", metavar="", type=_FILE, nargs=-1)
@click.option(
    "--signing-key", metavar="NAME", help="The checkpoint key as the trail names it. [default: any]"
)
@click.option(
    "--recovered-by",
    "recoverers",
    metavar="WHO",
    multiple=True,
    help="A caller that may recover secrets, as the trail names it. [default: all but the agent]",
)
@click.option(
    "--audit-hash", metavar="DEVICE", help="The audit device whose HMACs the trail has; needs --epoch-key."
)
@key_options("epoch_key")
@click.option(
    "--digest",
    "digests",
    type=_FILE,
    metavar="FILE",
    multiple=True,
    help="A digest file of CloudTrail; may be repeated. Needs --digest-key.",
)
@click.option(
    "--digest-key",
    type=_FILE,
    metavar="FILE",
    help="The public key that CloudTrail's digests are signed with.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write what was found as a page that needs nothing but itself.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def reconcile(
    ctx: click.Context,
    logdir: Path,
    trail: tuple[Path, ...],
    more: tuple[Path, ...],
    signing_key: str | None,
    recoverers: tuple[str, ...],
    audit_hash: str | None,
    keys: KeyOptions,
    digests: tuple[Path, ...],
    digest_key: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Hold a log against the trail of its key backend, one to one.

    Every secret that was issued must be in the log, and every epoch of the log must have been issued. This
    shows a log that was rolled back, forked or forged with stolen credentials; it does not look at entries
    and tags, which is what epochseal verify does.

    \b
    Example:
      epochseal reconcile logs --trail /var/log/openbao/audit.log*
      epochseal reconcile logs --trail trail/*.json.gz --digest digest.json.gz --digest-key region.pem

    Exit status: 0 clean, 1 the trail contradicts the log, 2 usage, 3 the trail is incomplete, or the
    log does not settle, 5 nothing to compare, 6 backend or disk.
    """
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.report import TrailReportFile
    from epochseal.storage.settling import read_settled
    from epochseal.trail import check_digests, read_digest_key, read_sealed, read_trail
    from epochseal.trail import reconcile as compare

    page = TrailReportFile(report) if report is not None else None
    if bool(digests) != (digest_key is not None):
        raise click.UsageError("--digest and --digest-key are given together or not at all", ctx)
    hash_of = None
    if audit_hash is not None:
        of_log = keys.of_log(logdir)
        if not of_log.epoch_keys:
            what = "--audit-hash needs --epoch-key, or --config"
            raise Misuse(what, "name the key whose server is asked", ctx)
        hash_of = _hasher(of_log, audit_hash)
    files = (*trail, *more)
    with progress_bar("trail") as progress:
        read = read_trail(files, progress)
    altered: Sequence[str] = ()
    if digest_key is not None:
        checked = check_digests(digests, files, read_digest_key(digest_key))
        altered = checked.altered
        read.gaps += checked.gaps
    result = read_settled(
        lambda: compare(
            read_sealed(logdir),
            read,
            signing_key=signing_key,
            recoverers=recoverers,
            hash_of=hash_of,
            altered=altered,
        )
    )
    if page is not None:
        page.write(logdir, result)
    if as_json:
        print_json(result)
    else:
        _show(logdir, result)
    return result.exit_status


def _hasher(keys: LogKeys, device: str) -> Callable[[str], str]:
    from epochseal.keys import load_backend

    key = keys.epoch_keys[-1]
    backend = load_backend(key)
    make = getattr(backend, "audit_hasher", None)
    if make is None:
        raise ConfigError(f"keys of {key.scheme}: have no audit device", "leave --audit-hash out")
    hasher: Callable[[str], str] = make(key, keys.settings_of(key), device)
    return hasher


def _show(logdir: Path, result: Reconciliation) -> None:
    from epochseal.encoding import format_time
    from epochseal.trail import KINDS, NOTES

    print_line(Styled(result.verdict.upper(), f"{_COLORS[result.verdict]} bold"), f"  {logdir}")
    if result.verdict == "empty":
        print_line("  nothing was compared: there is no epoch line, or no call that one of them quotes")
    print_line(f"  origin    {result.origin}  (log {result.log})")
    print_line(
        f"  epochs    {result.epochs:,} in the log, {result.matched:,} of them with their call in the trail"
    )
    print_line(f"  trail     {result.calls:,} issue calls of this log in {result.files:,} files")
    if result.files and result.last:
        print_line(f"  covered   {format_time(result.first)} to {format_time(result.last)}")
    _table("contradictions and gaps", result.problems, {kind: text for kind, (_, text) in KINDS.items()})
    _table("what else the trail says", result.notes, NOTES)
    print_line("  what the entries and their tags say is not looked at here: epochseal verify does that")


def _table(title: str, findings: list[TrailFinding], texts: dict[str, str]) -> None:
    from epochseal.encoding import format_time

    if not findings:
        return
    print_line()
    print_line(title)
    print_table(
        [
            (
                item.kind,
                str(item.epoch) if item.epoch >= 0 else "",
                format_time(item.time) if item.time else "",
                item.who,
                item.detail,
            )
            for item in findings[:_SHOWN]
        ],
        head=("what", "epoch", "time", "who", "detail"),
        right={1},
    )
    print_line()
    if len(findings) > _SHOWN:
        print_line(f"  … and {len(findings) - _SHOWN:,} more (--json has all)")
    for kind in dict.fromkeys(item.kind for item in findings):
        print_line(f"  {kind}: {texts[kind]}")
