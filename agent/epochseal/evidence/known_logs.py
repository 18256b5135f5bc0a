"""The verifier's own memory of the logs that it has seen, as ssh remembers hosts (docs/trust.md).

In a folder of the user there is one trust file for each log, named for the log's id, and one small file for
each place: the path as it was named, links unresolved, or the URL, and the id of the log that was seen there.
So a log that was made anew in the place of a known one is found, also where a link was turned to it; and so
is a copy of a known log in another place that is older than what was seen, or has another history.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes

import msgspec

from epochseal.encoding import b64encode
from epochseal.errors import ConfigError, EpochsealError, FormatError, StorageError, VerificationError
from epochseal.evidence.log_memory import (
    Memory,
    NoMemory,
    Remembered,
    first_trust,
    move_forward,
    warn,
    with_pins,
)
from epochseal.evidence.trust_file import Trust, find_trust, parse_log_id, write_trust
from epochseal.format.seal_lines import MAX_LINE, Header, TaggedLine, id_of_log, parse_line
from epochseal.storage.durable import make_directory, replace_file, sync_directory
from epochseal.storage.opener import read_file
from epochseal.storage.own_files import OWN_FOLDER_MODE, OWN_MODE, check_own_folder, locked, read_own
from epochseal.storage.segments import list_segments
from epochseal.verifier import Examination, Request, Verdict, examine
from epochseal.verifier.verdict import verdict_of, withdraw

HEADING = "epochseal/v1/place"

_TRIES = 3
_MAX_PLACE = 1 << 16
_URL = re.compile(r"[a-z0-9]+://.+")
_SAFE = "-._~/"
# A log known from elsewhere may be an older copy here; where it is known, being shorter is a roll-back.
_ELSEWHERE = {"rolled_back": "older_than_known", "forked": "log_forked"}
_ANOTHER_LOG = frozenset({"log_replaced", "wrong_log", "wrong_origin"})


class MemoryChanged(EpochsealError):
    """Another verifier has remembered something meanwhile, which the log is to be held against first."""


def own_memory() -> Memory:
    """The memory of this user; where it cannot be looked at, none, and each verdict says why.

    Raises:
        ConfigError: what is there is not ours alone.
    """
    try:
        known = KnownLogs(known_folder())
        known.is_there()
    except StorageError as exc:
        return NoMemory(str(exc))
    return known


def known_folder() -> Path:
    """Where the memory lies: `$XDG_STATE_HOME/epochseal/known`, else below `~/.local/state`.

    Raises:
        StorageError: this user has no home.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    # As the specification of these folders says: a relative one is as if there were none.
    if not state.is_absolute():
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as exc:
            raise StorageError("this user has no home directory", "set XDG_STATE_HOME") from exc
    return state / "epochseal" / "known"


def place_of(logdir: Path | str) -> str:
    """The name of a place: a URL as it is, or the absolute path with its links unresolved."""
    text = os.fspath(logdir)
    if _URL.fullmatch(text):
        return text
    # resolve() would follow the link that somebody may turn to another log.
    return os.path.abspath(text)  # noqa: PTH100  # as the line above says


class Known(msgspec.Struct, frozen=True):
    """What is remembered where a log was named.

    `place` is the id of the log that was seen there, None if the place is new. `trust` is what the log is
    held against: the log of the place, or, at a new place, a log that is known from elsewhere.
    """

    place: bytes | None = None
    trust: Trust | None = None


