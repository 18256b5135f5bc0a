"""What the file system says of a log's files without reading one: whether there is anything new to verify.

A stamp proves nothing, and nothing is believed for it: whoever may write the files may set their times. It
only decides when a log is looked at next; the scrub reads everything, whatever the stamps say.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256

from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER
from epochseal.verifier import ResumePoint


@dataclass(frozen=True, slots=True)
class Stamps:
    """Of the files before a resume point's segment, and of all others; equal ones: nothing was changed."""

    old: str
    new: str


def stamps_of(place: str, since: ResumePoint | None) -> Stamps:
    """Look at the names, sizes and times of a log's files; what cannot be looked at has a stamp too."""
    old, new = sha256(), sha256()
    first = since.segment if since is not None else 0
    try:
        with os.scandir(os.path.join(place, FOLDER)) as found:  # noqa: PTH118  # a thousand times a round
            for entry in sorted(found, key=lambda item: item.name):
                number = entry.name.partition("-")[0]
                is_old = number.isascii() and number.isdigit() and int(number[:18]) < first
                _add(old if is_old else new, entry.name, entry.stat(follow_symlinks=False))
    except OSError as exc:
        new.update(f"{exc.errno}".encode())
    try:
        path = os.path.join(place, CHECKPOINT_FILE)  # noqa: PTH118  # as above
        _add(new, CHECKPOINT_FILE, os.lstat(path))  # as above
    except OSError as exc:
        new.update(f"{exc.errno}".encode())
    return Stamps(old.hexdigest(), new.hexdigest())


def _add(digest: object, name: str, found: os.stat_result) -> None:
    words = (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    digest.update(os.fsencode(name) + b"\0" + repr(words).encode() + b"\n")  # type: ignore[attr-defined]  # hashlib has no public type
