"""docs/auditors.md, followed literally in a fresh directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from epochseal.evidence.trust_file import read_trust

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "auditors.md").read_text(encoding="utf-8")


def test_every_command_works(tmp_path: Path) -> None:
    """All commands, in order, one shell: each ends as the page says, with the output that it shows."""
    blocks = re.findall(r"^```(sh)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks[0] == ("sh", "pip install '.[report]'\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran, output = 0, ""
    for kind, text in blocks[1:]:
        if kind:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=tmp_path,
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
                env={**os.environ, "PATH": path},
            )
            assert done.returncode == 0, text + done.stderr
            ran, output = ran + 1, done.stdout
            continue
        place = 0
        for shown in text.splitlines():
            if shown != "…":
                assert shown in output[place:], (shown, output)
                place = output.index(shown, place) + len(shown)
    assert ran == 13
    assert read_trust(tmp_path / "payments.trust").key.name == "example.com/payments"
    assert re.fullmatch(r"(line \d+: \d+ entries as they were sealed\n){2,}", output)
    changed = blocks[-1][1].replace("log/segments", "changed/segments")
    done = subprocess.run(["bash", "-c", changed], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "entries NOT as they were sealed" in done.stdout
