"""`epochseal prune`: let old segments expire so that the log still verifies."""

from __future__ import annotations

import time
from pathlib import Path

import click

from epochseal.cli.console import print_notice
from epochseal.cli.options import KEY_URI, LOGDIR, state_option
from epochseal.config.state_dir import StateDir
from epochseal.errors import ConfigError
from epochseal.keys import KeyURI
from epochseal.units import parse_duration


@click.command()
@click.argument("logdir", type=LOGDIR)
@click.option("--keep", required=True, metavar="DURATION", help="Keep segments that ended within it, as 90d.")
@click.option(
    "--epoch-key", type=KEY_URI, required=True, metavar="URI", help="Key that issues epoch secrets."
)
@click.option(
    "--checkpoint-key", type=KEY_URI, required=True, metavar="URI", help="Key that signs checkpoints."
)
@click.option(
    "--runtime-dir", type=click.Path(path_type=Path), metavar="DIR", help="That of the agent, if it has one."
)
@state_option
def prune(
    logdir: Path,
    keep: str,
    epoch_key: KeyURI,
    checkpoint_key: KeyURI,
    runtime_dir: Path | None,
    state_dir: StateDir,
) -> None:
    """Remove segments that ended longer ago than --keep, after sealing a line that says so.

    The log says what expired in a line of its own, under a signed checkpoint; only then are files removed,
    oldest first. A log whose beginning is missing without such a line is incomplete. The agent must not
    be running.

    \b
    Example:
      epochseal prune logs --keep 90d --epoch-key file:keys/agent --checkpoint-key file:keys/agent

    It goes on with the log as the agent itself would, from its page or its state directory; where that cannot
    be, it refuses.

    Exit status: 0 done (also if nothing had expired), 2 bad arguments, or the start would be cold, 6 backend,
    disk, or an agent runs, 77 the backend refused the credential.
    """
    from epochseal.service.launch import SealOptions
    from epochseal.service.single_line import seal_prune
    from epochseal.storage.segments import list_segments
    from epochseal.upkeep.retention import find_expired, remove_expired

    age = parse_duration(keep)
    if not list_segments(logdir).segments:
        raise ConfigError(f"no sealed log is in {logdir}", "name the directory that an agent seals into")
    expired = find_expired(logdir, age, keep, time.time_ns() // 1_000_000)
    if expired is None:
        print_notice(f"no segment of {logdir} ended more than {keep} ago")
        return
    options = SealOptions(
        logdir=logdir,
        origin=expired.origin,
        epoch_key=epoch_key,
        checkpoint_key=checkpoint_key,
        runtime_dir=runtime_dir,
        state_dir=state_dir,
    )
    seal_prune(options, expired.prune, remove=lambda: remove_expired(logdir, expired))
    print_notice(
        f"segments up to {expired.prune.segment} expired: entries before number "
        f"{expired.prune.entries:,} were removed"
    )
