"""`epochseal trust`: pin a log's keys, its id and the largest checkpoint seen; accept what has a reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_notice
from epochseal.cli.error_messages import Misuse
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import DURATION, LOG_PLACE, START, TRUST, Parsed, log_option
from epochseal.errors import ConfigError, FormatError
from epochseal.exit_statuses import VERIFIED

if TYPE_CHECKING:
    from epochseal.evidence.trust_file import Trust
    from epochseal.keys import PublicKey
    from epochseal.verifier import Examination, Pins


def _parse_reason(text: str) -> str:
    from epochseal.evidence.trust_file import check_reason

    return check_reason(text)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What a person accepts, each with the reason."""

    starts: dict[bytes, str]
    epoch_keys: dict[str, str]
    checkpoint_keys: dict[str, str]

    def added_to(self, trust: Trust) -> Trust:
        from epochseal.evidence.log_memory import accept

        return accept(
            trust, starts=self.starts, epoch_keys=self.epoch_keys, checkpoint_keys=self.checkpoint_keys
        )


@click.command()
@click.argument("logdir", type=LOG_PLACE)
@click.option(
    "-o", "--output", type=TRUST, metavar="FILE", help="The trust file. [default: your own known logs]"
)
@key_options("epoch_key", "checkpoint_key", "origin")
@log_option
@click.option(
    "--max-age", type=DURATION, help="How old the end of an open log may be. [default: 3 heartbeats]"
)
@click.option(
    "--accept-start",
    type=START,
    multiple=True,
    metavar="HASH",
    help="Accept the start that verify names with this hash; may be repeated.",
)
@click.option(
    "--accept-key",
    multiple=True,
    metavar="ID|VKEY",
    help="Accept this epoch key, or this later checkpoint key, too; may be repeated.",
)
@click.option("--reason", type=Parsed("reason", _parse_reason), help="Why; kept with what is accepted.")
@click.pass_context
def trust(
    ctx: click.Context,
    logdir: Path,
    output: Path | None,
    keys: KeyOptions,
    log: bytes | None,
    max_age: int | None,
    accept_start: tuple[bytes, ...],
    accept_key: tuple[str, ...],
    reason: str | None,
) -> int:
    """Verify a log and write down what it is trusted for: later states are held against that.

    Pinned are the origin, the log's id, its keys, the largest signed checkpoint, and what the log promises to
    keep. Keep the file where nobody who can write to the log can write. It is made once. After a cold start,
    a restored backup or a rotation that has been looked into, the same command accepts that with a reason.
    Nothing is written unless the log is verified then.

    \b
    Example:
      epochseal trust logs -o payments.trust --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
      epochseal trust logs --epoch-key file:keys/verifier --accept-start HASH --reason "power cut on 3 May"

    Exit status: that of `epochseal verify`.
    """
    if bool(accept_start or accept_key) != (reason is not None):
        raise Misuse("--accept-start, --accept-key and --reason", "go together", ctx)
    from epochseal.api.given_keys import one_origin
    from epochseal.cli.progress import progress_bar
    from epochseal.cli.show import show_verdict
    from epochseal.storage.segments import log_name
    from epochseal.verifier import Request, examine
    from epochseal.verifier.workers import default_jobs

    of_log = keys.of_log(logdir)
    named_origin, public_key = of_log.public_key()
    place = _Place(logdir, output)
    known = place.known
    if known is not None and reason is None:
        raise ConfigError(
            f"{place} exists already, and what it pins is never replaced",
            "verify moves it forward; --accept-start and --accept-key add to it",
        )
    if known is None and public_key is None:
        raise Misuse("no key was given", "name the log's --checkpoint-key", ctx)
    asked = one_origin(
        of_log.origin,
        {"checkpoint key": named_origin, "trust file": known.key.name if known is not None else None},
    )
    accepted = _accepted(accept_start, accept_key, reason or "")
    with progress_bar(log_name(logdir)) as progress:
        request = Request(
            make_recoverer=of_log.recoverer_maker(),
            checkpoint_key=public_key,
            origin=asked,
            log=log,
            pins=_pins(known, asked, public_key, accepted),
            max_age=max_age,
            jobs=default_jobs(logdir),
            progress=progress,
        )
        found = examine(logdir, request)
    found.verdict.memory = "none" if known is None else "known"
    show_verdict(logdir, found.verdict, as_json=False)
    if found.verdict.verdict != "verified":
        print_notice(f"{place} was not written: the log is {found.verdict.verdict}")
        return found.verdict.exit_status
    _check_accepted(found, accepted)
    written = place.write(accepted, found, request.now())
    print_notice(
        f"{place} pins log {written.log_text} of {written.key.name}, {written.checkpoint.size:,} lines seen"
    )
    return VERIFIED


