"""`epochseal doctor`: what a configuration needs, checked on this machine before it is trusted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import open_console
from epochseal.cli.exits import BACKEND

if TYPE_CHECKING:
    from epochseal.config import Configuration
    from epochseal.doctor import CheckResult

_WRONG = 1
_PIPED_WIDTH = 120
_STYLES = {"good": "green", "wrong": "bold red", "unknown": "yellow"}


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="TOML file."
)
@click.option("--env", metavar="NAME", help="Overlay [env.NAME]; by default what EPOCHSEAL_ENV names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(path: Path, env: str | None, as_json: bool) -> int:
    """Check what the logs of a configuration depend on: keys and roles, memory, clock, disk, sources.

    Run it as the user of the agent, on its machine. Of the keys it checks what the agent's credential may do,
    and that it may not do the rest. One secret is issued, for a log that does not exist (its id is all zero);
    nothing is signed that could be a checkpoint, and nothing on the disk is changed.

    \b
    Example:
      epochseal doctor --config epochseal.toml --env prod

    Exit status: 0 nothing is wrong, 1 something is, 2 a wrong configuration, 6 a backend gave no answer.
    """
    from epochseal.config import read_config
    from epochseal.doctor import diagnose

    config = read_config(path, env)
    found = list(diagnose(config))
    status = _status(found)
    if as_json:
        _print_json(config, found, status)
    else:
        _print_table(config, found)
    return status


def _status(found: list[CheckResult]) -> int:
    if any(item.outcome == "wrong" for item in found):
        return _WRONG
    return BACKEND if any(item.unreachable for item in found) else 0


def _print_json(config: Configuration, found: list[CheckResult], status: int) -> None:
    import msgspec

    answer = {"file": str(config.path), "env": config.env, "status": status, "checks": found}
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def _print_table(config: Configuration, found: list[CheckResult]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED_WIDTH
    env = f"env.{config.env}" if config.env else "no environment"
    click.echo(f"{config.path}: {env}; the configuration is right")
    for part in dict.fromkeys(item.part for item in found):
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for item in found:
            if item.part == part:
                detail = _plain(item.detail) + (f"\n-> {_plain(item.hint)}" if item.hint else "")
                table.add_row(
                    Text(item.outcome, _STYLES[item.outcome]), Text(_plain(item.topic)), Text(detail)
                )
        click.echo()
        click.echo(part)
        console.print(table)
    counts = [
        f"{sum(item.outcome == outcome for item in found)} {outcome}"
        for outcome in ("wrong", "unknown", "good")
    ]
    click.echo(f"\n{', '.join(counts)}")


def _plain(text: str) -> str:
    """Without control characters, which a backend's message could bring to the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
