"""What the monitor remembers of each log beside its trust: one file a log, replaced durably as a whole.

A record is read by nobody but the monitor and its `acknowledge`, from a folder that is its user's alone. One
that is not in its form is an error, as with a trust file: it may have held an alarm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from epochseal.encoding import b64decode, b64encode, decode_json, encode_json
from epochseal.errors import ConfigError, FormatError
from epochseal.foreign_text import encode_visible_json
from epochseal.storage.durable import make_directory, replace_file
from epochseal.storage.own_files import OWN_FOLDER_MODE, OWN_MODE, read_own
from epochseal.verifier import ResumePoint

_FORM = "epochseal/v1/monitored"
_MOST_BYTES = 1 << 20
_MOST_PAGE = 64 << 20
_PAGES = "pages"
_HASH_SIZE = 32
_SAFE = "-._~/+@:,="


class _Form(msgspec.Struct, forbid_unknown_fields=True):
    """What is written down has one form: nothing unknown in it."""


def name_of(place: str) -> str:
    """A path as it is written down and told: what is not plain in it is percent-encoded."""
    return quote_from_bytes(os.fsencode(place), safe=_SAFE)


def place_from(name: str) -> str:
    """The path that `name_of` was given."""
    return os.fsdecode(unquote_to_bytes(name))


class Point(_Form, kw_only=True):
    """A resume point, its leaf as base64; `log` and `origin` are of the log that it was found in."""

    log: str
    origin: str
    segment: int
    stem: str
    seal_start: int
    log_offset: int | None
    leaf: str
    size: int
    entries: int
    entry_bytes: int
    epochs: int
    segments: int

    @classmethod
    def of(cls, point: ResumePoint, log: str, origin: str) -> Point:
        """As it is written down."""
        fields = {name: getattr(point, name) for name in ResumePoint.__struct_fields__}
        return cls(log=log, origin=origin, **(fields | {"leaf": b64encode(point.leaf)}))

    def resume_point(self) -> ResumePoint:
        """As the verifier takes it.

        Raises:
            FormatError: its leaf is none.
        """
        fields = {name: getattr(self, name) for name in ResumePoint.__struct_fields__}
        return ResumePoint(**(fields | {"leaf": b64decode(self.leaf, "leaf", _HASH_SIZE)}))


class Acknowledgement(_Form, kw_only=True):
    """A person has seen an alarm: who, why, when (ms); `found` is how much it consisted of then."""

    alarm: int
    found: int
    who: str
    reason: str
    time: int


class Forgetting(_Form, kw_only=True):
    """A person says that a log was removed on purpose: which, who, why, when (ms)."""

    place: str
    who: str
    reason: str
    time: int


class Forgotten(_Form, kw_only=True):
    """What was known of a log that is not monitored any more, and who has said so."""

    record: LogRecord
    word: Forgetting


class Alarm(_Form, kw_only=True):
    """A tampering that was found: told until a person acknowledges it, also if it heals.

    `since` is when it was found first, in ms, and its name; `found` what it consists of, as
    `KIND SEGMENT EPOCH`; `reports` are the names of the files with the verdicts of those moments.
    """

    since: int
    found: list[str]
    reports: list[str]
    acknowledged: Acknowledgement | None = None


class LogRecord(_Form, kw_only=True):
    """One log, by its place, percent-encoded where it needs that. Times are in ms since 1970, 0 for never.

    `verdict` is the last one, empty before the first, and holds since `since`; `first_problem` says what it
    is about. `passed` is when the log was last examined with a verdict, `verified` when last with the verdict
    `verified`; `whole` when the last verification of the whole log began that was finished, and
    `whole_seconds` how long it took. `whole_needed`: a verification of a part does not settle the verdict.
    `stamp` is of the files that were read before the resume point. `notices` are those of changes that the
    operator's command was not given yet.
    """

    form: str = _FORM
    place: str
    pattern: str
    origin: str = ""
    log: str = ""
    verdict: str = ""
    since: int = 0
    first_problem: str = ""
    entries: int = 0
    last_sealed: str = ""
    closed: bool = False
    mode: str = ""
    passed: int = 0
    verified: int = 0
    whole: int = 0
    whole_seconds: float = 0.0
    whole_needed: bool = True
    stamp: str = ""
    point: Point | None = None
    alarm: Alarm | None = None
    notices: list[str] = []

    @property
    def told(self) -> str:
        """The verdict that everybody is told: a tampering stays until a person has acknowledged it."""
        return "tampered" if self.alarm is not None and self.alarm.acknowledged is None else self.verdict


class Records:
    """The folder of all records, and of the reports that are kept.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, state_dir: Path) -> None:
        self._logs, self._reports = state_dir / "logs", state_dir / "reports"
        self._pages = state_dir / _PAGES
        self._forgetting, self._forgotten = state_dir / "forgetting", state_dir / "forgotten"
        for folder in (self._logs, self._reports, self._pages, self._forgetting, self._forgotten):
            make_directory(folder, OWN_FOLDER_MODE)

    def read(self, place: str) -> LogRecord | None:
        """What is remembered of the log at this place; None if nothing.

        Raises:
            ConfigError: the file is not ours alone, or no record of this place.
            StorageError: it cannot be read.
        """
        return self._read(self._path(place), place)

    def all(self) -> Iterator[LogRecord]:
        """Every record, by the name of its file.

        Raises:
            ConfigError, StorageError: as `read`.
        """
        for path in sorted(self._logs.glob("*.json")):
            if (record := self._read(path, None)) is not None:
                yield record

    def write(self, record: LogRecord) -> None:
        """Replace the record of its log, durably.

        Raises:
            StorageError: it cannot be written.
        """
        replace_file(self._path(record.place), encode_json(record), OWN_MODE)

    def leave_forgetting(self, word: Forgetting) -> None:
        """Leave word for the monitor that a log was removed on purpose.

        Raises:
            StorageError: it cannot be written.
        """
        replace_file(self._forgetting / f"{_name(word.place)}.json", encode_json(word), OWN_MODE)

    def forgettings(self) -> Iterator[Forgetting]:
        """All that was left so, by the name of its file.

        Raises:
            ConfigError: a file is not ours alone.
            StorageError: it cannot be read.
        """
        for path in sorted(self._forgetting.glob("*.json")):
            raw = read_own(path, _MOST_BYTES)
            with suppress(FormatError):
                if raw is not None:
                    yield decode_json(raw, Forgetting, "word")

    def forget(self, word: Forgetting, record: LogRecord | None) -> None:
        """Keep what is remembered of a log in `forgotten`, durably, then remove it, and the word.

        Raises:
            StorageError: it cannot be written.
        """
        if record is not None:
            path = self._forgotten / f"{short_name(word.place)}-{word.time}.json"
            replace_file(
                path, msgspec.json.format(encode_json(Forgotten(record=record, word=word))), OWN_MODE
            )
        for path in (
            page_path(self._pages.parent, short_name(word.place)),
            self._acknowledgement(word.place),
            self._path(word.place),
            self._forgetting / f"{_name(word.place)}.json",
        ):
            path.unlink(missing_ok=True)

    def keep_report(self, place: str, time: int, verdict: object) -> str:
        """Keep a verdict as it was found, durably, and the page about it; the path of the verdict's file.

        Raises:
            StorageError: it cannot be written.
        """
        path = self._reports / f"{short_name(place)}-{time}.json"
        if (page := self.page(short_name(place))) is not None:
            replace_file(path.with_suffix(".html"), page, OWN_MODE)
        replace_file(path, msgspec.json.format(encode_visible_json(verdict), indent=2) + b"\n", OWN_MODE)
        return str(path)

    def page(self, name: str) -> bytes | None:
        """The page that the last verification of a whole log wrote, by `short_name`; None if there is none.

        Raises:
            ConfigError, StorageError: as `read`.
        """
        return read_own(page_path(self._pages.parent, name), _MOST_PAGE)

    def acknowledge(self, place: str, acknowledged: Acknowledgement) -> None:
        """Leave word for the monitor that a person has seen an alarm.

        Raises:
            StorageError: it cannot be written.
        """
        replace_file(self._acknowledgement(place), encode_json(acknowledged), OWN_MODE)

    def acknowledged(self, place: str) -> Acknowledgement | None:
        """What was left so, if anything.

        Raises:
            ConfigError, StorageError: as `read`.
        """
        raw = read_own(self._acknowledgement(place), _MOST_BYTES)
        try:
            return decode_json(raw, Acknowledgement, "acknowledgement") if raw is not None else None
        except FormatError:
            return None

    def _read(self, path: Path, place: str | None) -> LogRecord | None:
        raw = read_own(path, _MOST_BYTES)
        if raw is None:
            return None
        try:
            record = decode_json(raw, LogRecord, "record")
            if record.form == _FORM and place in {None, record.place} and self._path(record.place) == path:
                return record
            why = "it is of another log"
        except FormatError as exc:
            why = str(exc)
        hint = "take it from a backup; without it the log is verified anew, and alarms in it are forgotten"
        raise ConfigError(f"{path} is no record of a monitored log: {why}", hint)

    def _path(self, place: str) -> Path:
        return self._logs / f"{_name(place)}.json"

    def _acknowledgement(self, place: str) -> Path:
        return self._logs / f"{_name(place)}.acknowledged"


def short_name(place: str) -> str:
    """What the log of this record is called in the names of its report and page."""
    return _name(place)[:16]


def page_path(state_dir: Path, name: str) -> Path:
    """Where the page about a log lies, by `short_name`."""
    return state_dir / _PAGES / f"{name}.html"


def _name(place: str) -> str:
    return sha256(place.encode()).hexdigest()
