"""`epochseal doctor`: what a configuration needs, checked on this machine before it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import Styled, print_json, print_line
from epochseal.cli.options import env_option
from epochseal.cli.tables import print_table
from epochseal.exit_statuses import BACKEND, VERIFIED, WRONG

if TYPE_CHECKING:
    from epochseal.config import Configuration
    from epochseal.doctor import CheckResult

_STYLES = {"good": "green", "wrong": "red bold", "unknown": "yellow"}


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="TOML file."
)
@env_option
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
    status = exit_status_of(found)
    if as_json:
        _print_json(config, found, status)
    else:
        _print_table(config, found)
    return status


def exit_status_of(found: list[CheckResult]) -> int:
    """What is wrong outweighs a backend that gave no answer."""
    if any(item.outcome == "wrong" for item in found):
        return WRONG
    return BACKEND if any(item.unreachable for item in found) else VERIFIED


def _print_json(config: Configuration, found: list[CheckResult], status: int) -> None:
    answer = {"file": str(config.path), "env": config.env, "status": status, "checks": found}
    print_json(answer)


def _print_table(config: Configuration, found: list[CheckResult]) -> None:
    env = f"env.{config.env}" if config.env else "no environment"
    print_line(f"{config.path}: {env}; the configuration is right")
    for part in dict.fromkeys(item.part for item in found):
        print_line()
        print_line(part)
        print_table((row for item in found if item.part == part for row in _rows(item)), indent=0)
    counts = [
        f"{sum(item.outcome == outcome for item in found)} {outcome}"
        for outcome in ("wrong", "unknown", "good")
    ]
    print_line()
    print_line(", ".join(counts))


def _rows(item: CheckResult) -> list[tuple[str | Styled, ...]]:
    outcome = Styled(item.outcome, _STYLES[item.outcome])
    return [(outcome, item.topic, item.detail), *([("", "", f"-> {item.hint}")] if item.hint else [])]
