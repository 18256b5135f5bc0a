"""What stands in a log directory, read in one pass without any key: nothing here is verified.

A line that cannot be read is counted and skipped, so that a damaged log can be looked at too.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections import deque
from pathlib import Path
from typing import Literal

import msgspec

from epochseal.encoding import b64encode, format_time
from epochseal.errors import FormatError
from epochseal.format.merkle import leaf_hash
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import (
    Block,
    End,
    Header,
    NoteLine,
    Prune,
    Rotate,
    TaggedLine,
    id_of_log,
    parse_line,
)
from epochseal.storage.log_past import read_checkpoint
from epochseal.storage.opener import GoneError, NotAFileError, size_of
from epochseal.storage.seal_file import read_damaged_lines
from epochseal.storage.segments import Segment, list_segments
from epochseal.storage.settling import read_settled

_MAX_DAMAGE = 100
# A checkpoint covers one of the last few epochs, because an agent never leaves more than a few unsigned: only
# so many are kept to find it among.
_RECENT = 64
_CHECKPOINT = re.compile(
    rb"[^\n]+\n([1-9][0-9]{0,17})\n[A-Za-z0-9+/]{43}=\n\n"
    rb"((?:\xe2\x80\x94 [!-~]+ (?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\n)+)"
)


class EpochView(msgspec.Struct):
    """One epoch as its lines tell it; `ended` is the reason of its end, empty while it has none.

    `start` is the leaf of its epoch line in base64, by which a person accepts it. `denies`: the agent found
    other files than it remembered, and says so there.
    """

    epoch: int
    segment: int
    link: str
    first_entry: int
    key: str
    started: str
    tree_size: int
    start: str
    denies: bool = False
    entries: int = 0
    bytes: int = 0
    blocks: int = 0
    lines: int = 0
    ended: str = ""
    signed: int | None = None
    """The largest tree size within this epoch that a checkpoint is signed over; None if there is none."""


class SegmentView(msgspec.Struct):
    """One segment; sizes in bytes, `log_size` and `seal_size` as stored, `bytes` as sealed.

    A start has set aside `set_aside_bytes` of the log file and `set_aside_lines` bytes of the seal file.
    """

    segment: int
    name: str
    log_files: list[str]
    log_size: int
    seal_size: int | None
    epochs: int = 0
    first_entry: int | None = None
    entries: int = 0
    bytes: int = 0
    first_time: str = ""
    last_time: str = ""
    unsealed_bytes: int = 0
    set_aside_bytes: int = 0
    set_aside_lines: int = 0
    torn_bytes: int = 0


class EpochKeyView(msgspec.Struct):
    """An epoch key's id, and the epochs that it issued: first, last, how many."""

    key: str
    first_epoch: int
    last_epoch: int
    epochs: int = 0


class CheckpointKeyView(msgspec.Struct):
    """A checkpoint key as signatures name it (NAME+ID); tree sizes that it signed: first, last, how many."""

    key: str
    first_size: int
    last_size: int
    checkpoints: int = 0


class RotateView(msgspec.Struct):
    """A rotate line: its index in the tree, and what it says of an epoch or a checkpoint key."""

    line: int
    epoch: int
    key: str
    old: str
    new: str
    from_size: int
    compromised: bool
    who: str
    why: str
    ticket: str
    time: str


class Damage(msgspec.Struct):
    """A line that cannot be read: its segment's number and its place in the seal file, from 1."""

    segment: int
    line: int
    detail: str


class Overview(msgspec.Struct):
    """What `epochseal inspect --json` prints.

    `state` is `closed` when the last line is a clean close. `unsigned_lines` of the tree lie beyond the
    largest checkpoint. `checkpoint_size` is that of the file `checkpoint`. `expired_segments` is the last
    segment that a prune line speaks of, 0 for none. `denied_starts`: at so many the agent found other files
    than it remembered. `damage` holds the first hundred `damaged_lines`.
    """

    notice: Literal["nothing was verified"] = "nothing was verified"
    origin: str = ""
    log: str = ""
    state: Literal["open", "closed"] = "open"
    entries: int = 0
    bytes: int = 0
    first_entry: int = 0
    tree_size: int = 0
    signed_size: int = 0
    checkpoint_size: int | None = None
    unsigned_lines: int = 0
    last_sealed: str = ""
    expired_segments: int = 0
    denied_starts: int = 0
    damaged_lines: int = 0
    damage: list[Damage] = []
    foreign_files: list[str] = []
    epoch_keys: list[EpochKeyView] = []
    checkpoint_keys: list[CheckpointKeyView] = []
    rotations: list[RotateView] = []
    segments: list[SegmentView] = []
    epoch_count: int = 0
    epochs: list[EpochView] = []


