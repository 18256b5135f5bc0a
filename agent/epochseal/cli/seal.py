"""`epochseal seal`: standard input into a sealed log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from epochseal.cli.options import sealing_options
from epochseal.errors import ConfigError, EpochsealError
from epochseal.service.launch import SealOptions, seal_stream, stdin_stream


@click.command()
@sealing_options
@click.option("--acks", is_flag=True, help="Print the number of durable entries after each commit.")
def seal(options: SealOptions, acks: bool) -> None:
    """Seal standard input into LOGDIR until it ends; an entry is a line.

    Nothing is accepted before the log's chain is live, and the log verifies whenever the command ends: at the
    end of its input, at SIGTERM or Ctrl-C, or by a crash. With --runtime-dir a crash leaves no gap; without,
    the next start is `cold`, and somebody has to accept it. What --state-dir remembers carries the log on
    from a clean close over a reboot, and shows at a start whether the log is still what it was.

    \b
    Example:
      myservice | epochseal seal logs --origin example.com/demo \\
          --epoch-key file:keys/agent --checkpoint-key file:keys/agent

    Exit status: 0 sealed and closed, 2 bad arguments or input, 6 backend, disk, or the directory is in use,
    77 the backend refused the credential.
    """
    if sys.stdin is None:
        raise ConfigError(
            "standard input is closed", "pipe the log in, or name a file: epochseal seal … < FILE"
        )
    seal_stream(options, stdin_stream, "stdin", acknowledge=acknowledger(acks))


def acknowledger(acks: bool) -> Callable[[int], None]:
    """What tells the writer how many entries are durable: one number a line on stdout, or nothing."""
    return _print_count if acks else lambda _: None


def _print_count(entries: int) -> None:
    try:
        os.write(1, b"%d\n" % entries)
    except OSError as exc:
        raise EpochsealError(
            "nobody reads the acknowledgements any more: sealing ends here, and the log is closed",
            "leave --acks out where nothing reads them",
        ) from exc
