"""What a path is that a glob newly names: a new file, a known one by another name, a rotated one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.follower import Follower
from epochseal.sources.log_file import LogFile, is_of, source_name
from epochseal.sources.resting_files import Look, RestingFiles


def is_read_elsewhere(
    key: tuple[int, int], path: str, followers: Iterable[Follower], resting: RestingFiles
) -> bool:
    """Whether a file is read under another path than this one, where it stands too or stood."""
    if any(follower.reads(key) for follower in followers if follower.path != path):
        return True
    others = (other for other in resting.of_inode(key[1]) if other != path)
    return any((look := Look.at(other)) is not None and look.key == key for other in others)


def take_over(path: str, key: tuple[int, int], followers: Sequence[Follower]) -> SourceMark | None:
    """The position of a file that was read under another path until a moment ago."""
    left = (follower.give_away(key) for follower in followers)
    found = next((mark for mark in left if mark is not None), None)
    return replace(found, name=source_name(path)) if found is not None else None


def former_path(path: str, key: tuple[int, int], resting: RestingFiles) -> str | None:
    """The path under which a file was sealed the furthest, if it had another one then."""
    best, furthest = None, -1
    for other in resting.of_inode(key[1]):
        item = resting.get(other)
        mark = item.mark if item is not None else None
        if mark is not None and mark.offset > furthest and was_sealed(path, mark):
            best, furthest = other, mark.offset
    return best


def was_sealed(path: str, mark: SourceMark) -> bool:
    """Whether the file there is the one of a mark, sealed up to it."""
    try:
        content = LogFile.open(path)
    except OSError:
        return False
    found = is_of(content, mark)
    content.close()
    return found


def claim(content: LogFile, path: str, followers: Sequence[Follower], resting: RestingFiles) -> bool:
    """Whether a file that came to a path is to be read there; it is set to begin where it is sealed.

    Not if it was sealed under another path, which is at rest: that one goes on with it under any name.
    """
    items = (resting.get(other) for other in resting.of_inode(content.key[1]) if other != path)
    if any(
        item is not None and item.mark is not None and not item.missing_said and is_of(content, item.mark)
        for item in items
    ):
        return False
    if (mark := take_over(path, content.key, followers)) is not None:
        content.start_behind(mark)
    return True