def read_overview(logdir: Path, *, shown_epochs: int | None = None) -> Overview:
    """Read all seal files of a log once, the entries not at all.

    Args:
        logdir: the log directory.
        shown_epochs: keep only as many epochs from the beginning and from the end; None keeps all.

    Raises:
        UnsettledError: files of it are gone each time that they are to be read.
        StorageError: a file cannot be read.
    """
    return read_settled(lambda: _Reader(logdir, shown_epochs).read())


class _Reader:
    def __init__(self, logdir: Path, shown: int | None) -> None:
        self._logdir = logdir
        self._shown = shown
        self._later: deque[EpochView] = deque(maxlen=shown)
        self._view = Overview()
        self._segment: SegmentView
        self._recent: deque[EpochView] = deque(maxlen=_RECENT)
        self._epoch: EpochView | None = None
        self._epoch_keys: dict[str, EpochKeyView] = {}
        self._checkpoint_keys: dict[str, CheckpointKeyView] = {}
        self._first_time = 0
        self._last_time = 0

    def read(self) -> Overview:
        listing = list_segments(self._logdir)
        view = self._view
        view.foreign_files = [*listing.foreign, *listing.not_files]
        for segment in listing.segments:
            self._read_segment(segment)
        self._read_checkpoint_file()
        view.epochs.extend(self._later)
        if view.epochs:
            view.first_entry = view.epochs[0].first_entry
        view.unsigned_lines = max(view.tree_size - view.signed_size, 0)
        view.entries = sum(segment.entries for segment in view.segments)
        view.bytes = sum(segment.bytes for segment in view.segments)
        view.last_sealed = format_time(self._last_time) if self._last_time else ""
        view.epoch_keys = list(self._epoch_keys.values())
        view.checkpoint_keys = list(self._checkpoint_keys.values())
        return view

    def _read_segment(self, segment: Segment) -> None:
        seal_size = None if segment.seal is None else size_of(segment.seal)
        log_size = sum(size_of(path) for path in segment.logs)
        log_files = [path.name for path in segment.logs]
        view = SegmentView(segment.number, segment.stem, log_files, log_size, seal_size)
        self._segment = view
        self._view.segments.append(view)
        self._first_time = 0
        sealed = 0
        if segment.seal is not None:
            for number, raw in enumerate(read_damaged_lines(segment.seal), start=1):
                if not raw.endswith(b"\n"):
                    view.torn_bytes = len(raw)
                    break
                sealed = self._take_raw(number, raw[:-1]) or sealed
        if self._first_time:
            view.first_time, view.last_time = format_time(self._first_time), format_time(self._last_time)
        plain = [path for path in segment.logs if path.suffix == ".log"]
        if plain:
            view.unsealed_bytes = max(size_of(plain[0]) - sealed, 0)
        if segment.unsealed is not None:
            view.set_aside_bytes = size_of(segment.unsealed)
        if segment.torn is not None:
            view.set_aside_lines = size_of(segment.torn)

    def _take_raw(self, number: int, raw: bytes) -> int:
        """Count one line; where the sealed bytes end, if it says so."""
        try:
            line = parse_line(raw)
            if isinstance(line, NoteLine):
                self._take_note(line.note)
                return 0
        except FormatError as exc:
            self._damaged(number, str(exc))
            return 0
        return self._take(line)

    def _take(self, line: TaggedLine) -> int:
        view, body = self._view, line.body
        if isinstance(body, Header):
            self._begin(line.payload, body)
        view.tree_size = max(view.tree_size, line.index + 1)
        view.state = "closed" if isinstance(body, End) and body.reason == "close" else "open"
        epoch = self._epoch
        if epoch is not None:
            epoch.lines += 1
        if isinstance(body, Prune):
            view.expired_segments = max(view.expired_segments, body.segment)
        elif isinstance(body, Rotate):
            view.rotations.append(
                RotateView(
                    line.index,
                    epoch.epoch if epoch is not None else 0,
                    body.key,
                    body.old,
                    body.new,
                    body.from_size,
                    bool(body.compromised),
                    body.who,
                    body.why,
                    body.ticket,
                    format_time(body.time),
                )
            )
        elif isinstance(body, End) and epoch is not None:
            epoch.ended = body.reason
        if not isinstance(body, Block):
            return 0
        self._at(body.time)
        segment = self._segment
        if segment.first_entry is None:
            segment.first_entry = body.first_entry
        segment.entries += body.entries
        segment.bytes += body.size
        if epoch is not None:
            epoch.entries += body.entries
            epoch.bytes += body.size
            epoch.blocks += 1
        return body.offset + body.size

    def _begin(self, payload: bytes, header: Header) -> None:
        view = self._view
        self._at(header.time)
        if not view.epoch_count:
            view.origin, view.log = header.origin, b64encode(id_of_log(payload, header))
        key = self._epoch_keys.setdefault(header.key, EpochKeyView(header.key, header.epoch, header.epoch))
        key.last_epoch = header.epoch
        key.epochs += 1
        self._epoch = EpochView(
            header.epoch,
            header.segment,
            header.link,
            header.first_entry,
            key.key,
            format_time(header.time),
            header.tree.size,
            b64encode(leaf_hash(payload)),
            header.denies is not None,
        )
        view.denied_starts += self._epoch.denies
        self._segment.epochs += 1
        view.epoch_count += 1
        (view.epochs if self._shown is None or len(view.epochs) < self._shown else self._later).append(
            self._epoch
        )
        self._recent.append(self._epoch)

    def _at(self, time: int) -> None:
        self._last_time = time
        self._first_time = self._first_time or time

    def _take_note(self, raw: bytes) -> int:
        """Count a checkpoint's signatures by the names that they bear; its tree size."""
        size, signers = _read_checkpoint(raw)
        for name in signers:
            key = self._checkpoint_keys.setdefault(name, CheckpointKeyView(name, size, size))
            key.last_size = max(key.last_size, size)
            key.checkpoints += 1
        self._view.signed_size = max(self._view.signed_size, size)
        for epoch in reversed(self._recent):
            if epoch.tree_size < size:
                if size <= epoch.tree_size + epoch.lines:
                    epoch.signed = max(epoch.signed or 0, size)
                break
        return size

    def _read_checkpoint_file(self) -> None:
        try:
            raw = read_checkpoint(self._logdir)
        except GoneError:
            return
        except NotAFileError as exc:
            self._damaged(0, str(exc))
            return
        try:
            self._view.checkpoint_size = self._take_note(raw)
        except FormatError as exc:
            self._damaged(0, f"the file checkpoint: {exc}")

    def _damaged(self, number: int, detail: str) -> None:
        view = self._view
        view.state = "open"
        view.damaged_lines += 1
        if len(view.damage) < _MAX_DAMAGE:
            segment = self._segment.segment if number else 0
            view.damage.append(Damage(segment, number, detail))


def _read_checkpoint(raw: bytes) -> tuple[int, list[str]]:
    """Tree size and signers (NAME+ID) of a checkpoint.

    Raises:
        FormatError: by the strict readers, which are asked about all that does not have the usual form.
    """
    if (match := _CHECKPOINT.fullmatch(raw)) is None:
        note = parse_note(raw)
        names = [f"{item.name}+{item.key_id.hex()}" for item in note.signatures]
        return parse_checkpoint(note.text).size, names
    # A year of epochs has a hundred thousand of these: the strict readers would take a third of the time.
    signatures = (line.split(b" ") for line in match[2].splitlines())
    names = [
        f"{name.decode(errors='replace')}+{a2b_base64(data[:8])[:4].hex()}" for _, name, data in signatures
    ]
    return int(match[1]), names
