"""Read the files of a trail: each is looked at, and read as what it is; the same call in two files is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from epochseal.errors import FormatError
from epochseal.trail import cloudtrail, vault_audit
from epochseal.trail.events import MILLISECOND, AddCall, Call, Trail
from epochseal.trail.trail_file import TrailFile

_FIRST_BYTES = 4096


def read_trail(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Trail:
    """Read all files; `progress` is told how many of them are done.

    Raises:
        FormatError: a file is of no known form, or damaged; it is named.
        StorageError: a file cannot be read.
    """
    trail = Trail()
    calls: dict[tuple[str, str], Call] = {}

    def add_call(call: Call) -> None:
        key = (call.operation, call.id)
        calls[key] = calls[key].joined(call) if key in calls else call
        taken.append(call)

    for number, path in enumerate(paths):
        taken: list[Call] = []
        before = len(calls)
        times: list[int] = []
        try:
            with TrailFile(path) as file:
                broken = _read(file, trail, add_call, times.append)
            if broken:
                trail.gaps.append(f"{path.name} has {broken} lines that cannot be read")
        except FormatError as exc:
            raise FormatError(
                f"{path}: {exc}", exc.hint or "name the files as the backend delivered them"
            ) from exc
        trail.doubled += len(taken) - (len(calls) - before)
        trail.files += 1
        if times:
            trail.spans.append((min(times) // MILLISECOND, max(times) // MILLISECOND))
        progress(number + 1, len(paths))
    trail.calls = sorted(calls.values(), key=lambda call: call.at)
    return trail


def _read(file: TrailFile, trail: Trail, add_call: AddCall, saw: Callable[[int], None]) -> int:
    """Hand on what stands in a file; how many lines of it are damaged."""
    begin = file.skip_blanks(_FIRST_BYTES)
    if not begin:
        # A rotated file that nothing was written to.
        return 0
    if begin[:1] != b"{":
        raise FormatError("neither a CloudTrail file nor that of a Vault or OpenBao audit device")
    # Each line of an audit device is an object with these two; CloudTrail's one object begins with `Records`.
    if begin[1:].lstrip().startswith(b'"Records"'):
        trail.kinds.add("cloudtrail")
        trail.resolution = max(trail.resolution, cloudtrail.RESOLUTION)
        cloudtrail.read_cloudtrail(file.whole(), add_call, saw)
        return 0
    trail.kinds.add("vault")
    return vault_audit.read_vault_audit(file.pieces(), add_call, saw)