class _Place:
    """Where it is written down: a trust file that is named, or the user's own known logs."""

    def __init__(self, logdir: Path, output: Path | None) -> None:
        from epochseal.evidence.known_logs import KnownLogs, known_folder, peek_log_id, place_of
        from epochseal.evidence.trust_file import find_trust

        self._output = output
        self._place = place_of(logdir)
        self._logs = KnownLogs(known_folder()) if output is None else None
        if output is not None:
            self.known = find_trust(output)
        elif self._logs is not None:
            self.known = self._logs.recall(self._place, peek_log_id(logdir)).trust

    def __str__(self) -> str:
        return str(self._output) if self._output is not None else f"what is known of {self._place}"

    def write(self, accepted: _Accepted, found: Examination, now: int) -> Trust:
        """Write down what a verified log is trusted for; what stands there from then on."""
        from epochseal.evidence.log_memory import first_trust, move_forward
        from epochseal.evidence.trust_file import write_trust

        trust = accepted.added_to(self.known if self.known is not None else first_trust(found))
        if self._logs is not None:
            if self.known is not None:
                return self._logs.move(self._place, trust, found, now)
            self._logs.write(self._place, trust)
        elif self._output is not None:
            if self.known is not None:
                return move_forward(self._output, trust, found, now)
            write_trust(self._output, trust)
        return trust


def _accepted(starts: Collection[bytes], keys: Collection[str], reason: str) -> _Accepted:
    from epochseal.format.note import parse_vkey

    checkpoint_keys = {}
    for text in keys:
        try:
            checkpoint_keys[parse_vkey(text).vkey] = reason
        except FormatError:
            continue
    epoch_keys = {text: reason for text in keys if text not in checkpoint_keys}
    return _Accepted(dict.fromkeys(starts, reason), epoch_keys, checkpoint_keys)


def _pins(known: Trust | None, origin: str | None, key: PublicKey | None, accepted: _Accepted) -> Pins | None:
    from epochseal.format.note import parse_vkey
    from epochseal.verifier import Pins

    if known is not None:
        return accepted.added_to(known).pins()
    if key is None:
        return None
    # Nothing is known of the log yet but what may be accepted of it.
    return Pins(
        checkpoint_key=key,
        origin=origin,
        starts=accepted.starts,
        checkpoint_keys=frozenset(map(parse_vkey, accepted.checkpoint_keys)),
    )


def _check_accepted(found: Examination, accepted: _Accepted) -> None:
    """Refuse to write down what is not in the log: whoever mistyped it must hear of it."""
    from epochseal.encoding import b64encode

    seen = found.seen.epoch_keys if found.seen is not None else ()
    if strange := [key for key in accepted.epoch_keys if key not in seen]:
        raise ConfigError(
            f"no epoch of this log has the key {strange[0]}", "epochseal inspect lists the keys of a log"
        )
    if wrong := [leaf for leaf in accepted.starts if leaf not in found.starts]:
        raise ConfigError(
            f"no epoch of this log begins with {b64encode(wrong[0])}",
            "epochseal verify names the hash of each start that is to be accepted",
        )
