"""What a tailed table says beside its paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from epochseal.sources.rotated_names import RotatedNames


@dataclass(frozen=True, slots=True)
class TailOptions:
    """How its files are followed.

    Args:
        exclude: globs of files that are left out, by their whole path; also of those that were sealed before.
        from_end: begin the files of a glob of which nothing was sealed before at their end.
        ignore_older: begin a file at its end if it was not written to for so long when it is found; seconds.
        close_inactive: after so many quiet seconds a file is closed; None: the usual time.
        names: of rotated files.
    """

    exclude: Sequence[str] = ()
    from_end: bool = False
    ignore_older: float | None = None
    close_inactive: float | None = None
    names: RotatedNames = field(default_factory=RotatedNames)
