"""A Debian package of the agent with everything that it needs besides Python.

    python -m deploy.package.build_deb WHEEL FOLDER

writes FOLDER/epochseal_VERSION_ARCHITECTURE.deb. Libraries come by hash (requirements/runtime.txt), and the
same inputs give the same bytes: times are SOURCE_DATE_EPOCH, owners are root, names are sorted by dpkg-deb.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from deploy.package.man_pages import SHELLS
from deploy.package.sbom import make_sbom
from epochseal.version import __version__

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"
LIBRARIES = "usr/lib/epochseal"
EPOCH = 1767225600
"""2026-01-01, unless SOURCE_DATE_EPOCH says otherwise."""

_COMPLETION = {
    "bash": "usr/share/bash-completion/completions",
    "zsh": "usr/share/zsh/vendor-completions",
    "fish": "usr/share/fish/vendor_completions.d",
}
_PROGRAM = """#!/usr/bin/python3 -IB
import sys

sys.path.insert(0, "/usr/lib/epochseal")

from epochseal.__main__ import main

main()
"""


_COPYRIGHT = """Copyright: the authors of epochseal
License: Apache-2.0, which is in /usr/share/common-licenses/Apache-2.0

The libraries in /usr/lib/epochseal have the licences that their *.dist-info folders name.
"""


class BuildError(Exception):
    """The package cannot be made here, with a hint."""


def main() -> int:
    """Make the package; 1 where this machine cannot."""
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(EPOCH))
    try:
        print(build(wheel, folder))
    except BuildError as exc:
        print(f"make: error: {exc}", file=sys.stderr)
        return 1
    return 0


def build(wheel: Path, folder: Path) -> Path:
    """Stage all files in a folder of their own, then pack them.

    Raises:
        BuildError: a tool is missing, or Python is not the one that the package will run on.
    """
    _check_python()
    folder.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as name:
        # dpkg-deb keeps the mode of the folder itself, and a temporary one is its maker's alone.
        stage = Path(name) / "stage"
        stage.mkdir()
        _install_libraries(stage, wheel)
        _install_program(stage)
        _install_settings(stage)
        _install_documents(stage)
        _write_control(stage)
        _set_times(stage)
        package = folder / f"epochseal_{_version()}_{_architecture()}.deb"
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", str(stage), str(package))
    return package


def _check_python() -> None:
    if not Path(SYSTEM_PYTHON).exists() or shutil.which("dpkg-deb") is None:
        raise BuildError(f"{SYSTEM_PYTHON} and dpkg-deb are needed: build it on the Debian that it is for")
    if _python() != f"{sys.version_info.major}.{sys.version_info.minor}":
        raise BuildError(
            f"{SYSTEM_PYTHON} is {_python()}, and the libraries would be for {sys.version_info.major}."
            f"{sys.version_info.minor}: make PYTHONS={SYSTEM_PYTHON} clean deb"
        )


def _install_libraries(stage: Path, wheel: Path) -> None:
    target = stage / LIBRARIES
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
    # Wheels alone, so that nothing is compiled by a compiler of this machine; each as its hash says.
    _run(
        *pip,
        "--only-binary=:all:",
        "--require-hashes",
        "-r",
        str(ROOT / "requirements/runtime.txt"),
        f"--target={target}",
    )
    _run(*pip, "--no-deps", "--no-compile", str(wheel), f"--target={target}")
    # Scripts of libraries would be started by a Python that knows nothing of this folder.
    shutil.rmtree(target / "bin", ignore_errors=True)
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)
    for record in target.glob("*.dist-info/RECORD"):
        # Which scripts pip made, and where: it names the folder in which it built.
        record.unlink()
    for trace in (*target.glob("*.dist-info/direct_url.json"), *target.glob("*.dist-info/REQUESTED")):
        trace.unlink()


def _install_program(stage: Path) -> None:
    program = _file(stage / "usr/bin/epochseal", _PROGRAM)
    program.chmod(0o755)
    with tempfile.TemporaryDirectory() as name:
        _run(sys.executable, "-m", "deploy.package.man_pages", name)
        for page in sorted(Path(name, "man1").iterdir()):
            _compressed(stage / f"usr/share/man/man1/{page.name}.gz", page.read_bytes())
        for shell, script in SHELLS.items():
            _file(stage / _COMPLETION[shell] / script, Path(name, "completion", script).read_text("utf-8"))


def _install_settings(stage: Path) -> None:
    units = ROOT / "deploy/systemd"
    for unit in sorted((*units.glob("*.service"), *units.glob("*.timer"))):
        _copy(unit, stage / "usr/lib/systemd/system" / unit.name)
    _copy(units / "sysusers.d/epochseal.conf", stage / "usr/lib/sysusers.d/epochseal.conf")
    for name in ("epochseal.toml", "monitor.toml"):
        _copy(HERE / name, stage / "etc/epochseal" / name)
    # systemd reads what lies there and hands it to a unit (LoadCredential=): nobody else needs it.
    (stage / "etc/epochseal/credentials").mkdir(mode=0o700)
    for drop_in in sorted(units.glob("*.conf")):
        _copy(drop_in, stage / "usr/share/doc/epochseal/examples" / drop_in.name)
    _copy(ROOT / "deploy/logrotate/epochseal", stage / "usr/share/doc/epochseal/examples/logrotate")


def _install_documents(stage: Path) -> None:
    folder = stage / "usr/share/doc/epochseal"
    _copy(ROOT / "README.md", folder / "README.md")
    _file(folder / "copyright", _COPYRIGHT)
    _file(folder / "sbom.json", json.dumps(make_sbom(), indent=1) + "\n")
    _copy(ROOT / "CHANGELOG.md", folder / "CHANGELOG.md")
    _compressed(folder / "changelog.gz", _changelog().encode())
    for page in sorted((ROOT / "docs").glob("*.md")):
        _copy(page, folder / "docs" / page.name)


def _changelog() -> str:
    """The entry that Debian's tools look for; what has changed is in CHANGELOG.md beside it."""
    maintainer = re.search(
        r"^Maintainer: (.*)$", (HERE / "control").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert maintainer is not None  # noqa: S101  # for the type checker: the file lies beside this one
    when = format_datetime(datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC))
    entry = f"epochseal ({_version()}) unstable; urgency=medium\n\n  * What has changed: CHANGELOG.md.\n"
    return f"{entry}\n -- {maintainer[1]}  {when}\n"


def _write_control(stage: Path) -> None:
    control = stage / "DEBIAN"
    size = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) // 1024
    major, minor = map(int, _python().split("."))
    text = (HERE / "control").read_text(encoding="utf-8")
    values = {
        "VERSION": _version(),
        "ARCHITECTURE": _architecture(),
        "SIZE": str(size),
        "PYTHON": f"{major}.{minor}",
        "NEXT_PYTHON": f"{major}.{minor + 1}",
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    _file(control / "control", text)
    _file(control / "conffiles", "/etc/epochseal/epochseal.toml\n/etc/epochseal/monitor.toml\n")
    for name in ("postinst", "prerm", "postrm"):
        _copy(HERE / name, control / name).chmod(0o755)


def _set_times(stage: Path) -> None:
    when = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (*stage.rglob("*"), stage):
        os.utime(path, (when, when), follow_symlinks=False)


def _version() -> str:
    # To Debian `~` sorts before the end: a candidate is older than its release.
    return __version__.replace("rc", "~rc")


def _architecture() -> str:
    return _run("dpkg", "--print-architecture").strip()


def _python() -> str:
    return _run(SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def _file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _compressed(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise BuildError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
