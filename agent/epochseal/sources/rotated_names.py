"""What the names of rotated files say: of which log they are, and which is older.

Known are the names of logrotate and of the rotating handlers of most languages: `app.log.1`,
`app.log-20261123`, `app.log.2026-11-23_10`, `app.log.old`, `app-20261123.log`, `app.1.log`, each also with
the ending of a compressor. Others can be given by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Literal

from epochseal.errors import ConfigError
from epochseal.sources.compressed_copy import READABLE, UNREADABLE

COMPRESSED = (*READABLE, *UNREADABLE)
Order = Literal["time", "up", "down"]
Age = tuple[int, ...]
_MARK = r"[._-](\d[\dT:._-]*|old|bak)"
_AT_END = re.compile(rf"(.+?){_MARK}")
_BEFORE_ENDING = re.compile(rf"(.+?){_MARK}(\.[A-Za-z][^.]*)")
_DATE_DIGITS = 6
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d\d)*")
_YEARS = range(1970, 2200)
_NUMBERED, _DATED, _TIMED, _BY_HAND = range(4)
_BY_HAND_FORM = re.compile(r"[^/{}]*\{name\}[^/{}]*|[^/{}]*\{stem\}[^/{}]*\{ending\}[^/{}]*")
_PLACEHOLDERS = {"{name}": "(?P<name>.+)", "{stem}": "(?P<stem>.+)", "{ending}": r"(?P<ending>\.[^.]+)"}


def is_compressed(path: str) -> bool:
    """Whether it is named like a compressed file: never one that is written to."""
    return path.endswith(COMPRESSED)


def plain_name(name: str) -> str:
    """Without the ending of a compressor."""
    return PurePath(name).stem if is_compressed(name) else name


def name_pattern(text: str) -> re.Pattern[str]:
    """Names by hand: a glob, in which `{name}`, or `{stem}` and `{ending}`, stand for the name of the log.

    Raises:
        ConfigError: the name of the log does not follow from such a name.
    """
    if not _BY_HAND_FORM.fullmatch(text) or text in ("{name}", "{stem}{ending}"):
        raise ConfigError(f"{text!r} does not say of which log a rotated file is")
    parts = re.split(r"(\{\w+\})", text)
    return re.compile("".join(_PLACEHOLDERS.get(part) or _glob(part) for part in parts))


def _glob(text: str) -> str:
    parts = {"*": ".*", "?": "."}
    return "".join(
        parts.get(part) or (part.replace("[!", "[^") if len(part) > 1 else re.escape(part))
        for part in re.findall(r"\[[^\[\]\\]+\]|.", text)
    )


class RotatedNames:
    """The names of a tailed table.

    Args:
        by_hand: see `name_pattern`; none: the usual names.
        order: of those by hand: by the time of the last write, or by the numbers in the name, of which the
            greatest ("up") or the smallest ("down") is that of the newest.
        olddir: the folder to which files are moved when they are rotated, beside their own; relative to that.

    Raises:
        ConfigError: a name by hand says not of which log it is.
    """

    def __init__(self, by_hand: Sequence[str] = (), order: Order = "time", olddir: str | None = None) -> None:
        self._by_hand = [name_pattern(text) for text in by_hand]
        self._order = order
        self._olddir = olddir

    def bases(self, name: str) -> list[str]:
        """The names that a file may have had before it was rotated to `name`."""
        plain = plain_name(name)
        found = [] if plain == name else [plain]
        for pattern in self._by_hand:
            if match := pattern.fullmatch(plain):
                parts = match.groupdict()
                found.append(parts.get("name") or parts["stem"] + parts["ending"])
        if not self._by_hand:
            if match := _AT_END.fullmatch(plain):
                found.append(match[1])
            if match := _BEFORE_ENDING.fullmatch(plain):
                found.append(match[1] + match[3])
        return found

    def former_paths(self, path: str) -> list[str]:
        """The paths that a file may have had before a rotation gave it this one."""
        folder, name = os.path.split(path)
        folders = [folder]
        if self._olddir is not None and folder.endswith(end := f"/{self._olddir.strip('/')}"):
            folders.append(folder.removesuffix(end))
        bases = self.bases(name)
        if len(folders) > 1:
            bases = [*bases, name]
        return [f"{one.rstrip('/')}/{base}" for one in folders for base in bases if f"{one}/{base}" != path]

    def folders(self, folder: str) -> list[str]:
        """Where the rotated files of a folder are."""
        if self._olddir is None:
            return [folder]
        return [folder, os.path.normpath(os.path.join(folder, self._olddir))]  # noqa: PTH118  # text in, text out

    def age(self, name: str, base: str, written: int) -> Age:
        """A scheme, and the place within it: the greater, the newer.

        Args:
            name: of the rotated file.
            base: of the one that it was.
            written: nanoseconds, when it was.
        """
        plain = plain_name(name)
        if self._by_hand:
            numbers = tuple(map(int, re.findall(r"\d+", _mark(plain, base))))
            match self._order:
                case "up":
                    return _BY_HAND, *numbers
                case "down":
                    return _BY_HAND, *(-number for number in numbers)
                case "time":
                    return _BY_HAND, written
        mark = _mark(plain, base)
        digits = re.sub(r"\D", "", mark)
        if not digits:
            return _TIMED, written, 0
        if len(digits) < _DATE_DIGITS:
            return _NUMBERED, -int(digits), 0
        return _DATED, *_date(re.findall(r"\d+", mark)), written


def missing_numbers(ages: Sequence[Age]) -> int:
    """How many numbers are left out between files that a rotation numbers, or up to the log itself.

    Args:
        ages: the oldest first.
    """
    numbers = [-age[1] for age in ages if age[0] == _NUMBERED]
    if not numbers:
        return 0
    # Those that count down towards the log end with 1, or 0.
    is_down = numbers[0] >= numbers[-1]
    return max(numbers) - min(*numbers, *([1] if is_down else numbers)) + 1 - len(set(numbers))


def direction_of_numbers(files: Sequence[tuple[Age, int, bool]]) -> tuple[bool, bool]:
    """Whether numbers grow with each rotation (some handlers never rename), and whether that is sure.

    The times of files that no compressor has written tell it; else which of them are compressed, since those
    are older; else in which order they were compressed.

    Args:
        files: age, time of the last write, and whether it is compressed.
    """
    numbered = sorted((-age[1], written, packed) for age, written, packed in files if age[0] == _NUMBERED)
    if plain := _rising([written for _, written, packed in numbered if not packed]):
        up = 2 * sum(plain) > len(plain)
        # Most rotations count down. That two files say otherwise may be a late write to the older one.
        return up, all(plain) and len(plain) > 1 if up else not any(plain)
    packed_first = [first[2] for first, second in pairwise(numbered) if first[2] != second[2]]
    if packed_first and not any(packed_first):
        return False, True
    packed = _rising([written for _, written, packed in numbered if packed])
    if packed and all(packed):
        return True, False
    return False, len(numbered) < 2 or (bool(packed) and not any([*packed, *packed_first]))  # noqa: PLR2004  # one has no order


def _rising(times: Sequence[int]) -> list[bool]:
    """Of each that is followed by another time: whether by a later one."""
    return [first < second for first, second in pairwise(times) if first != second]


def is_dated(age: Age) -> bool:
    """Whether the name says when the file was rotated."""
    return age[0] == _DATED


def upwards(age: Age) -> Age:
    """The age of a numbered file where numbers count up."""
    return (age[0], -age[1], *age[2:]) if age[0] == _NUMBERED else age


def _mark(plain: str, base: str) -> str:
    """What a rotation has added to the name."""
    ending = PurePath(base).suffix
    stem = base.removesuffix(ending)
    if base in plain:
        return plain.replace(base, " ", 1)
    return plain.replace(stem, " ", 1).removesuffix(ending)


def _date(groups: list[str]) -> list[int]:
    """The numbers of a date and what counts within it, the largest unit first, however they were written."""
    if _DATE.fullmatch(first := groups[0]):
        groups = [first[:4], *(first[i : i + 2] for i in range(4, len(first), 2)), *groups[1:]]
    numbers = [int(group) for group in groups]
    if len(numbers) > 2 and numbers[2] in _YEARS and numbers[0] not in _YEARS:  # noqa: PLR2004  # day, month, year
        numbers[:3] = numbers[2::-1]
    return numbers
