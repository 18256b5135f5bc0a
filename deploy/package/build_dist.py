"""`make dist`: wheel and sdist, built twice in different folders and under different umasks, and an SBOM.

    python -m deploy.package.build_dist FOLDER

The two builds have to be equal, byte for byte. What goes in is what git has of the working tree, and nothing
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.package.sbom import make_sbom

ROOT = Path(__file__).resolve().parents[2]
EPOCH = "1767225600"
"""2026-01-01, where neither SOURCE_DATE_EPOCH nor git says anything else."""


def main() -> int:
    """Build both; 1 if the two builds differ."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SOURCE_DATE_EPOCH", commit_time())
    with tempfile.TemporaryDirectory() as name:
        first, second = (build(Path(name, place), mask) for place, mask in (("a", 0o022), ("another", 0o077)))
        if (differing := differences(first, second)) or not first:
            print(f"make dist: error: the builds differ: {', '.join(differing)}", file=sys.stderr)
            return 1
        for path in first:
            shutil.copyfile(path, folder / path.name)
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    (folder / "sbom.json").write_text(json.dumps(make_sbom(), indent=1) + "\n", encoding="utf-8")
    print("make dist: built twice, equal")
    return 0


def build(folder: Path, mask: int) -> list[Path]:
    """A wheel and an sdist, from a copy of what git has."""
    source = folder / "source"
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    out = folder / "out"
    old = os.umask(mask)
    try:
        for kind in ("wheel", "sdist"):
            command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(out)]
            subprocess.run(command, cwd=source, check=True, capture_output=True)
    finally:
        os.umask(old)
    return sorted(path for path in out.iterdir() if path.is_file())


def differences(first: list[Path], second: list[Path]) -> list[str]:
    """The names of files that are not the same in both."""
    contents = [{path.name: path.read_bytes() for path in paths} for paths in (first, second)]
    names = sorted(contents[0].keys() | contents[1].keys())
    return [name for name in names if contents[0].get(name) != contents[1].get(name)]


def tracked() -> list[str]:
    """The files that git tracks, as they are in the working tree; links are left out."""
    names = _git("ls-files", "-z").split("\0")
    return [name for name in names if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def commit_time() -> str:
    """The time of the commit that is checked out."""
    return _git("log", "-1", "--format=%ct").strip() or EPOCH


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
