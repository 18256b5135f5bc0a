"""`epochseal keygen`: keys in files, one folder a role."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import click

from epochseal.cli.console import print_aside, print_line
from epochseal.keys import load_backend, parse_key_uri

# \b keeps click from wrapping the lines.
_EXAMPLE = """\b
Example:
  epochseal keygen keys
  service | epochseal seal logs --origin example.com/app \\
      --epoch-key file:keys/agent --checkpoint-key file:keys/agent
  epochseal verify logs --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
"""
_TABLE = """\
made in {directory}:

  agent/     to the host that writes the log    issues epoch keys, signs checkpoints
  verifier/  to the host that verifies          recovers epoch keys
  auditor/   to anybody                         the public key, no secret

Move verifier/ off the agent's host and keep a copy of it: whoever has it can recover every epoch key, and
without it only signatures can be checked. Private keys are for their owner alone: give each folder to the
user who runs that role (chown -R USER {directory}/agent).
"""


class _KeyMaker(Protocol):
    """What only the file backend can do; an agent never imports a backend by name."""

    def generate(self, directory: Path) -> None: ...


@click.command("keygen", epilog=_EXAMPLE)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def keygen(directory: Path) -> None:
    """Make keys in files: a folder for each role in DIR.

    DIR is made where it is missing, and nothing in it is ever overwritten. The key URIs of the three
    folders are printed in the order agent, verifier, auditor.
    """
    uri = parse_key_uri(f"file:{directory}")
    cast("_KeyMaker", load_backend(uri)).generate(directory)
    for line in _TABLE.splitlines():
        print_aside(line.format(directory=directory))
    for role in ("agent", "verifier", "auditor"):
        print_line(f"file:{directory / role}")
