"""A folder with a log and all that the good words of every command name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from epochseal.format.cosignature import WitnessKey
from tests.integration.agents import Place
from tests.integration.logs import ORIGIN, LogKeys
from tests.warm_program import run

_CONFIGURATION = f"""\
state_dir = "FOLDER/state"
[[log]]
name = "log"
dir = "FOLDER/log"
origin = "{ORIGIN}"
epoch_key = "file:FOLDER/keys/agent"
checkpoint_key = "file:FOLDER/keys/agent"
[[log.source]]
kind = "stdin"
"""
_ARCHIVE = """\
archive = "s3://archive/log"
archive_receipts = "FOLDER/receipts"
"""
STORE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""The environment of commands that ask an object store: nobody listens there."""
_MONITOR = """\
[monitor]
state_dir = "FOLDER/monitored"
[[monitor.log]]
dir = "FOLDER/log"
epoch_key = "file:FOLDER/keys/verifier"
checkpoint_key = "file:FOLDER/keys/auditor"
"""


class Scenery:
    """Made once, and copied for each command, which may change what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        place = Place(folder, folder)
        place.seal(b"entry\nanother\n")
        run(["prove", str(place.log), "--entry", "0", "-o", str(folder / "entry.proof")]).check_returncode()
        run(["witness", "keygen", str(folder / "witness"), "--name", "witness.example/w"]).check_returncode()
        (folder / "log.vkey").write_text(f"{place.keys.vkey()}\n", encoding="utf-8")
        (folder / "trail").write_text('{"time":"2026-01-01T00:00:00Z","type":"request"}\n', encoding="utf-8")
        (folder / "authority.pem").write_bytes(
            (place.keys.directory / "auditor" / "checkpoint.pub").read_bytes()
        )
        key = WitnessKey("witness.example/w", place.keys.public.data)
        policy = f"witness w {key.vkey} http://127.0.0.1:9/\nquorum w\n"
        (folder / "policy").write_text(policy, encoding="utf-8")
        LogKeys(folder / "nextkeys", "another sentence").write()
        self._segment = place.file("seal", 0).stem

    def copy(self, folder: Path) -> None:
        """Everything once more, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        for path in folder.glob("log/segments/*"):
            os.utime(path, (0, 0))
        archive = _CONFIGURATION.replace("[[log.source]]", f"{_ARCHIVE}[[log.source]]")
        files = {"run.toml": _CONFIGURATION, "archive.toml": archive, "monitor.toml": _MONITOR}
        for name, text in files.items():
            (folder / name).write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")

    def file(self, name: str) -> Path:
        """The path of a file of the log, in any copy."""
        return Path("log") / name.replace("FIRST", self._segment)
