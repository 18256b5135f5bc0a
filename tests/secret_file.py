"""A secret in a file that is its owner's alone: any other is refused."""

from __future__ import annotations

from pathlib import Path


def write_secret(path: Path, secret: str) -> None:
    """Write it there, with mode 0600."""
    path.touch(0o600)
    path.write_text(secret, encoding="utf-8")