class KnownLogs:
    """The memory in one folder, which is made when something is first remembered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def examine(self, logdir: Path, request: Request) -> Remembered:
        """Verify a log against what is known of it and of its place, and remember it.

        Raises:
            ConfigError: a file of the memory cannot be used.
            StorageError, BackendError: as `epochseal.verifier.verify`.
        """
        for _ in range(_TRIES):
            with suppress(MemoryChanged):
                return self._examine_once(logdir, request)
        raise StorageError(f"what is known in {self._folder} changes all the time", "verify again")

    def _examine_once(self, logdir: Path, request: Request) -> Remembered:
        place = place_of(logdir)
        known = self.recall(place, peek_log_id(logdir))
        found = self._examine(logdir, request, known)
        seen_id = _id_of(found.verdict)
        if known.trust is None and known.place is None and self.trust_of(seen_id) is not None:
            # The first look at the files did not show which log it is.
            known = self.recall(place, seen_id)
            found = self._examine(logdir, request, known)
        found.verdict.memory = "known" if known.trust is not None else "none"
        if found.verdict.verdict != "verified":
            return Remembered(found)
        try:
            told = self._remember(place, known, found, request.now())
        except VerificationError as exc:
            withdraw(found.verdict, "forked", str(exc))
            return Remembered(found)
        except MemoryChanged:
            raise
        except EpochsealError as exc:
            warn(found.verdict, "not_remembered", str(exc))
            return Remembered(found)
        if known.trust is None:
            found.verdict.memory = "new"
            warn(found.verdict, "pinned", told)
        return Remembered(found, told)

    def recall(self, place: str, seen: bytes | None) -> Known:
        """What is known of a place and of the log that seems to be there.

        Raises:
            ConfigError: a file of the memory cannot be used.
            StorageError: it cannot be read.
        """
        if not self.is_there():
            return Known()
        there = self._read_place(place)
        if there is not None:
            trust = self.trust_of(there)
            if trust is None:
                # Whoever forgets a log removes that file before the place: they are waited for.
                with self._locked():
                    there = self._read_place(place)
                    trust = self.trust_of(there)
            if there is None:
                return Known(None, self.trust_of(seen))
            if trust is None:
                raise ConfigError(
                    f"{self._trust_path(there)} is gone: {place} is known for the log {b64encode(there)}",
                    "take it from a backup; epochseal forget, if what was seen does not count any more",
                )
            return Known(there, trust)
        return Known(None, self.trust_of(seen))

    def trust_of(self, log: bytes | None) -> Trust | None:
        """What is remembered of a log.

        Raises:
            ConfigError, StorageError: as `find_trust`.
        """
        if log is None or not self.is_there():
            return None
        trust = find_trust(self._trust_path(log))
        if trust is not None and trust.log != log:
            raise ConfigError(f"{self._trust_path(log)} is of the log {trust.log_text}", "look who moved it")
        return trust

    def write(self, place: str, trust: Trust) -> None:
        """Remember a log that was not known, and its place.

        Raises:
            MemoryChanged: the place, or the log, has become known meanwhile.
            StorageError: it cannot be written.
        """
        with self._locked():
            if self._read_place(place) not in {None, trust.log} or self.trust_of(trust.log) is not None:
                raise MemoryChanged(f"another verifier has just remembered {place}", "verify again")
            write_trust(self._trust_path(trust.log), trust)
            self._write_place(place, trust.log)

    def move(self, place: str, trust: Trust, found: Examination, now: int) -> Trust:
        """Move what is remembered of a log forward, and remember its place.

        Raises:
            MemoryChanged: the place has become known for another log meanwhile.
            VerificationError, ConfigError, StorageError: as `move_forward`.
        """
        with self._locked():
            there = self._read_place(place)
            if there not in {None, trust.log}:
                raise MemoryChanged(f"another verifier has just seen another log at {place}", "verify again")
            moved = move_forward(self._trust_path(trust.log), trust, found, now)
            if there is None:
                self._write_place(place, trust.log)
            return moved

    def forget(self, place: str) -> bytes | None:
        """Remove what is remembered of a place; the id of the log that was known there, None for none.

        What is remembered of the log itself goes with the last place that it is known at.

        Raises:
            ConfigError: a file of the memory cannot be used.
            StorageError: it cannot be removed.
        """
        if not self.is_there():
            return None
        with self._locked():
            there = self._read_place(place)
            if there is None:
                return None
            gone = [self._place_path(place)]
            if not any(log == there and other != _quote(place) for other, log in self.places()):
                gone.insert(0, self._trust_path(there))
            for path in gone:
                try:
                    path.unlink(missing_ok=True)
                except OSError as exc:
                    raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc
            sync_directory(self._folder)
            return there

    def places(self) -> Iterator[tuple[str, bytes]]:
        """All places that are known, percent-encoded, each with the id of its log.

        Raises:
            ConfigError: a file of the memory cannot be used.
            StorageError: it cannot be read.
        """
        for path in sorted(self._folder.glob("*.place")):
            if (found := _read_place_file(path)) is not None:
                yield found

    def _examine(self, logdir: Path, request: Request, known: Known) -> Examination:
        found = examine(logdir, request if known.trust is None else with_pins(request, known.trust))
        if known.trust is None:
            return found
        verdict = found.verdict
        if known.place is None:
            _rename(verdict, _ELSEWHERE)
        elif verdict.log and (_id_of(verdict), verdict.origin) != (known.place, known.trust.key.name):
            # Whatever else the memory says of the other log is beside the point.
            verdict.problems = [item for item in verdict.problems if item.kind not in _ANOTHER_LOG]
            detail = (
                f"known here: log {known.trust.log_text} of {known.trust.key.name!r}; "
                f"found: log {verdict.log} of {verdict.origin!r}"
            )
            withdraw(verdict, "other_log", detail)
        return found

    def _remember(self, place: str, known: Known, found: Examination, now: int) -> str:
        if known.trust is not None:
            moved = self.move(place, known.trust, found, now)
            return f"{moved.checkpoint.size:,} lines of {moved.key.name} seen at {place}"
        trust = first_trust(found)
        self.write(place, trust)
        return f"log {trust.log_text} of {trust.key.name}, {trust.checkpoint.size:,} lines seen at {place}"

    def is_there(self) -> bool:
        """Whether anything was remembered yet.

        Raises:
            ConfigError: the folder is not ours alone.
            StorageError: it cannot be looked at.
        """
        try:
            check_own_folder(self._folder)
        except StorageError as exc:
            if isinstance(exc.__cause__, FileNotFoundError | NotADirectoryError):
                return False
            raise
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_directory(self._folder, OWN_FOLDER_MODE)
        check_own_folder(self._folder)
        with locked(self._folder):
            yield

    def _trust_path(self, log: bytes) -> Path:
        return self._folder / f"{log.hex()}.trust"

    def _place_path(self, place: str) -> Path:
        return self._folder / f"{sha256(os.fsencode(place)).hexdigest()}.place"

    def _read_place(self, place: str) -> bytes | None:
        path = self._place_path(place)
        found = _read_place_file(path)
        if found is None:
            return None
        if found[0] != _quote(place):
            raise ConfigError(f"{path} is of another place: {found[0]}", "look who moved it")
        return found[1]

    def _write_place(self, place: str, log: bytes) -> None:
        raw = f"{HEADING}\nplace {_quote(place)}\nlog {b64encode(log)}\n".encode("ascii")
        replace_file(self._place_path(place), raw, OWN_MODE)


def peek_log_id(logdir: Path) -> bytes | None:
    """The id that the first epoch line of a log states or makes; None if it cannot be read.

    Nothing is verified: it only says which memory to hold the log against.

    Raises:
        StorageError: the folder cannot be listed.
    """
    for segment in list_segments(logdir).segments:
        if segment.seal is None:
            continue
        try:
            raw, _, _ = read_file(segment.seal, MAX_LINE + 1).partition(b"\n")
            line = parse_line(raw)
        except (StorageError, FormatError):
            return None
        if not isinstance(line, TaggedLine) or not isinstance(line.body, Header):
            return None
        return id_of_log(line.payload, line.body)
    return None


def _id_of(verdict: Verdict) -> bytes | None:
    return parse_log_id(verdict.log) if verdict.log else None


def _rename(verdict: Verdict, kinds: dict[str, str]) -> None:
    verdict.problems = [
        msgspec.structs.replace(item, kind=kinds.get(item.kind, item.kind)) for item in verdict.problems
    ]
    verdict.verdict = verdict_of(verdict.problems, checked=verdict.verdict != "empty")


def _quote(place: str) -> str:
    return quote_from_bytes(os.fsencode(place), safe=_SAFE + ":")


def _read_place_file(path: Path) -> tuple[str, bytes] | None:
    raw = read_own(path, _MAX_PLACE)
    if raw is None:
        return None
    try:
        match raw.decode("ascii").split("\n"):
            case [heading, place, log, ""] if heading == HEADING and place.startswith("place "):
                name = place.removeprefix("place ")
                found = name, parse_log_id(log.removeprefix("log "))
                if f"{HEADING}\nplace {name}\nlog {b64encode(found[1])}\n".encode("ascii") == raw:
                    return found
    except (UnicodeDecodeError, FormatError):
        pass
    raise ConfigError(f"{path} is no file of a known place", "take it from a backup, or see who changed it")
