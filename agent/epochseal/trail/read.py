"""Read the files of a trail: each is looked at, and read as what it is; the same call in two files is one."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.storage.opener import read_named_file
from epochseal.trail import cloudtrail, vault_audit
from epochseal.trail.events import MILLISECOND, AddCall, Call, Trail

_GZIP = b"\x1f\x8b"
_MAX_FILE = 4 << 30


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
            if broken := _read(load(path), trail, add_call, times.append):
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


def load(path: Path) -> bytes:
    """The content of a file, decompressed if it is gzipped; of several gzip members, all of them.

    Raises:
        FormatError: the compressed data is damaged, cut off, or larger than 4 GiB.
        StorageError: it cannot be read.
    """
    try:
        content = read_named_file(path, _MAX_FILE)
        if content[:2] == _GZIP:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as inner:
                content = inner.read(_MAX_FILE)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise FormatError(f"damaged gzip data: {exc}") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if len(content) >= _MAX_FILE:
        raise FormatError(f"more than {_MAX_FILE} bytes of decompressed data")
    return content


def _read(content: bytes, trail: Trail, add_call: AddCall, saw: Callable[[int], None]) -> int:
    """Hand on what stands in a file; how many lines of it are damaged."""
    if not content.strip():
        # A rotated file that nothing was written to.
        return 0
    if content.lstrip()[:1] != b"{":
        raise FormatError("neither a CloudTrail file nor that of a Vault or OpenBao audit device")
    # Each line of an audit device is an object with these two; CloudTrail's one object begins with `Records`.
    if content.lstrip()[1:].lstrip().startswith(b'"Records"'):
        trail.kinds.add("cloudtrail")
        trail.resolution = max(trail.resolution, cloudtrail.RESOLUTION)
        cloudtrail.read_cloudtrail(content, add_call, saw)
        return 0
    trail.kinds.add("vault")
    return vault_audit.read_vault_audit(content, add_call, saw)
