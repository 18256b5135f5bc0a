"""Where an agent remembers its logs: for it alone, on a disk, and not lost together with the log."""

from __future__ import annotations

import os
from pathlib import Path

from epochseal.config.state_dir import StateDir, check_outside
from epochseal.doctor.check_result import CheckResult
from epochseal.doctor.storage_checks import nearest_directory
from epochseal.errors import ConfigError, EpochsealError
from epochseal.sealing.log_state import carry_is_kept
from epochseal.storage.own_files import check_own_folder

_TOPIC = "state_dir"
_MEMORY = frozenset({"tmpfs", "ramfs"})
_LAYERS = frozenset({"overlay", "aufs", "fuse-overlayfs"})


def check_state_dir(part: str, state: StateDir, logdir: Path, *, agent_runs: bool) -> CheckResult:
    """Whether what lies there outlives a reboot, and tells of a log that was changed."""
    if state.path is None:
        if state.named:
            detail = "none: each start but one by the page is cold, and a log made anew is not seen"
            return CheckResult(part, _TOPIC, "good", detail, "name a directory on a disk, beside the log")
        return CheckResult(
            part, _TOPIC, "wrong", "this user has no home directory", "name one with state_dir, or say none"
        )
    try:
        check_outside(state.path, logdir)
        place = nearest_directory(state.path)
        if place == state.path.absolute():
            check_own_folder(Path(os.path.realpath(place)))
    except ConfigError as exc:
        return CheckResult(part, _TOPIC, "wrong", str(exc), exc.hint)
    except EpochsealError as exc:
        return CheckResult(part, _TOPIC, "unknown", str(exc), exc.hint)
    if not os.access(place, os.W_OK | os.X_OK):
        return CheckResult(
            part, _TOPIC, "wrong", f"this user may not write in {place}", "check owner and mode"
        )
    return _check_place(part, state.path, place, logdir, agent_runs=agent_runs)


def _check_place(part: str, path: Path, place: Path, logdir: Path, *, agent_runs: bool) -> CheckResult:
    kind = file_system(place)
    if kind in _MEMORY:
        what = f"{path} is on {kind}: what is remembered is gone with a reboot"
        return CheckResult(part, _TOPIC, "wrong", what, "name a directory on a disk")
    if agent_runs and carry_is_kept(path, logdir):
        what = f"{path} keeps a carry while an agent runs"
        return CheckResult(
            part,
            _TOPIC,
            "wrong",
            what,
            "it was copied back from a backup: shred it, and leave it out of them",
        )
    if kind in _LAYERS:
        what = f"{path} is on {kind}: in a container it is gone with it"
        return CheckResult(part, _TOPIC, "unknown", what, "give it a volume")
    if place.stat().st_dev == nearest_directory(logdir).stat().st_dev:
        what = f"{path} is on the volume of the log: whoever sets back one sets back both"
        return CheckResult(part, _TOPIC, "unknown", what, "another disk shows a log that was restored")
    return CheckResult(part, _TOPIC, "good", f"{path}, on {kind or 'another volume than the log'}")


def file_system(path: Path) -> str:
    """The kind of file system that a directory lies on; empty if it cannot be seen."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, source = line.partition(" - ")
        if fields.split()[2] == wanted:
            return source.split()[0]
    return ""
