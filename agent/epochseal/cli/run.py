"""`epochseal run`: the daemon, or a look at its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epochseal.cli.console import print_json, print_line
from epochseal.cli.error_messages import Misuse, status_of
from epochseal.cli.options import env_option
from epochseal.cli.tables import print_table
from epochseal.errors import EpochsealError

if TYPE_CHECKING:
    from epochseal.config import Configuration, LogConfig, Value


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="TOML file."
)
@env_option
@click.option(
    "--check", is_flag=True, help="Validate the file and print what would be in force; seal nothing."
)
@click.option("--json", "as_json", is_flag=True, help="With --check: print one JSON object.")
@click.pass_context
def run(ctx: click.Context, path: Path, env: str | None, check: bool, as_json: bool) -> None:
    """Seal all sources of a configuration file until SIGTERM or Ctrl-C.

    SIGHUP begins new segments and reads the file again: limits and `keep` change at once, for the rest a
    message says that a restart is needed. If a log fails, the others are closed cleanly and the daemon ends.

    \b
    Example:
      epochseal run --config epochseal.toml --env prod --check
      epochseal run --config epochseal.toml --env prod

    Exit status: 0 closed cleanly (or the file is right), 2 a wrong configuration, 6 a log failed, 77 a
    backend refused the credential.
    """
    if as_json and not check:
        raise Misuse("--json is for --check", "add --check, or leave it out", ctx)
    if check:
        from epochseal.config import read_config

        _show(read_config(path, env), as_json=as_json)
        return
    from epochseal.journal import Journal
    from epochseal.service.daemon import Daemon

    journal = Journal()
    try:
        ctx.exit(Daemon(path, env, journal).run())
    except EpochsealError as exc:
        if not journal.has_told:
            raise
        # Whoever reads the journal by program finds nothing else on standard error.
        journal.error("failed", exc)
        ctx.exit(status_of(exc))


def _show(config: Configuration, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_object(config))
        return
    env = f"env.{config.env}" if config.env else "no environment"
    print_line(
        f"{config.path}: {env}, {len(config.logs)} {'log' if len(config.logs) == 1 else 'logs'};"
        " backends were not contacted"
    )
    for log in config.logs:
        print_line()
        rows = [(key, _text(value), _place(value)) for key, value in log.values.items()]
        rows += [(f"source {place}", text, "") for place, text in enumerate(_source_texts(log), 1)]
        verifier = log.verifier.values if log.verifier.own else {}
        rows += [(f"verifier.{key}", _text(value), _place(value)) for key, value in verifier.items()]
        print_table(rows, head=(f"[{log.name}]", "value", "set in"))
    print_line()
    listen = config.metrics_listen
    print_table([("listen", _text(listen), _place(listen))], head=("[metrics]", "value", "set in"))


def _text(value: Value) -> str:
    return value.text


def _place(value: Value) -> str:
    return f"{value.origin.place}, line {value.origin.line}" if value.origin.line else value.origin.place


def _source_texts(log: LogConfig) -> list[str]:
    texts = []
    for fields in map(_source_fields, log.sources):
        kind = fields.pop("kind")
        texts.append(" ".join([str(kind), *(f"{key}={value}" for key, value in fields.items())]))
    return texts


def _source_fields(source: Any) -> dict[str, Any]:  # noqa: ANN401  # any of the source tables
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(source)
    return fields


def _as_object(config: Configuration) -> dict[str, Any]:
    return {
        "file": str(config.path),
        "env": config.env,
        "backends": "not contacted",
        "metrics": {"listen": _as_value(config.metrics_listen)},
        "logs": [
            {
                "settings": {key: _as_value(value) for key, value in log.values.items()},
                "sources": [_source_fields(source) for source in log.sources],
                "verifier": {key: _as_value(value) for key, value in log.verifier.values.items()},
            }
            for log in config.logs
        ],
    }


def _as_value(value: Value) -> dict[str, Any]:
    plain = value.value if isinstance(value.value, int | None) else value.text
    return {
        "value": plain,
        "text": value.text,
        "set_in": value.origin.place,
        "line": value.origin.line or None,
    }
