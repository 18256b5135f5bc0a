"""`epochseal cat`: the entries as the source sent them, only what verifies."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import click

from epochseal.cli.console import print_notice, write_data
from epochseal.cli.error_messages import Misuse
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import LOG_PLACE, log_option, raw_option
from epochseal.exit_statuses import EMPTY, INCOMPLETE, VERIFIED

_RANGE = re.compile(r"([0-9]{1,18})(?:\.\.([0-9]{1,18})?)?")


def _parse_range(ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 2**63
    match = _RANGE.fullmatch(text)
    if match is None:
        raise Misuse(f"{text!r} is not a range of entries", "write A..B, both from 0 and both included", ctx)
    first = int(match[1])
    last = int(match[2]) if match[2] else (2**63 if ".." in text else first)
    if last < first:
        raise Misuse(f"the range {text} ends before it begins", None, ctx)
    return first, last


@click.command()
@click.argument("logdir", type=LOG_PLACE)
@click.option(
    "--entries", metavar="A..B", callback=_parse_range, help="Entries from A to B, numbered from 0."
)
@key_options("epoch_key", "checkpoint_key", "origin")
@log_option
@click.option("--unverified", is_flag=True, help="Print the stored entries without any check.")
@raw_option
@click.pass_context
def cat(
    ctx: click.Context,
    logdir: Path,
    entries: tuple[int, int],
    keys: KeyOptions,
    log: bytes | None,
    unverified: bool,
    raw: bool,
) -> int:
    """Print the entries of a log as the source sent them: decompressed, unescaped, and only what verifies.

    To a terminal, characters that could steer it or cannot be seen are printed as escapes.

    \b
    Example:
      epochseal cat logs --entries 100..199 --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor

    Exit status: that of `epochseal verify`; what does not verify is left out and named on stderr. What
    expires while it is to be printed is named too, and the status is 3.
    """
    write = functools.partial(write_data, raw=raw)
    if unverified:
        from epochseal.evidence.extract import extract_unverified

        found, expired = extract_unverified(logdir, write, entries)
        if not found:
            print_notice(f"no sealed log is in {logdir}")
        return _status(VERIFIED if found else EMPTY, expired)
    of_log = keys.of_log(logdir)
    maker = of_log.recoverer_maker()
    if maker is None or of_log.checkpoint_key is None:
        what = "verified entries need --epoch-key and --checkpoint-key, or --config"
        raise Misuse(what, "or look anyway: --unverified", ctx)
    from epochseal.api.verification import request_for
    from epochseal.evidence.extract import extract
    from epochseal.verifier import KINDS, examine

    request = request_for(of_log, trusted=None, log=log, max_age=None, strict=False, policy=None)
    examined = examine(logdir, request)
    verdict = examined.verdict
    expired = extract(logdir, maker(), verdict, write, entries, present=examined.first_entry)
    if verdict.verdict == "empty":
        print_notice(f"nothing to verify: no sealed log is in {logdir}")
    for problem in verdict.problems:
        where = f"entries {problem.first_entry} to {problem.last_entry}"
        print_notice(f"{KINDS[problem.kind].grade}: {problem.kind}: {where}: {problem.detail}")
    return _status(verdict.exit_status, expired)


def _status(status: int, expired: list[tuple[int, int]]) -> int:
    """Name the entries that were gone before they could be printed; the status to end with."""
    for first, last in expired:
        print_notice(f"incomplete: entries {first} to {last} expired while they were to be printed")
    return INCOMPLETE if expired and status == VERIFIED else status
