"""Witnesses as processes, and policies that name them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from epochseal.format.note import VerifierKey
from epochseal.format.witness_policy import Policy, parse_policy
from tests.integration.logs import ORIGIN, LogKeys
from tests.warm_program import run

PROGRAM = str(Path(sys.executable).parent / "epochseal")


@dataclass(frozen=True)
class Running:
    """A witness that listens: its folder, its address and its vkey."""

    folder: Path
    url: str
    vkey: str


@contextmanager
def witness(folder: Path, keys: LogKeys, name: str = "witness.example/w1") -> Iterator[Running]:
    """The real command with the logs of `keys`; a folder that has a key goes on where it was."""
    if not folder.exists():
        run(["witness", "keygen", str(folder), "--name", name]).check_returncode()
    logs = folder.with_suffix(".logs")
    logs.write_text(f"# one log\n{VerifierKey(ORIGIN, keys.public).vkey}\n", encoding="utf-8")
    command = [PROGRAM, "witness", "serve", str(folder), "--log", str(logs), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"listens on (http://\S+)/", process.stderr.readline())
            assert found is not None
            yield Running(folder, found[1], (folder / "witness.vkey").read_text(encoding="utf-8").strip())
        finally:
            process.terminate()


def policy_text(witnesses: Sequence[Running], threshold: str = "all") -> str:
    """A policy of these witnesses."""
    lines = [f"witness w{place} {item.vkey} {item.url}" for place, item in enumerate(witnesses)]
    names = " ".join(f"w{place}" for place, _ in enumerate(witnesses))
    return "\n".join([*lines, f"group them {threshold} {names}", "quorum them", ""])


def policy_of(*witnesses: Running, threshold: str = "all") -> Policy:
    """The same, read."""
    return parse_policy(policy_text(witnesses, threshold).encode())
