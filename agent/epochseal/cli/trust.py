"""`epochseal trust`: pin a log's keys, its id and the largest checkpoint seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.options import DURATION, LOGDIR, ORIGIN, TRUST, Parsed, recovering_option
from epochseal.errors import ConfigError
from epochseal.exit_statuses import VERIFIED
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.evidence.trust_file import Trust
    from epochseal.keys import PublicKey
    from epochseal.verifier import Examination, Pins


def _parse_reason(text: str) -> str:
    from epochseal.evidence.trust_file import check_reason

    return check_reason(text)


@click.command()
@click.argument("logdir", type=LOGDIR)
@click.option("-o", "--output", type=TRUST, required=True, metavar="FILE", help="The trust file.")
@recovering_option
@click.option("--checkpoint-key", metavar="URI|FILE", help="Public checkpoint key: a key URI or a vkey file.")
@click.option("--origin", type=ORIGIN, help="The origin that the log must have.")
@click.option(
    "--max-age", type=DURATION, help="How old the end of an open log may be. [default: 3 heartbeats]"
)
@click.option(
    "--accept-cold",
    type=click.IntRange(1),
    multiple=True,
    metavar="EPOCH",
    help="Accept that this epoch began cold; may be repeated.",
)
@click.option("--accept-key", multiple=True, metavar="ID", help="Accept this epoch key too; may be repeated.")
@click.option("--reason", type=Parsed("reason", _parse_reason), help="Why; kept in the file.")
@click.pass_context
def trust(
    ctx: click.Context,
    logdir: Path,
    output: Path,
    epoch_key: tuple[KeyURI, ...],
    checkpoint_key: str | None,
    origin: str | None,
    max_age: int | None,
    accept_cold: tuple[int, ...],
    accept_key: tuple[str, ...],
    reason: str | None,
) -> int:
    """Verify a log and write down what it is trusted for: `verify --trust` holds later states against it.

    Pinned are the origin, the log's id, its epoch keys, the checkpoint key, and the largest signed
    checkpoint. Keep the file where nobody who can write to the log can write. It is made once. After a cold
    start that has been looked into, or a rotation of the epoch key, the same command accepts that with a
    reason. Nothing is written unless the log is verified then.

    \b
    Example:
      epochseal trust logs -o payments.trust --checkpoint-key file:keys/auditor
      epochseal trust logs -o payments.trust --accept-cold 7 --reason "power cut on 3 May, nothing was lost"

    Exit status: that of `epochseal verify`.
    """
    if bool(accept_cold or accept_key) != (reason is not None):
        raise click.UsageError("--accept-cold, --accept-key and --reason\ngo together", ctx)
    from epochseal.api.given_keys import one_origin, read_checkpoint_key, recoverer_maker
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.show import show_verdict
    from epochseal.evidence.trust_file import read_trust
    from epochseal.verifier import Request, examine
    from epochseal.verifier.workers import default_jobs

    named_origin, public_key = read_checkpoint_key(checkpoint_key)
    known = read_trust(output) if output.exists() else None
    if known is not None and reason is None:
        raise ConfigError(
            f"{output} exists already, and what it pins is never replaced",
            "verify --trust moves it forward; --accept-cold and --accept-key add to it",
        )
    if known is None and public_key is None:
        raise click.UsageError("no key was given\nname the log's --checkpoint-key", ctx)
    asked = one_origin(
        origin, {"checkpoint key": named_origin, "trust file": known.key.name if known else None}
    )
    cold = dict.fromkeys(accept_cold, reason or "")
    keys = dict.fromkeys(accept_key, reason or "")
    with progress_bar(logdir.resolve().name) as progress:
        found = examine(
            logdir,
            Request(
                make_recoverer=recoverer_maker(epoch_key) if epoch_key else None,
                checkpoint_key=public_key,
                origin=asked,
                pins=_pins(known, asked, public_key, cold, keys),
                max_age=max_age,
                jobs=default_jobs(logdir),
                progress=progress,
            ),
        )
    show_verdict(logdir, found.verdict, as_json=False)
    if found.verdict.verdict != "verified":
        click.echo(f"epochseal: {output} was not written: the log is {found.verdict.verdict}", err=True)
        return found.verdict.exit_status
    _check_accepted(found, accept_cold, accept_key)
    written = _write(output, known, public_key, found, cold, keys)
    click.echo(
        f"epochseal: {output} pins log {found.verdict.log} of {written.key.name}, "
        f"{written.checkpoint.size:,} lines seen",
        err=True,
    )
    return VERIFIED


def _pins(
    known: Trust | None,
    origin: str | None,
    key: PublicKey | None,
    cold: Mapping[int, str],
    keys: Mapping[str, str],
) -> Pins | None:
    from epochseal.evidence.trust_file import accept
    from epochseal.verifier import Pins

    if known is not None:
        return accept(known, cold=cold, epoch_keys=keys).pins()
    # This is the first look at the log: only its key, and what the operator accepts, can be asked of it.
    return Pins(checkpoint_key=key, origin=origin, cold=cold) if key is not None else None


def _check_accepted(found: Examination, cold: Collection[int], keys: Collection[str]) -> None:
    """Refuse to write down what is not in the log: whoever mistyped a number must hear of it."""
    began = {item.epoch for item in found.verdict.warnings if item.kind == "cold_accepted"}
    if wrong := sorted(set(cold) - began):
        raise ConfigError(
            f"epoch {wrong[0]} of this log is no cold start", "epochseal verify names the epochs that are"
        )
    if strange := sorted(set(keys) - found.epoch_keys.keys()):
        raise ConfigError(
            f"no epoch of this log has the key {strange[0]}", "epochseal inspect lists the keys of a log"
        )


def _write(
    output: Path,
    known: Trust | None,
    key: PublicKey | None,
    found: Examination,
    cold: Mapping[int, str],
    keys: Mapping[str, str],
) -> Trust:
    from epochseal.evidence.trust_file import accept, first_trust, move_forward, write_trust
    from epochseal.format.note import VerifierKey

    if known is not None:
        return move_forward(output, accept(known, cold=cold, epoch_keys=keys), found)
    if key is None:
        raise ConfigError("no checkpoint key was named")
    signer = found.signer or VerifierKey(found.verdict.origin, key)
    first = accept(first_trust(signer, found), cold=cold, epoch_keys=keys)
    write_trust(output, first)
    return first
