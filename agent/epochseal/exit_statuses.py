"""The numbers that commands end with, the same for every command that checks something (docs/cli.md)."""

from __future__ import annotations

VERIFIED, TAMPERED, USAGE, INCOMPLETE, UNTRUSTED, EMPTY, BACKEND = 0, 1, 2, 3, 4, 5, 6

FAULT = 7
"""An exception that nobody foresaw: it says nothing of a log, whatever was being checked."""
REFUSED = 77
"""A credential was refused: to try it again at once would only lock it (`EX_NOPERM` of sysexits.h)."""
WRONG = 1
"""Of `doctor`, which verifies nothing: something is wrong."""
INTERRUPTED = 130
"""As a shell says it of a command that SIGINT ended (128 + 2)."""
