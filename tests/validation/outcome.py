"""A tool that says whether a file is right, and the three ways in which that ends."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class NotHere(Exception):
    """The tool is not installed, or there is nothing for it to look at."""


class Failed(Exception):
    """The tool found something, with its words."""


class Tool:
    """A program that is found by PATH.

    Raises:
        NotHere: it is not installed.
    """

    def __init__(self, name: str) -> None:
        self._path = shutil.which(name)
        if self._path is None:
            raise NotHere(f"{name}: not installed on this machine")

    def run(self, *arguments: str | Path, silent: bool = False) -> str:
        """What it said, if it ended with 0.

        Args:
            arguments: behind its name.
            silent: any word of it is a finding.

        Raises:
            Failed: it ended with another status, or said something.
        """
        command = [str(self._path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        said = (done.stdout + done.stderr).strip()
        if done.returncode or (silent and said):
            raise Failed(f"status {done.returncode}\n{said}")
        return said
