"""Exit statuses, the same for every command that checks something."""

from __future__ import annotations

import click

from epochseal.errors import ConfigError, EpochsealError, VerificationError

VERIFIED, TAMPERED, USAGE, INCOMPLETE, UNTRUSTED, EMPTY, BACKEND = 0, 1, 2, 3, 4, 5, 6

INTERRUPTED = 130
"""As a shell says it of a command that SIGINT ended (128 + 2)."""


def exit_status(exc: EpochsealError) -> int:
    """The status that an error ends a command with."""
    if isinstance(exc, ConfigError):
        return USAGE
    # Backends, disks, locks, unreadable input: what the caller did was right, and may be tried again.
    return TAMPERED if isinstance(exc, VerificationError) else BACKEND


def tell(exc: EpochsealError, status: int) -> int:
    """Say what an error says, in the words of every command; the status to end with."""
    click.echo(f"epochseal: error: {exc}", err=True)
    if exc.hint:
        click.echo(f"epochseal: hint: {exc.hint}", err=True)
    return status
