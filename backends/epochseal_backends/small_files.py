"""Files of keys and secrets: read up to a limit, and what the system says about them as errors of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from epochseal.errors import ConfigError, Denied
from epochseal.regular_files import open_regular

MAX_SIZE = 64 << 10
"""Largest file in bytes: no key and no secret comes near it."""


def read_small_file(path: Path, named: str, check: Callable[[int], None] | None = None) -> bytes:
    """The content of a file; inside `translated`.

    Args:
        path: the file.
        named: what messages call it.
        check: is handed the open descriptor before anything is read: what it looks at is what is read.

    Raises:
        ConfigError: it has more than 64 KiB, or is no regular file, which might never end or never begin.
        OSError: it cannot be read.
    """
    if (descriptor := open_regular(path, follow=True)) is None:
        raise ConfigError(f"{named} is no regular file", "name the file that holds it")
    with FileIO(descriptor, "rb") as file:
        if check is not None:
            check(file.fileno())
        raw = file.read(MAX_SIZE + 1)
    if len(raw) > MAX_SIZE:
        raise ConfigError(f"{named} is not a file of at most {MAX_SIZE} bytes", "name the file that holds it")
    return raw


@contextmanager
def translated(named: str, verb: str, hint: str | None = None) -> Iterator[None]:
    """Turn what the system says about a file into our errors; `hint` is for one that is not there.

    Raises:
        Denied: this user may not.
        ConfigError: any other reason.
    """
    try:
        yield
    except PermissionError as exc:
        raise Denied(
            f"this user may not {verb} {named}", "check owner and mode of it and its folders"
        ) from exc
    except OSError as exc:
        raise ConfigError(f"cannot {verb} {named}: {exc.strerror}", hint) from exc
