"""`epochseal archive`: put ended segments into an object store, by a process with its own credential."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.error_messages import status_of
from epochseal.cli.options import env_option
from epochseal.errors import EpochsealError


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The agent's file.",
)
@env_option
@click.option("--once", is_flag=True, help="Put what there is to put, and end.")
@click.option("--listen", metavar="HOST:PORT", help="Serve /metrics and /healthz there.")
@click.pass_context
def archive(ctx: click.Context, path: Path, env: str | None, once: bool, listen: str | None) -> None:
    """Put every segment that has ended, and each new checkpoint, into the archive of its log.

    It runs beside the agent, as another user and with the only credential that may put objects; the agent
    holds none, and lets no segment expire that has no receipt. An outage of the store costs a backlog, which
    is put later.

    \b
    Example:
      AWS_PROFILE=archiver epochseal archive --config /etc/epochseal/epochseal.toml --listen 127.0.0.1:9470

    Exit status: 0 after SIGTERM or Ctrl-C, or with --once if everything is there; 2 a wrong configuration, 6
    with --once if something is not.
    """
    from epochseal.archive.archiver import Archiver
    from epochseal.config import read_config
    from epochseal.journal import Journal

    journal = Journal()
    try:
        ctx.exit(Archiver(read_config(path, env, sealing=False), journal, listen).run(once=once))
    except EpochsealError as exc:
        if not journal.has_told:
            raise
        journal.error("failed", exc)
        ctx.exit(status_of(exc))
