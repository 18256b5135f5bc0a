"""`epochseal timestamp`: checkpoints stamped by a time-stamping authority."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.console import flush_output, print_line
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import LOGDIR
from epochseal.errors import ConfigError
from epochseal.exit_statuses import EMPTY, VERIFIED
from epochseal.storage.opener import read_named_file


@click.group()
def timestamp() -> None:
    """Have checkpoints stamped by an authority (RFC 3161), and check the stamps (docs/witness.md)."""


@timestamp.command()
@click.argument("logdir", type=LOGDIR)
@click.option("--url", required=True, metavar="URL", help="Address of the authority.")
def add(logdir: Path, url: str) -> None:
    """Have the newest checkpoint stamped; needs no key.

    \b
    Example, once a day from a timer:
      epochseal timestamp add logs --url http://tsa.example/tsr

    Exit status: 0 stamped, 2 usage, 6 the authority did not answer, or a file cannot be read.
    """
    _need_library()
    from epochseal.evidence.timestamp import request_stamp

    stamp = request_stamp(logdir, url)
    print_line(f"{stamp.size} lines stamped at {stamp.time}")


@timestamp.command()
@click.argument("logdir", type=LOGDIR)
@key_options("checkpoint_key")
@click.option(
    "--authority",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE.pem",
    help="Certificates of the authority, its root among them.",
)
def check(logdir: Path, keys: KeyOptions, authority: Path) -> int:
    """Check all stamps of a log against its lines.

    \b
    Example:
      epochseal timestamp check logs --checkpoint-key file:keys/auditor --authority tsa.pem

    Exit status: 0 all hold, 1 one does not, 2 usage, 5 there is none, 6 a file cannot be read.
    """
    _need_library()
    from epochseal.evidence.timestamp import check_stamps

    _, key = keys.of_log(logdir).public_key()
    if key is None:
        raise ConfigError("no key was given", "name --checkpoint-key, or the --config that has it")
    try:
        pem = read_named_file(authority)
    except OSError as exc:
        raise ConfigError(f"cannot read {authority}: {exc.strerror}") from exc
    found = 0
    for stamp in check_stamps(logdir, key, pem):
        print_line(f"{stamp.size} lines existed at {stamp.time}")
        flush_output()
        found += 1
    return VERIFIED if found else EMPTY


def _need_library() -> None:
    try:
        import rfc3161_client  # noqa: F401  # only whether it is there
    except ImportError as exc:
        raise ConfigError(
            "time stamps need rfc3161-client", "in a checkout: pip install '.[timestamp]'"
        ) from exc
