"""What rotations left in the folders of some paths, as it is at the start: each folder is listed once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import Identity
from epochseal.sources.newcomers import was_sealed
from epochseal.sources.rotated_names import RotatedNames


class Leftovers:
    """Of the paths that are asked for.

    Args:
        names: of rotated files.
    """

    def __init__(self, names: RotatedNames) -> None:
        self._names = names
        # By folder: the inode and path of each file there, and the paths that the files may have had before.
        self._files: dict[str, dict[int, str]] = {}
        self._former: dict[str, set[str]] = {}

    def has(self, path: str) -> bool:
        """Whether a rotated file of a path is there."""
        folder = os.path.dirname(path)  # noqa: PTH120  # text in, text out, of thousands of paths
        if folder not in self._former:
            self._former[folder] = {
                former for file in self._list(folder).values() for former in self._names.former_paths(file)
            }
        return path in self._former[folder]

    def heir(self, path: str, mark: SourceMark, is_new: Callable[[str], bool]) -> str | None:
        """The path to which a sealed file was moved, and from which it was rotated then.

        Args:
            path: where it was.
            mark: up to where it is sealed.
            is_new: whether a path is followed, and nothing was sealed of it yet.
        """
        with suppress(FormatError):
            name = self._list(os.path.dirname(path)).get(Identity.parse(mark.file).inode)  # noqa: PTH120  # as above
            if name is not None and was_sealed(name, mark):
                others = (other for other in self._names.former_paths(name) if other != path)
                return next(filter(is_new, others), None)
        return None

    def _list(self, folder: str) -> dict[int, str]:
        if folder not in self._files:
            self._files[folder] = files = dict[int, str]()
            for one in self._names.folders(folder):
                with suppress(OSError), os.scandir(one) as entries:
                    files |= {entry.inode(): entry.path for entry in entries}
        return self._files[folder]
