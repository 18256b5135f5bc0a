"""What the log says of its epoch secrets: for each epoch line the context that its secret was asked with.

Only seal files are read, and no key is needed: whether their lines are authentic is for `epochseal verify`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.encoding import b64encode
from epochseal.errors import FormatError
from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import End, Header, NoteLine, Sign, TaggedLine, id_of_log, parse_line
from epochseal.storage.mapped_file import mapped
from epochseal.storage.seal_file import read_whole_lines
from epochseal.storage.segments import list_segments
from epochseal.trail.events import TrailContext

_MOST_DIGITS = 19


@dataclass(slots=True)
class Sealed:
    """The epochs of one log, in the order in which they stand.

    Attributes:
        origin, log: the log's name, and its id in base64; empty where there is no epoch line.
        random: what the context of epoch 0 has in the place of the id, empty where that epoch has expired.
        headers: every readable epoch line.
        unreadable: epoch lines that are damaged.
        foreign: epoch lines that name another log.
        roots: the trees that an agent may sign, by size: behind each epoch line, each `sign`, each close.
        owed: the sizes that it signs of these, ascending: not those behind an epoch line that was announced.
        noted: where the first note over a size stands: the index of the last tagged line before it.
    """

    origin: str = ""
    log: str = ""
    random: str = ""
    headers: list[Header] = field(default_factory=list)
    unreadable: int = 0
    foreign: int = 0
    paths: list[Path] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    owed: list[int] = field(default_factory=list)
    noted: dict[int, int] = field(default_factory=dict)

    def is_own(self, context: TrailContext) -> bool:
        """Whether a call was for this log; of one for epoch 0, only where the first line is still there."""
        log = self.log if context.epoch else self.random
        return bool(log) and (context.origin, context.log) == (self.origin, log)

    def lines_of(self, tags: Collection[str]) -> dict[str, int]:
        """The indices of the lines of the log that have these tags (base64), in one pass over them.

        Raises:
            StorageError: a seal file cannot be read.
        """
        wanted = {tag.encode("ascii", "replace"): tag for tag in tags}
        found: dict[str, int] = {}
        for path in self.paths if wanted else ():
            for raw in read_whole_lines(path):
                tag = wanted.get(raw[raw.rfind(b" ") + 1 :])
                if tag is not None and tag not in found and (index := _index_of(raw)) is not None:
                    found[tag] = index
        return found

    def tags_of(self, epoch: int) -> list[str]:
        """The tags (base64) of the lines before the header of `epoch`, back to the header before it.

        The end of the log stands for the header that is not there yet.

        Raises:
            StorageError: a seal file cannot be read.
        """
        sizes = {header.epoch: header.tree.size for header in self.headers}
        first, stop = sizes.get(epoch - 1, -1), sizes.get(epoch)
        tags = []
        for path in self.paths if first >= 0 else ():
            with mapped(path) as content:
                for raw in content[:].splitlines():
                    index = None if raw.startswith(b"note ") else _index_of(raw)
                    if index is None:
                        continue
                    if first <= index and (stop is None or index < stop):
                        tags.append(raw.rpartition(b" ")[2].decode("ascii", "replace"))
        return tags


def _index_of(raw: bytes) -> int | None:
    words = raw.split(b" ", 2)
    # As a seal line has it: no number that is longer is one.
    known = len(words) == 3 and words[1].isdigit() and len(words[1]) <= _MOST_DIGITS  # noqa: PLR2004  # kind, index, rest
    return int(words[1]) if known else None


def read_sealed(logdir: Path) -> Sealed:
    """Read the seal files of a log.

    Raises:
        StorageError: a seal file cannot be read.
    """
    reader = _Reader()
    for segment in list_segments(logdir).segments:
        if segment.seal is None:
            continue
        reader.sealed.paths.append(segment.seal)
        for raw in read_whole_lines(segment.seal):
            reader.take(raw)
    return reader.sealed


def context_of(header: Header, tag: str | None = None) -> TrailContext:
    """The context that the header's secret was asked with; with `tag`, that of a call which quoted it."""
    return TrailContext(header.origin, header.log, header.epoch, header.asked.tag if tag is None else tag)


class _Reader:
    def __init__(self) -> None:
        self.sealed = Sealed()
        self._tree = Frontier()
        self._leaves: list[bytes] = []
        # An epoch behind a close, or behind one that was begun there and not gone on with, signs its line.
        self._signs_start = True

    def take(self, raw: bytes) -> None:
        """Take the next line of the log, without its LF."""
        kind = raw[: raw.find(b" ")]
        if kind == b"note":
            self._take_note(raw)
            return
        line = None
        if kind in {b"epoch", b"sign", b"end"}:
            try:
                line = parse_line(raw)
            except FormatError:
                # `epochseal verify` reports the damage. Here it only means that less is explained.
                self.sealed.unreadable += kind == b"epoch"
        body = line.body if isinstance(line, TaggedLine) else None
        if isinstance(body, Header) and isinstance(line, TaggedLine):
            self._begin(line, body)
        self._leaves.append(leaf_hash(raw.rpartition(b" ")[0]))
        if isinstance(body, Header):
            self._sign(owed=self._signs_start or body.link != "carry")
        elif isinstance(body, Sign) or (isinstance(body, End) and body.reason == "close"):
            self._sign(owed=True)
        if not isinstance(body, Header):
            self._signs_start = isinstance(body, End) and body.reason == "close"

    def _begin(self, line: TaggedLine, header: Header) -> None:
        sealed, log = self.sealed, b64encode(id_of_log(line.payload, header))
        if sealed.headers and (header.origin, log) != (sealed.origin, sealed.log):
            sealed.foreign += 1
            return
        self._tree, self._leaves = header.tree.to_frontier(), []
        if not sealed.headers:
            sealed.origin, sealed.log = header.origin, log
            sealed.random = header.log if header.epoch == 0 else ""
            # What was signed last of all that has expired is over the tree that the first line continues.
            sealed.roots[self._tree.size] = self._tree.root()
        sealed.headers.append(header)

    def _sign(self, *, owed: bool) -> None:
        """The tree up to this line may be signed."""
        self._tree.extend(self._leaves)
        self._leaves = []
        self.sealed.roots[self._tree.size] = self._tree.root()
        if owed:
            self.sealed.owed.append(self._tree.size)

    def _take_note(self, raw: bytes) -> None:
        try:
            line = parse_line(raw)
            size = parse_checkpoint(parse_note(line.note).text).size if isinstance(line, NoteLine) else 0
        except FormatError:
            return
        self.sealed.noted.setdefault(size, self._tree.size + len(self._leaves) - 1)
