"""`epochseal copy`: a copy of a log that may be written meanwhile, and that verifies as far as it goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import Styled, print_json, print_line, print_notice
from epochseal.cli.options import LOGDIR
from epochseal.cli.tables import print_table
from epochseal.exit_statuses import EMPTY, VERIFIED

if TYPE_CHECKING:
    from epochseal.evidence.log_copy import CopiedLog


@click.command()
@click.argument("logdir", type=LOGDIR)
@click.argument("dest", type=LOGDIR)
@click.option(
    "--no-links",
    is_flag=True,
    help="Copy each byte: by default finished files get a second name, where the file system allows it.",
)
@click.option("--delete", is_flag=True, help="Remove from the copy what has expired in the log.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def copy(logdir: Path, dest: Path, no_links: bool, delete: bool, as_json: bool) -> int:
    """Copy a log, or bring a copy up to date, while the log is written; needs no key, and verifies nothing.

    At each moment DEST holds the copy before or the new one, whole and on the disk. What was interrupted
    goes on where it was. Segments that have expired in the log stay in the copy. Without --no-links a file
    may be the log's own under a second name: whoever can change the one changes the other.

    \b
    Example:
      epochseal copy logs /mnt/backup/logs
      epochseal copy logs evidence --no-links && epochseal verify evidence --epoch-key file:keys/verifier

    Exit status: 0 copied, 2 usage, or DEST does not fit the log, 5 there is no log, 6 a file cannot be read
    or written, or the log changes all the time.
    """
    from epochseal.cli.progress import progress_bar
    from epochseal.evidence.log_copy import copy_log
    from epochseal.storage.segments import log_name

    with progress_bar(log_name(logdir)) as progress:
        found = copy_log(logdir, dest, links=not no_links, delete=delete, progress=progress)
    if found is None:
        print_notice(f"nothing to copy: no sealed log is in {logdir}")
        return EMPTY
    if as_json:
        print_json(found)
    else:
        _show(dest, found)
    for name in found.foreign_files:
        print_notice(f"not copied, it is no file of a log: {name}")
    if not found.settled:
        print_notice("the log was in the middle of something: the end of the copy may be incomplete")
    return VERIFIED


def _show(dest: Path, found: CopiedLog) -> None:
    print_line(Styled(str(dest), "bold"), "  nothing was verified: epochseal verify does that")
    print_table(
        [
            (name, f"{count.files:,}", f"{count.bytes:,}")
            for name, count in (("copied", found.copied), ("linked", found.linked), ("kept", found.kept))
            if count.files
        ],
        head=("", "files", "bytes"),
        right={1, 2},
    )
    print_line(f"  log {found.log or 'unknown: no epoch line can be read'}")
    only_here = f", {found.only_here:,} of them expired in the log" if found.only_here else ""
    print_line(
        f"  {found.segments:,} segments{only_here}; {found.tree_size:,} lines under a signed checkpoint"
    )
