"""Programs at a pseudo-terminal, or with streams that are closed or full."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.integration.agents import PROGRAM

PATIENCE = 60.0


def at_terminal(words: Sequence[str], cwd: Path, **variables: str) -> tuple[int, bytes]:
    """Run it with stdout and stderr at one terminal; its status, and what the terminal was sent."""
    terminal, side = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    with subprocess.Popen(
        [PROGRAM, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=side,
        stderr=side,
        env={**environment, "TERM": "xterm", **variables},
    ) as process:
        os.close(side)
        shown = b""
        try:
            while piece := os.read(terminal, 65536):
                shown += piece
        except OSError:  # how a terminal without a program ends
            pass
    os.close(terminal)
    return process.returncode, shown


def in_shell(script: str, words: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `"$@"` is the program with its words."""
    return subprocess.run(
        ["bash", "-c", script, "bash", PROGRAM, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
