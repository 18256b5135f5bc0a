"""`epochseal rotate`: put another key in the place of one of a log's two, on the record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_notice
from epochseal.cli.error_messages import Misuse
from epochseal.cli.options import KEY_URI, env_option
from epochseal.cli.tables import print_table
from epochseal.cli.user import this_user
from epochseal.errors import ConfigError
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.config import Configuration, LogConfig
    from epochseal.format.seal_lines import Rotate
    from epochseal.service.launch import SealOptions


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="TOML file of the daemon: it names the keys that the log has.",
)
@env_option
@click.option("--log", "name", metavar="NAME", help="Which log, where the file has several.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in the log.")
@click.option("--who", metavar="TEXT", help="Who does it. [default: this user]")
@click.option("--ticket", default="", metavar="TEXT", help="Where it was decided.")
@click.option("--epoch-key", type=KEY_URI, metavar="URI", help="The new key that issues epoch secrets.")
@click.option("--checkpoint-key", type=KEY_URI, metavar="URI", help="The new key that signs checkpoints.")
@click.option("--compromised", is_flag=True, help="Somebody else may have the old key.")
@click.option(
    "--from-size",
    type=click.IntRange(0),
    metavar="N",
    help="With --compromised: the tree size up to which the old key is believed. [default: now]",
)
@click.option("--dry-run", is_flag=True, help="Ask the backends, show what would be sealed, write nothing.")
@click.pass_context
def rotate(
    ctx: click.Context,
    path: Path,
    env: str | None,
    name: str | None,
    reason: str,
    who: str | None,
    ticket: str,
    epoch_key: KeyURI | None,
    checkpoint_key: KeyURI | None,
    compromised: bool,
    from_size: int | None,
    dry_run: bool,
) -> None:
    """Replace the epoch key or the checkpoint key of a log, and seal a line that says so.

    The configuration names the old keys, the option the new one. Another checkpoint key takes over with a
    checkpoint that both keys sign, or the new one alone with --compromised. The agent must not be running;
    afterwards the configuration is to name the new key. The log goes on as it would for the agent, from its
    page or its state directory; where that cannot be, the command refuses.

    \b
    Example:
      epochseal rotate --config epochseal.toml --checkpoint-key file:keys2/agent --reason yearly --dry-run

    Exit status: 0 done (or shown), 2 bad arguments, keys that do not fit the log, or the start would be cold,
    6 backend, disk, or an agent runs, 77 a backend refused the credential.
    """
    uri = epoch_key or checkpoint_key
    if uri is None or (epoch_key is not None and checkpoint_key is not None):
        raise Misuse("name --epoch-key or --checkpoint-key", "one key is replaced at a time", ctx)
    from epochseal.config import read_config
    from epochseal.service.single_line import seal_rotation
    from epochseal.upkeep.rotation import RotationRequest

    wanted = RotationRequest(
        key="epoch" if epoch_key is not None else "checkpoint",
        uri=uri,
        who=who or this_user(),
        why=reason,
        ticket=ticket,
        compromised=compromised,
        from_size=from_size,
    )
    log = _choose(read_config(path, env), name)

    seal_rotation(
        _options(log), wanted, log.backend_settings, dry_run=dry_run, planned=lambda body: _show(log, body)
    )
    if dry_run:
        print_notice("nothing was written: --dry-run")
        return
    print_notice(f'done: now set {wanted.key}_key = "{uri}" for log {log.name} in {path}')


def _choose(config: Configuration, name: str | None) -> LogConfig:
    logs = {log.name: log for log in config.logs}
    if name is None and len(logs) > 1:
        raise ConfigError(f"{config.path} has {len(logs)} logs", f"add --log with one of: {', '.join(logs)}")
    if (log := logs.get(name) if name is not None else next(iter(logs.values()))) is None:
        raise ConfigError(f"{config.path} has no log {name!r}", f"known are: {', '.join(logs)}")
    return log


def _options(log: LogConfig) -> SealOptions:
    from epochseal.service.launch import SealOptions

    return SealOptions(
        logdir=log.dir,
        origin=log.origin,
        epoch_key=log.epoch_key,
        checkpoint_key=log.checkpoint_key,
        epoch_interval=log.number("epoch_interval"),
        runtime_dir=log.runtime_dir,
        state_dir=log.state_dir,
        keep_carry=log.keep_carry,
    )


def _show(log: LogConfig, body: Rotate) -> None:
    rows = [("log", f"{log.name} in {log.dir}"), ("replaces", f"the {body.key} key"), ("old", body.old)]
    rows += [("new", body.new), ("who", body.who), ("why", body.why), ("ticket", body.ticket or "none")]
    if body.key == "checkpoint":
        both = "the new key alone" if body.compromised else "both keys"
        rows.append(("checkpoint", f"signed by {both}; later ones by the new key"))
    if body.compromised:
        rows.append(("compromised", f"the old key is believed up to {_believed(body)}"))
    print_table(rows)


def _believed(body: Rotate) -> str:
    from epochseal.encoding import MAX_INT

    return "this rotation" if body.from_size == MAX_INT else f"tree size {body.from_size:,}"
