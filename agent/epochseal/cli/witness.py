"""`epochseal witness`: submit checkpoints to witnesses, or be one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_line, print_notice
from epochseal.cli.options import LOGDIR, Parsed
from epochseal.errors import ConfigError, EpochsealError, StorageError, VerificationError
from epochseal.storage.opener import read_named_file

if TYPE_CHECKING:
    from epochseal.format.note import VerifierKey
    from epochseal.format.witness_policy import Policy

_ADDRESS = re.compile(r"\[?([^\s\[\]]+?)\]?:([0-9]{1,5})")
_MOST_PORT = 65_535


def _parse_address(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[2]) > _MOST_PORT:
        raise ConfigError(f"{text!r} is not an address to listen on", "write HOST:PORT, as 127.0.0.1:8790")
    return found[1], int(found[2])


@click.group()
def witness() -> None:
    """Have checkpoints cosigned by witnesses, or be a witness (docs/witness.md).

    A witness remembers the largest checkpoint of each log, and cosigns another one only if the log has grown
    from there. So a log that was put back to an older state, or rewritten, is refused by it.
    """


@witness.command()
@click.argument("logdirs", metavar="[LOGDIR…]", type=LOGDIR, nargs=-1)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Witnesses with their URLs, and the quorum (a C2SP tlog-policy file).",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="All logs of a configuration file, with its [[witness]] tables.",
)
@click.option("--env", metavar="NAME", help="The environment of the configuration file.")
@click.pass_context
def submit(
    ctx: click.Context, logdirs: tuple[Path, ...], policy: Path | None, config: Path | None, env: str | None
) -> None:
    """Submit the newest checkpoint of each log; needs no key, and may run beside the agent or elsewhere.

    \b
    Example, from a timer:
      epochseal witness submit --config epochseal.toml
      epochseal witness submit logs --policy witnesses.policy

    Exit status: 0 a quorum has cosigned, 1 a witness has seen a later or another state of this log, 2 usage,
    3 the log does not settle, 6 too few witnesses answered, or a file cannot be read.
    """
    from epochseal.format.witness_policy import parse_policy
    from epochseal.witness import submit_checkpoint

    if (policy is None) == (config is None) or bool(logdirs) != (policy is not None):
        raise click.UsageError("name LOGDIR and --policy, or --config", ctx)
    work: list[tuple[Path, Policy]] = []
    if policy is not None:
        quorum = parse_policy(_read(policy))
        work = [(logdir, quorum) for logdir in logdirs]
    elif config is not None:
        work = _configured(config, env)
    errors: list[EpochsealError] = []
    for logdir, quorum in work:
        try:
            done = submit_checkpoint(logdir, quorum)
        except EpochsealError as exc:
            errors.append(exc)
            print_notice(f"{logdir}: {exc}")
            continue
        for name, time in done.times.items():
            moment = datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            print_line(f"{logdir}: {done.size} lines cosigned by {name} at {moment}")
        for name, failure in done.failed.items():
            print_notice(f"{logdir}: warning: {name}: {failure}")
    if errors:
        # If one log was rewritten and the witness of another is down, the exit status is that of the first.
        raise next((exc for exc in errors if isinstance(exc, VerificationError)), errors[0])


@witness.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the witness, as witness.example/w1.")
def keygen(directory: Path, name: str) -> None:
    """Make a witness's key in DIR, and print its vkey.

    \b
    Example:
      epochseal witness keygen w1 --name witness.example/w1
    """
    from epochseal.witness import make_key

    print_line(make_key(directory, name).vkey)


@witness.command()
@click.argument("directory", metavar="DIR", type=LOGDIR)
@click.option(
    "--log",
    "logs",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    multiple=True,
    required=True,
    help="Vkeys of logs to witness, one a line; may be given again.",
)
@click.option(
    "--listen",
    type=Parsed("address", _parse_address),
    default="127.0.0.1:8790",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
def serve(directory: Path, logs: tuple[Path, ...], listen: tuple[str, int]) -> None:
    """Be a witness: answer add-checkpoint (C2SP tlog-witness) until it is stopped.

    \b
    Example:
      epochseal witness serve w1 --log payments.vkey --listen 127.0.0.1:8790
    """
    from epochseal.witness import WitnessStore
    from epochseal.witness import serve as open_server

    store = WitnessStore(directory, [key for path in logs for key in _vkeys(path)])
    try:
        server = open_server(listen, store)
    except OSError as exc:
        raise StorageError(f"cannot listen on {listen[0]}:{listen[1]}: {exc.strerror or exc}") from exc
    host, port = server.server_address[:2]
    print_notice(f"witness {store.key.name} listens on http://{host!s}:{port}/")
    with server:
        server.serve_forever()


def _configured(path: Path, env: str | None) -> list[tuple[Path, Policy]]:
    from epochseal.config import read_config

    found = read_config(path, env)
    if found.policy is None:
        raise ConfigError(f"{path} names no witness", "add a [[witness]] with name, url and vkey")
    return [(log.dir, found.policy) for log in found.logs]


def _vkeys(path: Path) -> list[VerifierKey]:
    from epochseal.format.note import parse_vkey

    lines = [line.strip() for line in _read(path).decode("utf-8", "replace").splitlines()]
    return [parse_vkey(line) for line in lines if line and not line.startswith("#")]


def _read(path: Path) -> bytes:
    try:
        return read_named_file(path)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
