"""What the log says of its epoch secrets: for each epoch line the context that its secret was asked with.

Only seal files are read, and no key is needed: whether their lines are authentic is for `epochseal verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from epochseal.errors import FormatError
from epochseal.format.merkle import leaf_hash
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import End, Header, NoteLine, TaggedLine, parse_line
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import list_segments
from epochseal.trail.events import TrailContext


@dataclass(slots=True)
class Sealed:
    """The epochs of one log, in the order in which they stand.

    Attributes:
        origin, log: the log's name, and its id in base64; empty where there is no epoch line.
        headers: every readable epoch line.
        unreadable: epoch lines that are damaged.
        foreign: epoch lines that name another log.
        roots: the trees that an agent signs, by size: behind each epoch line, and where an epoch ended.
        signed: the sizes of the checkpoints that are there.
        closes: the index of each `end` line that closed the log.
    """

    origin: str = ""
    log: str = ""
    headers: list[Header] = field(default_factory=list)
    unreadable: int = 0
    foreign: int = 0
    paths: list[Path] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    signed: set[int] = field(default_factory=set)
    closes: set[int] = field(default_factory=set)

    def line_of(self, tag: str) -> int | None:
        """The index of the line of the log that has this tag (base64); None if none has.

        Raises:
            StorageError: a seal file cannot be read.
        """
        wanted = b" " + tag.encode("ascii", "replace") + b"\n"
        for path in self.paths:
            with mapped(path) as content:
                if (found := content.find(wanted)) >= 0:
                    start = content.rfind(b"\n", 0, found) + 1
                    index = content[start:found].split(b" ", 2)[1]
                    return int(index) if index.isdigit() else None
        return None

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
                    words = raw.split(b" ", 2)
                    if words[0] == b"note" or len(words) < 3 or not words[1].isdigit():  # noqa: PLR2004  # kind, index, rest
                        continue
                    if first <= int(words[1]) and (stop is None or int(words[1]) < stop):
                        tags.append(raw.rpartition(b" ")[2].decode("ascii", "replace"))
        return tags


def read_sealed(logdir: Path) -> Sealed:
    """Read the epoch lines of a log.

    Raises:
        StorageError: a seal file cannot be read.
    """
    sealed = Sealed()
    for segment in list_segments(logdir).segments:
        if segment.seal is None:
            continue
        sealed.paths.append(segment.seal)
        for raw in _lines(segment.seal, b"epoch "):
            _take(sealed, raw)
        for kind in (b"note ", b"end "):
            for raw in _lines(segment.seal, kind):
                _take_end(sealed, raw)
    _close_tree(sealed)
    return sealed


def context_of(header: Header, tag: str | None = None) -> TrailContext:
    """The context that the header's secret was asked with; with `tag`, that of a call which quoted it."""
    return TrailContext(header.origin, header.log, header.epoch, header.asked.tag if tag is None else tag)


def _take(sealed: Sealed, raw: bytes) -> None:
    try:
        line = parse_line(raw)
    except FormatError:
        sealed.unreadable += 1
        return
    header = line.body if isinstance(line, TaggedLine) else None
    if not isinstance(header, Header):
        sealed.unreadable += 1
    elif sealed.headers and (header.origin, header.log) != (sealed.origin, sealed.log):
        sealed.foreign += 1
    else:
        sealed.origin, sealed.log = header.origin, header.log
        sealed.headers.append(header)
        assert isinstance(line, TaggedLine)  # noqa: S101  # for the type checker: only such a one has a header
        # An agent signs the tree before an epoch line, the tree after it, and the tree at the end of the log.
        tree = header.tree.to_frontier()
        sealed.roots[tree.size] = tree.root()
        tree.append(leaf_hash(line.payload))
        sealed.roots[tree.size] = tree.root()


def _take_end(sealed: Sealed, raw: bytes) -> None:
    try:
        line = parse_line(raw)
        if isinstance(line, NoteLine):
            sealed.signed.add(parse_checkpoint(parse_note(line.note).text).size)
        elif isinstance(line.body, End) and line.body.reason == "close":
            sealed.closes.add(line.index)
    except FormatError:
        # `epochseal verify` reports the damage. Here it only means that a signature may stay unexplained.
        return


def _close_tree(sealed: Sealed) -> None:
    """Add the tree behind the last line, where the log was closed."""
    if not sealed.headers or not sealed.closes or max(sealed.closes) < sealed.headers[-1].tree.size:
        return
    tree = sealed.headers[-1].tree.to_frontier()
    with mapped(sealed.paths[-1]) as content:
        for raw in content[:].splitlines():
            words = raw.split(b" ", 2)
            if words[0] != b"note" and len(words) > 1 and words[1] == b"%d" % tree.size:
                tree.append(leaf_hash(raw.rpartition(b" ")[0]))
    sealed.roots[tree.size] = tree.root()


def _lines(path: Path, kind: bytes) -> list[bytes]:
    """All lines that begin so."""
    lines = []
    with mapped(path) as content:
        start = 0 if content[: len(kind)] == kind else content.find(b"\n" + kind) + 1 or len(content)
        while 0 <= start < len(content):
            stop = content.find(b"\n", start)
            if stop < 0:
                break
            lines.append(content[start:stop])
            found = content.find(b"\n" + kind, stop)
            start = found + 1 if found >= 0 else len(content)
    return lines
