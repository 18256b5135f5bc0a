"""A log that is made line by line, and what the commands of a verifier say of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochseal.evidence.trust_file import read_trust
from epochseal.format.merkle import leaf_hash
from epochseal.verifier import Examination, Request, examine
from tests.reference.keys import Keys, text
from tests.reference.maker import Maker
from tests.warm_program import run_text

PROGRAM = str(Path(sys.executable).parent / "epochseal")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    status: int
    kinds: set[str]
    warnings: set[str]
    memory: str
    details: dict[str, str]
    said: str


def entry(number: int) -> bytes:
    """An entry with its LF."""
    return b"entry %04d, as sealed.\n" % number


class Site:
    """A log and a trust file, by the commands of a user."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder, self.keys = folder, keys
        self.log, self.file = folder / "log", folder / "log.trust"

    def write(self, entries: int = 1, name: str = "log") -> Maker:
        """A log that was begun and closed, with two epochs."""
        maker = Maker(self.log, self.keys, name).begin("genesis").block(*map(entry, range(entries)))
        return maker.turn().block(entry(entries)).close()

    @property
    def both(self) -> tuple[str, str, str, str]:
        """The options that name both keys."""
        return "--epoch-key", f"file:{self.keys.directory}/verifier", *self.public

    @property
    def public(self) -> tuple[str, str]:
        """The options that name the public key."""
        return "--checkpoint-key", f"file:{self.keys.directory}/auditor"

    def run(self, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Any command."""
        return run_text([*map(str, words)], env=os.environ | env)

    def verify(self, *options: object, log: Path | None = None, trust: bool = False, **env: str) -> Result:
        """`verify --json`, with the epoch key; held against the trust file, or against the known logs."""
        log = log or self.log
        for path in log.glob("segments/*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        keys = (*self.both[:2], "--trust", self.file) if trust else self.both
        done = self.run("verify", log, "--json", *keys, *options, **env)
        verdict: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        found = verdict.get("problems", []), verdict.get("warnings", [])
        kinds, warnings = ({item["kind"] for item in items} for items in found)
        details = {item["kind"]: item["detail"] for items in found for item in items}
        return Result(done.returncode, kinds, warnings, verdict.get("memory", ""), details, done.stderr)

    def trust(self, *options: object) -> subprocess.CompletedProcess[str]:
        """Make the trust file, or add to it."""
        return self.run("trust", self.log, "-o", self.file, *self.both, *options)

    @property
    def seen(self) -> int:
        """The size that the file has seen."""
        return read_trust(self.file).checkpoint.size

    def look(self, log: Path | None = None) -> Examination:
        """What a verifier with the public key and the trust file as it is now finds."""
        return examine(log or self.log, Request(pins=read_trust(self.file).pins()))


def start_of(log: Path, epoch: int) -> str:
    """The hash by which the start of an epoch is accepted."""
    for path in sorted(log.glob("segments/*.seal")):
        for raw in path.read_bytes().splitlines():
            if raw.startswith(b"epoch ") and b'{"epoch":%d,' % epoch in raw:
                return text(leaf_hash(raw.rpartition(b" ")[0]))
    raise AssertionError(epoch)
