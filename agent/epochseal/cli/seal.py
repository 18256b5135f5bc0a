"""`epochseal seal`: standard input into a sealed log."""

from __future__ import annotations

import click

from epochseal.cli.options import sealing_options
from epochseal.launch import SealOptions, seal_stream, stdin_stream
from epochseal.restart import Finding


@click.command()
@sealing_options
def seal(options: SealOptions) -> None:
    """Seal standard input into LOGDIR until it ends; an entry is a line.

    Nothing is accepted before the log's chain is live, and the log verifies whenever the command ends: at the end of
    its input, at SIGTERM or Ctrl-C, or by a crash (then the next start is `cold`, and says so).

    \b
    Example:
      myservice | epochseal seal logs --origin example.com/demo \\
          --epoch-key file:keys/agent --checkpoint-key file:keys/agent

    Exit status: 0 sealed and closed, 2 bad arguments or input, 6 backend, disk, or the directory is in use.
    """  # noqa: D301  # \b is click's mark for a paragraph that keeps its lines
    seal_stream(options, stdin_stream, "stdin", acknowledge=lambda _: None, started=tell_finding)


def tell_finding(finding: Finding) -> None:
    """Say on stderr what a start found, where that is more than nothing."""
    if finding.page_refused:
        click.echo(f"epochseal: the runtime page was wiped: {finding.page_refused}", err=True)
    if finding.set_aside:
        click.echo(f"epochseal: {finding.set_aside} bytes that nobody sealed were set aside in .unsealed", err=True)
    if finding.link == "cold":
        click.echo("epochseal: the log was not closed before: this start is cold, and verify will say so", err=True)
