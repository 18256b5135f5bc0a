"""`epochseal forget`: a log was removed on purpose, and what is remembered of its place goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_notice
from epochseal.cli.options import LOGDIR, env_option, state_option
from epochseal.cli.user import this_user
from epochseal.errors import ConfigError
from epochseal.exit_statuses import EMPTY, VERIFIED

if TYPE_CHECKING:
    from epochseal.config.state_dir import StateDir
    from epochseal.upkeep.forget_log import Remembered


@click.command()
@click.argument("logdir", type=LOGDIR)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file of the daemon that sealed it: it names the directories.",
)
@env_option
@state_option
@click.option(
    "--runtime-dir", type=click.Path(path_type=Path), metavar="DIR", help="That of the agent, if it has one."
)
def forget(
    logdir: Path, config: Path | None, env: str | None, state_dir: StateDir, runtime_dir: Path | None
) -> int:
    """Forget what was remembered of the place of a log, so that another one may begin there.

    A log that is not the known one of its place is untrusted, and an agent that finds its log gone says so in
    the next one. Whoever removed it on purpose says that here, before or after. Do not use it to make a
    finding go away: what was remembered is the only thing that shows a log that was made anew.

    \b
    Example:
      epochseal forget /var/log/sealed/payments --config /etc/epochseal/epochseal.toml

    Exit status: 0 forgotten, 2 usage, 5 nothing was remembered of that place, 6 disk, or an agent runs.
    """
    from epochseal.upkeep.forget_log import Remembered

    remembered = Remembered(state_dir=state_dir.path, runtime_dir=runtime_dir)
    if config is not None:
        remembered = _of_daemon(config, env, logdir)
    # The agent's first: while one runs, nothing is forgotten.
    forgotten = [_forget_as_agent(logdir, remembered), _forget_as_verifier(logdir)]
    return VERIFIED if any(forgotten) else EMPTY


def _of_daemon(path: Path, env: str | None, logdir: Path) -> Remembered:
    from epochseal.config import read_config
    from epochseal.upkeep.forget_log import Remembered

    config = read_config(path, env, sealing=False)
    if (log := config.log_in(logdir)) is not None:
        return Remembered(state_dir=log.state_dir.path, runtime_dir=log.runtime_dir)
    known = ", ".join(str(log.dir) for log in config.logs)
    raise ConfigError(f"{path} has no log in {logdir}", f"its logs are in: {known}")


def _forget_as_agent(logdir: Path, remembered: Remembered) -> bool:
    """Forget what the agent's directories have remembered; whether there was anything."""
    from epochseal.upkeep.forget_log import forget_log

    record = forget_log(logdir, remembered, this_user(), time.time_ns() // 1_000_000)
    if record is None:
        print_notice(f"no agent has remembered {logdir} in {remembered.state_dir}")
        return False
    what = f"log {record.log} of {record.size:,} lines" if record.log else "the page of its agent"
    print_notice(f"{record.place}: {what} is forgotten")
    if _has_denied(logdir):
        print_notice(
            "the log that lies there has said already that it is not the one that was remembered: "
            "that start is still to be accepted (epochseal verify names its hash)"
        )
    return True


def _has_denied(logdir: Path) -> bool:
    from epochseal.verifier.snapshot import take_snapshot

    if not logdir.is_dir():
        return False
    epochs = [epoch for part in take_snapshot(logdir).parts for epoch in part.epochs]
    return any(epoch.header is not None and epoch.header.denies is not None for epoch in epochs)


def _forget_as_verifier(logdir: Path) -> bool:
    """Forget what this user's verifications have remembered; whether there was anything."""
    from epochseal.encoding import b64encode
    from epochseal.evidence.known_logs import KnownLogs, known_folder, place_of

    place = place_of(logdir)
    log = KnownLogs(known_folder()).forget(place)
    if log is None:
        print_notice(f"no verification of this user has remembered {place}")
        return False
    print_notice(f"{place} is not known for the log {b64encode(log)} any more")
    return True
