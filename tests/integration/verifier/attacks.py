"""Every attack that needs only files, on the log of `logs.write_log`, and what a verifier must say of it.

An attack is a function that changes the files of a `Log`. `Expect` is the verdict, and of one problem the
kind, the entries that its range must cover, and those that it must stay within.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epochseal.verifier import Verdict
from tests.integration.logs import Log, Mode, entry

SIZE = len(entry(0))


@dataclass(frozen=True)
class Expect:
    """What a verdict must say.

    Of the problems of these kinds (at least one is there) those whose range stays `within` must together
    cover the entries `covers`; the place behind the last entry counts as one.
    """

    verdict: str
    kinds: str = ""
    covers: tuple[int, int] | None = None
    within: tuple[int, int] | None = None
    warnings: str = ""

    def check(self, verdict: Verdict) -> None:
        """Fail unless the verdict says it."""
        found = [(p.kind, p.first_entry, p.last_entry, p.detail) for p in verdict.problems]
        assert verdict.verdict == self.verdict, found
        assert {item.kind for item in verdict.warnings} >= set(self.warnings.split())
        kinds = self.kinds.split()
        assert bool(found) == (self.verdict not in {"verified", "empty"}), found
        assert not kinds or set(kinds) & {kind for kind, *_ in found}, found
        if self.covers is None:
            return
        low, high = self.within or self.covers
        covered: set[int] = set()
        for kind, start, stop, _ in found:
            if kind in kinds and low <= start <= stop <= high:
                covered.update(range(start, stop + 1))
        assert covered >= set(range(self.covers[0], self.covers[1] + 1)), found


@dataclass(frozen=True)
class Attack:
    """One case: what is done to the files, and what each mode must say of it `later` (ms).

    `limit` is why a mode, or both, cannot see what was done.
    """

    desc: str
    run: Callable[[Log], None]
    keys: Expect
    public: Expect
    limit: str = ""
    later: int = 0

    def expect(self, mode: Mode) -> Expect:
        """What this mode must say."""
        return self.keys if mode == "keys" else self.public

    def check(self, log: Log, mode: Mode) -> None:
        """Fail unless a log after this attack is judged as it must be."""
        self.expect(mode).check(log.verify(mode, later=self.later))


ATTACKS: dict[str, Attack] = {}


def attack(
    desc: str, keys: Expect, public: Expect | None = None, *, limit: str = "", later: int = 0
) -> Callable[[Callable[[Log], None]], Callable[[Log], None]]:
    """Enter a function as the attack of its name; without `public` both modes must say the same."""

    def enter(run: Callable[[Log], None]) -> Callable[[Log], None]:
        ATTACKS[run.__name__.replace("_", "-")] = Attack(desc, run, keys, public or keys, limit, later)
        return run

    return enter


def tampered(kinds: str, first: int, last: int, low: int | None = None, high: int | None = None) -> Expect:
    """Tampered, with a problem over entries first to last and not beyond low to high."""
    within = (first if low is None else low, last if high is None else high)
    return Expect("tampered", kinds, (first, last), within)


# --- what attacks are made of -------------------------------------------------------------------------------


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file; a change that changes nothing is a mistake of the test."""
    before = path.read_bytes()
    after = change(before)
    assert after != before, path
    path.write_bytes(after)


def entries(log: Log, segment: int, change: Callable[[list[bytes]], None]) -> None:
    """Change the list of a segment's entries."""
    edit(log.files("log")[segment - 1], lambda data: _with_list(data, change))


def lines(log: Log, segment: int, change: Callable[[list[bytes]], None]) -> None:
    """Change the list of a segment's seal lines."""
    edit(log.files("seal")[segment - 1], lambda data: _with_list(data, change))


def _with_list(data: bytes, change: Callable[[list[bytes]], None]) -> bytes:
    items = data.splitlines(keepends=True)
    change(items)
    return b"".join(items)


def at(items: list[bytes], start: bytes) -> int:
    """Where the one line with this beginning stands."""
    (place,) = (place for place, line in enumerate(items) if line.startswith(start))
    return place


def swap(items: list[bytes], first: int, second: int) -> None:
    """Exchange two items."""
    items[first], items[second] = items[second], items[first]


def replaced(start: bytes, old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    """A change of the text of one seal line."""

    def change(items: list[bytes]) -> None:
        place = at(items, start)
        assert old in items[place]
        items[place] = items[place].replace(old, new, 1)

    return change


def cut_epoch(items: list[bytes], number: int) -> list[bytes]:
    """Take the lines of one epoch out, with the notes between them; the lines that were removed."""
    starts = [place for place, line in enumerate(items) if line.startswith(b"epoch ")] + [len(items)]
    begin = next(place for place in starts if b'{"epoch":%d,' % number in items[place])
    stop = starts[starts.index(begin) + 1]
    taken = items[begin:stop]
    del items[begin:stop]
    return taken


def without_checkpoint(log: Log) -> None:
    """Remove the file `checkpoint`."""
    (log.path / "checkpoint").unlink()


def drop_epoch(log: Log, segment: int, number: int) -> None:
    """Take the lines of one epoch out of a segment; its entries stay."""
    lines(log, segment, lambda items: items.__setitem__(slice(None), _without_epoch(items, number)))


def _without_epoch(items: list[bytes], number: int) -> list[bytes]:
    cut_epoch(items, number)
    return items.copy()


def drop_segment(log: Log, number: int) -> None:
    """Remove both files of a segment."""
    for ending in ("log", "seal"):
        log.files(ending)[number - 1].unlink()


def cut_after(log: Log, start: bytes) -> None:
    """Cut the log behind the seal line with this beginning in the last segment, and its entries with it."""
    seal, content = log.files("seal")[-1], log.files("log")[-1]
    items = seal.read_bytes().splitlines(keepends=True)
    kept = items[: at(items, start) + 1]
    seal.write_bytes(b"".join(kept))
    blocks = [line.split(b" ") for line in kept if line.startswith(b"block ")]
    size = int(blocks[-1][4]) + int(blocks[-1][5]) if blocks else 0
    content.write_bytes(content.read_bytes()[:size])
