"""How an error ends a command: what it says on standard error, and the exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from epochseal.cli.console import print_notice
from epochseal.errors import ConfigError, Denied, EpochsealError, VerificationError, WrongKey
from epochseal.exit_statuses import BACKEND, INCOMPLETE, REFUSED, TAMPERED, USAGE
from epochseal.storage.settling import UnsettledError
from epochseal.version import __version__


class Misuse(click.UsageError):
    """A command line that cannot be used as given.

    Args:
        message: what is wrong with it.
        hint: what to do about it; None: the command's `--help`.
        ctx: of the command.
    """

    def __init__(self, message: str, hint: str | None, ctx: click.Context | None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def status_of(exc: EpochsealError) -> int:
    """The status that an error ends a command with."""
    if isinstance(exc, ConfigError):
        return USAGE
    if isinstance(exc, Denied | WrongKey):
        return REFUSED
    if isinstance(exc, UnsettledError):
        return INCOMPLETE
    # Backends, disks, locks, unreadable input: what the caller did was right, and may be tried again.
    return TAMPERED if isinstance(exc, VerificationError) else BACKEND


def print_error(message: str, hint: str | None) -> None:
    """Say what is wrong and what to do, in the form that every command has."""
    print_notice(f"error: {message}")
    if hint:
        print_notice(f"hint: {hint}")


def tell(exc: EpochsealError, status: int) -> int:
    """Say what an error says; the status to end with."""
    print_error(str(exc), exc.hint)
    return status


def describe_fault(exc: Exception) -> tuple[str, str]:
    """What to say of an exception that nobody foresaw: the message and the hint.

    Only its class and its place are told: its own words may quote what was being read, or a secret.
    """
    import traceback

    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if f"{Path(__file__).parent.parent}/" in frame.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    if isinstance(exc, MemoryError):
        what = "this machine has no memory left for it"
    elif _is_lost_process(exc):
        what = "one of its processes was killed"
    else:
        what = "a fault of epochseal itself"
    return (
        f"{what}: {type(exc).__name__}{place} in version {__version__}",
        "nothing was decided about any log; please report this line, and what you did",
    )


def _is_lost_process(exc: Exception) -> bool:
    # Its class is loaded where processes are made, and nowhere else: it takes a while.
    module = sys.modules.get("concurrent.futures.process")
    return module is not None and isinstance(exc, module.BrokenProcessPool)
