"""`epochseal forget`: a log was removed on purpose, and what is remembered of its place goes."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.options import LOGDIR
from epochseal.exit_statuses import EMPTY, VERIFIED


@click.command()
@click.argument("logdir", type=LOGDIR)
def forget(logdir: Path) -> int:
    """Forget what was remembered of the place of a log, so that another one may begin there.

    A log that is not the known one of its place is untrusted, and an agent that finds its log gone says so in
    the next one. Whoever removed it on purpose says that here, before or after. Do not use it to make a
    finding go away: what was remembered is the only thing that shows a log that was made anew.

    \b
    Example:
      epochseal forget /var/log/sealed/payments

    Exit status: 0 forgotten, 2 usage, 5 nothing was remembered of that place, 6 disk.
    """
    forgotten = [_forget_as_verifier(logdir)]
    # The agent's half: what its state directory remembers of the same place is forgotten here as well.
    return VERIFIED if any(forgotten) else EMPTY


def _forget_as_verifier(logdir: Path) -> bool:
    """Forget what this user's verifications have remembered; whether there was anything."""
    from epochseal.encoding import b64encode
    from epochseal.evidence.known_logs import KnownLogs, known_folder, place_of

    place = place_of(logdir)
    log = KnownLogs(known_folder()).forget(place)
    if log is None:
        click.echo(f"epochseal: no verification of this user has remembered {place}", err=True)
        return False
    click.echo(f"epochseal: {place} is not known for the log {b64encode(log)} any more", err=True)
    return True
