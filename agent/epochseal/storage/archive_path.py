"""A path in an archive: `s3://BUCKET/PREFIX/segments/000001-….log` is the object of that key.

An archive is a log directory whose files are objects (docs/format.md, 10.9). Whatever reads a log goes
through `opener` and looks at files by `stat`: here both ask the store. To the system's own calls such a path
is a name under a folder `s3:`, which is not there: nothing is read or written on this machine.
"""

from __future__ import annotations

import os
import re
import stat as modes
from hashlib import sha256
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING

from epochseal.encoding import UNSEEN
from epochseal.errors import ConfigError
from epochseal.storage.stored_file import StoredFile

if TYPE_CHECKING:
    from epochseal.storage.object_store import ObjectStore, StoredObject

SCHEME = "s3://"
_BLOCK = 512
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}")
_MOST_PREFIX = 800
"""Bytes: a key has 1,024 at most, and names of segments follow the prefix."""


class ArchivePath(PosixPath):
    """A name in a bucket; made by `parse_archive`, and of that by `/`, `parent` and `with_name`."""

    __slots__ = ()

    def __str__(self) -> str:
        return SCHEME + "/".join(self.parts[1:])

    def __repr__(self) -> str:
        return f"ArchivePath({str(self)!r})"

    def __fspath__(self) -> str:
        return str(self)

    @property
    def key(self) -> str:
        """The object's key."""
        return "/".join(self.parts[2:])

    @property
    def store(self) -> ObjectStore:
        """The bucket, as this process reaches it."""
        from epochseal.storage.object_store import store_of  # noqa: PLC0415  # what speaks HTTP, for archives alone

        return store_of(self.parts[1])

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As for a regular file, of the object as it was listed last; its number stands for its content.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be looked at.
        """
        del follow_symlinks
        item = self.store.look(self.key)
        number = int.from_bytes(sha256(item.etag.encode()).digest()[:6])
        when = int(item.modified)
        shown = (modes.S_IFREG | 0o444, number, 0, 1, 0, 0, item.size, when, when, when)
        exact = (item.modified,) * 3 + (when * 10**9,) * 3
        return os.stat_result((*shown, *exact, _BLOCK, -(-item.size // _BLOCK), 0))

    def open_stored(self) -> StoredFile:
        """The object as an open file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be looked at.
        """
        store = self.store
        return StoredFile(store, store.look(self.key))

    def names(self) -> list[str]:
        """The names of the objects in this folder.

        Raises:
            StorageError: it cannot be listed.
        """
        return [item.key.rpartition("/")[2] for item in self.objects()]

    def objects(self) -> list[StoredObject]:
        """The objects in this folder, in the order of their names; not the one that stands for the folder."""
        prefix = self.key + "/"
        found = ((item, item.key[len(prefix) :]) for item in self.store.list(prefix))
        return [item for item, name in found if name and "/" not in name]


def parse_log_place(text: str) -> Path:
    """A log as a user names it: a directory, `file:///…` for one, or `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: a URL of another kind, or not in its one form.
    """
    if text.startswith("file:///"):
        return Path(text.removeprefix("file://"))
    if "://" not in text:
        return Path(text)
    return parse_archive(text)


def parse_archive(text: str) -> ArchivePath:
    """An archive by its URL.

    Raises:
        ConfigError: it is of another kind, or not in its one form.
    """
    if not text.startswith(SCHEME):
        kind = text.partition("://")[0]
        raise ConfigError(f"no archive can be of the kind {kind}:", "an archive is s3://BUCKET/PREFIX")
    path = ArchivePath("s3:", *text.removeprefix(SCHEME).split("/"))
    if str(path) != text.removesuffix("/") or ".." in path.parts or len(path.parts) < 3:  # noqa: PLR2004  # scheme, bucket, prefix
        raise ConfigError(
            f"{text} names no archive", "as in s3://BUCKET/PREFIX, without empty or dotted parts"
        )
    # All else is a part of the key, as it stands: nothing is unescaped, as in the store's own programs.
    if _BUCKET.fullmatch(path.parts[1]) is None or UNSEEN.search(path.key.replace(" ", "")) is not None:
        raise ConfigError(f"{text} names no archive", "a bucket has letters, digits, dots and hyphens")
    if len(path.key.encode()) > _MOST_PREFIX:
        raise ConfigError(f"{text} names no archive", f"a prefix has {_MOST_PREFIX} bytes at most")
    return path
