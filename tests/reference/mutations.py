"""Random damage to the files of a log, each kind a function of a seeded generator.

`damage` picks some. Nothing here knows whether a log still verifies afterwards: two verifiers say that.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

MUTATIONS: dict[str, Callable[[Random, Path], None]] = {}
FIELDS = re.compile(rb"(?<=[ :,\[])[0-9]+(?=[ ,}\]])|(?<=\")[a-z]{4,8}(?=\")|[A-Za-z0-9+/]{43}=")


def mutation(run: Callable[[Random, Path], None]) -> Callable[[Random, Path], None]:
    """Enter a function as a mutation."""
    MUTATIONS[run.__name__] = run
    return run


def damage(rng: Random, log: Path) -> list[str]:
    """Damage a log in 0 to 3 ways; their names."""
    names = rng.choices(list(MUTATIONS), k=rng.choice((0, 1, 1, 1, 1, 2, 3)))
    for name in names:
        MUTATIONS[name](rng, log)
    return names


def _files(log: Path, endings: str = "log gz seal") -> list[Path]:
    return sorted(
        path for path in (log / "segments").iterdir() if path.name.split(".")[-1] in endings.split()
    )


def _edit(rng: Random, log: Path, change: Callable[[bytes], bytes], endings: str = "log gz seal") -> None:
    files = [path for path in _files(log, endings) if path.stat().st_size]
    if files:
        path = rng.choice(files)
        path.write_bytes(change(path.read_bytes()))


def _lines(
    rng: Random, log: Path, change: Callable[[list[bytes]], object], endings: str = "log seal"
) -> None:
    def edit(data: bytes) -> bytes:
        items = data.splitlines(keepends=True)
        change(items)
        return b"".join(items)

    _edit(rng, log, edit, endings)


@mutation
def bit_flipped(rng: Random, log: Path) -> None:
    """One bit of any file, `checkpoint` too."""

    def change(data: bytes) -> bytes:
        place = rng.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]

    _edit(rng, log, change)


@mutation
def checkpoint_bit_flipped(rng: Random, log: Path) -> None:
    """One bit of `checkpoint`."""
    path = log / "checkpoint"
    data = bytearray(path.read_bytes() if path.exists() else b"")
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


@mutation
def byte_inserted(rng: Random, log: Path) -> None:
    """A byte anywhere, at the end too."""

    def change(data: bytes) -> bytes:
        place = rng.choice((rng.randrange(len(data) + 1), len(data)))
        return data[:place] + rng.choice((b"\n", b" ", b"0", b"\x00", b"\r", b"x")) + data[place:]

    _edit(rng, log, change)


@mutation
def byte_deleted(rng: Random, log: Path) -> None:
    """A byte anywhere."""

    def change(data: bytes) -> bytes:
        place = rng.choice((rng.randrange(len(data)), len(data) - 1))
        return data[:place] + data[place + 1 :]

    _edit(rng, log, change)


@mutation
def file_truncated(rng: Random, log: Path) -> None:
    """At a line or anywhere."""

    def change(data: bytes) -> bytes:
        place = rng.randrange(len(data))
        return data[: data.rfind(b"\n", 0, place) + 1] if rng.random() < 0.5 else data[:place]

    _edit(rng, log, change)


@mutation
def line_deleted(rng: Random, log: Path) -> None:
    """An entry, a tagged line or a note."""
    _lines(rng, log, lambda items: items.pop(rng.randrange(len(items))))


@mutation
def note_deleted(rng: Random, log: Path) -> None:
    """A signature that never came, or was taken away."""

    def change(items: list[bytes]) -> None:
        places = [place for place, line in enumerate(items) if line.startswith(b"note ")]
        if places:
            del items[rng.choice(places)]

    _lines(rng, log, change, "seal")


@mutation
def note_moved(rng: Random, log: Path) -> None:
    """A signature that came late, or stands in front of what it covers."""

    def change(items: list[bytes]) -> None:
        places = [place for place, line in enumerate(items) if line.startswith(b"note ")]
        if places:
            line = items.pop(rng.choice(places))
            items.insert(rng.randrange(len(items) + 1), line)

    _lines(rng, log, change, "seal")


@mutation
def note_moved_to_another_segment(rng: Random, log: Path) -> None:
    """The last note of a seal file stands in the one behind it."""
    seals = _files(log, "seal")
    if len(seals) > 1:
        place = rng.randrange(len(seals) - 1)
        items = seals[place].read_bytes().splitlines(keepends=True)
        notes = [line for line in items if line.startswith(b"note ")][-1:]
        follower = seals[place + 1].read_bytes().splitlines(keepends=True)
        seals[place].write_bytes(b"".join(line for line in items if line not in notes))
        seals[place + 1].write_bytes(b"".join(follower[:1] + notes + follower[1:]))


@mutation
def line_duplicated(rng: Random, log: Path) -> None:
    """Beside itself."""
    place = rng.random()
    _lines(rng, log, lambda items: items.insert(int(place * len(items)), items[int(place * len(items))]))


@mutation
def lines_swapped(rng: Random, log: Path) -> None:
    """Two neighbours."""

    def change(items: list[bytes]) -> None:
        place = rng.randrange(len(items))
        items[place - 1], items[place] = items[place], items[place - 1]

    _lines(rng, log, change)


@mutation
def field_edited(rng: Random, log: Path) -> None:
    """A number, a word or a hash of a seal line."""

    def change(items: list[bytes]) -> None:
        place = rng.randrange(len(items))
        found = list(FIELDS.finditer(items[place]))
        if found:
            spot = rng.choice(found)
            new = [
                b"0",
                b"1",
                b"%d" % (2**63),
                b"00",
                b"carry",
                b"cold",
                b"genesis",
                b"close",
                b"segment",
                b"",
            ]
            if spot[0].isdigit():
                new += [b"%d" % (int(spot[0]) + 1), b"%d" % max(int(spot[0]) - 1, 0)] * 4
            items[place] = items[place][: spot.start()] + rng.choice(new) + items[place][spot.end() :]

    _lines(rng, log, change, "seal")


def _epochs(data: bytes) -> list[bytes]:
    return [part for part in re.split(rb"(?m)^(?=epoch )", data) if part]


@mutation
def epoch_deleted(rng: Random, log: Path) -> None:
    """The lines of one epoch."""

    def change(data: bytes) -> bytes:
        parts = _epochs(data)
        del parts[rng.randrange(len(parts))]
        return b"".join(parts)

    _edit(rng, log, change, "seal")


@mutation
def epochs_swapped(rng: Random, log: Path) -> None:
    """The lines of two epochs of one file."""

    def change(data: bytes) -> bytes:
        parts = _epochs(data)
        place = rng.randrange(len(parts))
        parts[place - 1], parts[place] = parts[place], parts[place - 1]
        return b"".join(parts)

    _edit(rng, log, change, "seal")


@mutation
def cut_back(rng: Random, log: Path) -> None:
    """All behind some seal line of the last segment is gone, its entries too, sometimes `checkpoint`."""
    seals, contents = _files(log, "seal"), _files(log, "log")
    if seals and contents and seals[-1].stem == contents[-1].stem and seals[-1].stat().st_size:
        items = seals[-1].read_bytes().splitlines(keepends=True)
        kept = items[: rng.randrange(len(items) + 1)]
        blocks = [line.split(b" ") for line in kept if line.startswith(b"block ")]
        size = (
            int(blocks[-1][4]) + int(blocks[-1][5])
            if blocks and all(map(bytes.isdigit, blocks[-1][4:6]))
            else 0
        )
        seals[-1].write_bytes(b"".join(kept))
        contents[-1].write_bytes(contents[-1].read_bytes()[:size])
        if rng.random() < 0.7:
            checkpoint_removed_or_older(rng, log)


@mutation
def checkpoint_removed_or_older(rng: Random, log: Path) -> None:
    """The file `checkpoint` is gone, or one of the notes stands in it."""
    notes = [
        line
        for path in _files(log, "seal")
        for line in path.read_bytes().split(b"\n")
        if line[:5] == b"note "
    ]
    (log / "checkpoint").unlink(missing_ok=True)
    if notes and rng.random() < 0.6:
        (log / "checkpoint").write_bytes(base64.b64decode(rng.choice(notes)[5:] + b"==="))


@mutation
def segment_deleted(rng: Random, log: Path) -> None:
    """Both files, or one of them; often the last, sometimes the first."""
    files = _files(log)
    if files:
        stem = rng.choice((files[-1], files[0], rng.choice(files))).name.split(".")[0]
        for path in _files(log):
            if path.name.startswith(stem) and rng.random() < 0.9:
                path.unlink()


@mutation
def segment_renamed(rng: Random, log: Path) -> None:
    """To another number or time, or to a name of another form."""
    files = _files(log)
    if files:
        stem = rng.choice(files).name.split(".")[0]
        number, when = stem.split("-")[:2]
        names = (
            f"{int(number) + 1:06}-{when}",
            f"{number}-20260101T000059Z",
            f"{number}-20269999T999999Z",
            f"0{number}-{when}",
            f"{number}-{when}x",
            f"000000-{when}",
        )
        new = rng.choice(names)
        for path in _files(log):
            if path.name.startswith(stem) and rng.random() < 0.95:
                path.rename(path.with_name(new + path.name.removeprefix(stem)))


@mutation
def segment_duplicated(rng: Random, log: Path) -> None:
    """A copy behind the last one, or beside it."""
    files = _files(log)
    if files:
        stem = rng.choice(files).name.split(".")[0]
        last = int(files[-1].name.split("-")[0])
        new = rng.choice((f"{last + 1:06}", stem.split("-", maxsplit=1)[0])) + "-20270101T000000Z"
        for path in _files(log):
            if path.name.startswith(stem):
                path.with_name(new + path.name.removeprefix(stem)).write_bytes(path.read_bytes())


@mutation
def empty_segment_added(rng: Random, log: Path) -> None:
    """A start that was interrupted, or looks like one."""
    files = _files(log)
    if files:
        stem = f"{int(files[-1].name.split('-')[0]) + 1:06}-20270101T000000Z"
        (log / "segments" / f"{stem}.seal").write_bytes(rng.choice((b"", b"", b"epo", b"note AAAA\n")))
        (log / "segments" / f"{stem}.log").write_bytes(rng.choice((b"", b"", b"x\n")))


@mutation
def compressed(rng: Random, log: Path) -> None:
    """A log file in gzip form: in one or two members, damaged or with something behind it."""
    files = _files(log, "log")
    if files:
        path = rng.choice(files)
        data, place = path.read_bytes(), rng.randrange(path.stat().st_size + 1)
        packed = gzip.compress(data, mtime=0)
        if rng.random() < 0.3:
            packed = gzip.compress(data[:place], mtime=0) + gzip.compress(data[place:], mtime=0)
        behind = (
            b"",
            b"",
            b"",
            b"\x00" * 8,
            b"x",
            gzip.compress(b"", mtime=0),
            gzip.compress(b"x\n", mtime=0),
        )
        packed += rng.choice(behind)
        damaged = rng.random()
        if damaged < 0.15:
            packed = packed[: rng.randrange(len(packed))]
        elif damaged < 0.3:
            spot = rng.choice(
                (rng.randrange(len(packed)), rng.randrange(10), len(packed) - 1 - rng.randrange(8))
            )
            packed = packed[:spot] + bytes([packed[spot] ^ 1 << rng.randrange(8)]) + packed[spot + 1 :]
        path.with_name(path.name + ".gz").write_bytes(packed)
        if rng.random() < 0.95:
            path.unlink()


@mutation
def unsealed_added(rng: Random, log: Path) -> None:
    """Bytes that were set aside, empty or not, of either file."""
    files = _files(log, rng.choice(("seal", "seal", "log")))
    if files:
        ending = rng.choice((".unsealed", ".torn"))
        rng.choice(files).with_suffix(ending).write_bytes(rng.choice((b"", b"x\n")))


def _tagged(rng: Random, log: Path, kind: bytes, change: Callable[[bytes], bytes]) -> None:
    """Change one line of a kind; if there is none, nothing."""

    def edit(items: list[bytes]) -> None:
        places = [place for place, line in enumerate(items) if line.startswith(kind)]
        if places:
            place = rng.choice(places)
            items[place] = change(items[place])

    _lines(rng, log, edit, "seal")


@mutation
def sign_removed(rng: Random, log: Path) -> None:
    """What a checkpoint vouches for, and what it announces."""
    _tagged(rng, log, b"sign ", lambda _: b"")


@mutation
def next_changed(rng: Random, log: Path) -> None:
    """Another secret is announced, for another epoch, or none."""
    new = rng.choice((b"", b',"next":{"epoch":1,"wrapped":"%s="}' % (b"A" * 43), b',"next":{}'))
    _tagged(rng, log, b"sign ", lambda line: re.sub(rb',"next":{[^}]*}', new, line))


@mutation
def run_changed(rng: Random, log: Path) -> None:
    """A sign line, or the end of a closed log, claims another run."""
    new = b'"run":%d' % rng.choice((0, 1, rng.randrange(20)))
    _tagged(rng, log, rng.choice((b"sign ", b"end ")), lambda line: re.sub(rb'"run":[0-9]+', new, line))


@mutation
def run_moved(rng: Random, log: Path) -> None:
    """An end with another reason has a run, or a close has none."""
    new = rng.choice((b"}", b',"run":0}'))
    _tagged(rng, log, b"end ", lambda line: re.sub(rb'(,"run":[0-9]+)?}', new, line))


@mutation
def link_changed(rng: Random, log: Path) -> None:
    """A run is joined to the one before, or torn from it."""
    new = rng.choice((b"carry", b"cold", b"genesis"))
    _tagged(rng, log, b"epoch ", lambda line: re.sub(rb'"link":"[a-z]+"', b'"link":"%s"' % new, line))


@mutation
def denies_added(rng: Random, log: Path) -> None:
    """A start that denies what is there, with a size or without."""
    zero = b"A" * 43
    new = b',"denies":{"log":"%s=","size":%d,"root":"%s="}} ' % (zero, rng.choice((0, 3)), zero)
    _tagged(rng, log, b"epoch ", lambda line: line.replace(b"} ", new))


@mutation
def notes_stripped(rng: Random, log: Path) -> None:
    """All behind some place, often with `checkpoint`: what a thief of the carry does."""
    seals = _files(log, "seal")
    behind = rng.randrange(len(seals)) if seals else 0
    for seal in seals[behind:]:
        items = seal.read_bytes().splitlines(keepends=True)
        seal.write_bytes(b"".join(line for line in items if not line.startswith(b"note ")))
    if rng.random() < 0.7:
        checkpoint_removed_or_older(rng, log)


@mutation
def earlier_checkpoint_put_behind(rng: Random, log: Path) -> None:
    """A note of an earlier run, or of an earlier time, at the end."""
    seals = _files(log, "seal")
    notes = [line for seal in seals for line in seal.read_bytes().split(b"\n") if line.startswith(b"note ")]
    if notes:
        with seals[-1].open("ab") as file:
            file.write(rng.choice(notes) + b"\n")


@mutation
def torn(rng: Random, log: Path) -> None:
    """A line that is cut, or zeros, at the end of a seal file; sometimes with more behind them."""
    seals = _files(log, "seal")
    if seals:
        with rng.choice((seals[-1], rng.choice(seals))).open("ab") as file:
            file.write(rng.choice((b"block 9", b"note QUJ", b"\x00" * 9, b"\x00\nend 9 {}\n", b"\x00\n")))


@mutation
def copied_too_early(rng: Random, log: Path) -> None:
    """The last log file lacks its end, as in a copy of a log that is being written."""
    logs = _files(log, "log")
    if logs and logs[-1].stat().st_size:
        data = logs[-1].read_bytes()
        logs[-1].write_bytes(data[: rng.randrange(len(data))])
        if rng.random() < 0.6:
            checkpoint_removed_or_older(rng, log)


@mutation
def replaced_by_a_link(rng: Random, log: Path) -> None:
    """A symbolic link to the same bytes."""
    path = rng.choice([*_files(log), log / "checkpoint"])
    if path.exists():
        path.rename(log / "kept")
        path.symlink_to(log / "kept")


@mutation
def packed_in_many_members(rng: Random, log: Path) -> None:
    """About as many members as a verifier reads of so small a file."""
    files = _files(log, "log")
    if files:
        path = rng.choice(files)
        packed = gzip.compress(path.read_bytes(), mtime=0)
        count = 15 + len(packed) // 1024 + rng.choice((0, 1, 5))
        path.with_name(path.name + ".gz").write_bytes(packed + gzip.compress(b"", mtime=0) * count)
        path.unlink()


@mutation
def foreign_file_added(rng: Random, log: Path) -> None:
    """A name of another form."""
    (
        log / "segments" / rng.choice((".swp", "000001.log", "notes.txt", "000001-20260101T000000Z.tmp"))
    ).write_bytes(b"x")


@mutation
def bytes_behind_the_log(rng: Random, log: Path) -> None:
    """Not sealed, at the end of some log file."""
    _edit(rng, log, lambda data: data + b"not sealed\n", "log")
