"""Logs whose keys changed, honest and attacked, and what a verifier must say with each key named.

`ring` are the keys of one owner after the other; the last ones belong to whoever attacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.integration.logs import LogKeys, LogWriter, Mode, entry
from tests.integration.verifier.attacks import at, edit

Ring = list[LogKeys]
THIEF = 3
"""The place in the ring of a key that no owner of the log ever had."""


@dataclass(frozen=True)
class Expect:
    """The verdict with one key of the ring named; `kinds` and `warnings` are among those reported."""

    mode: Mode
    named: int
    verdict: str
    kinds: str = ""
    warnings: str = ""
    strict: bool = False


@dataclass(frozen=True)
class Case:
    """`limit` is why a verdict is `verified` although something was done; honest logs need none."""

    desc: str
    write: Callable[[Path, Ring], int]
    expect: tuple[Expect, ...]
    limit: str = ""


CASES: dict[str, Case] = {}
Writes = Callable[[Path, Ring], LogWriter]


def case(desc: str, *expect: Expect, limit: str = "") -> Callable[[Writes], Writes]:
    """Enter a function that writes a log as the case of its name."""

    def enter(write: Writes) -> Writes:
        name = write.__name__.replace("_", "-")
        CASES[name] = Case(desc, lambda path, ring: write(path, ring).time + 1000, expect, limit)
        return write

    return enter


def keys(named: int, verdict: str, kinds: str = "", warnings: str = "", *, strict: bool = False) -> Expect:
    """With all epoch keys and one checkpoint key."""
    return Expect("keys", named, verdict, kinds, warnings, strict)


def public(named: int, verdict: str, kinds: str = "", warnings: str = "") -> Expect:
    """With one checkpoint key alone."""
    return Expect("public", named, verdict, kinds, warnings)


def everywhere(named: int, verdict: str, kinds: str = "", warnings: str = "") -> tuple[Expect, Expect]:
    """The same in both modes."""
    return keys(named, verdict, kinds, warnings), public(named, verdict, kinds, warnings)


def begin(path: Path, ring: Ring) -> LogWriter:
    """Two epochs and two entries under the first keys."""
    return LogWriter(path, ring[0], path.name).start("genesis").block(entry(0)).turn().block(entry(1))


def rotated(path: Path, ring: Ring) -> LogWriter:
    """From the first checkpoint key to the second, with an entry on either side; closed."""
    return begin(path, ring).hand_over(ring[0], ring[1]).start("carry").block(entry(2)).end()


def lines(writer: LogWriter, number: int, change: Callable[[list[bytes]], None]) -> None:
    """Change the seal lines of segment `number`."""
    (path,) = (writer.logdir / "segments").glob(f"{number:06}-*.seal")

    def changed(data: bytes) -> bytes:
        items = data.splitlines(keepends=True)
        change(items)
        return b"".join(items)

    edit(path, changed)


# --- honest ---------------------------------------------------------------------------------------------


@case(
    "honest: the checkpoint key changed once",
    *everywhere(0, "verified"),
    *everywhere(1, "verified"),
    *everywhere(2, "untrusted", "unknown_key"),
)
def checkpoint_key_rotated(path: Path, ring: Ring) -> LogWriter:
    """As `rotated`."""
    return rotated(path, ring)


@case(
    "honest: the checkpoint key changed twice, the epoch key once; any of the three is enough",
    *(item for named in range(3) for item in everywhere(named, "verified")),
)
def three_rotations(path: Path, ring: Ring) -> LogWriter:
    """In three segments."""
    writer = begin(path, ring).hand_over(ring[0], ring[1]).start("carry").block(entry(2))
    writer.rotate("epoch", ring[0], ring[1])
    writer.issuer = ring[1]
    writer.turn("segment").block(entry(3))
    return writer.hand_over(ring[1], ring[2]).start("carry").block(entry(4)).end()


@case("honest: a new version of the epoch key was in use before it was recorded", *everywhere(0, "verified"))
def epoch_key_recorded_late(path: Path, ring: Ring) -> LogWriter:
    """By the first epoch of the new key."""
    writer = begin(path, ring)
    writer.issuer = ring[1]
    return writer.turn().rotate("epoch", ring[0], ring[1]).block(entry(2)).end()


@case(
    "honest: the first attempt was cut short, and the old key signed on until the second",
    *everywhere(0, "verified", warnings="rotation_unfinished"),
    *everywhere(1, "verified", warnings="rotation_unfinished"),
)
def rotation_interrupted(path: Path, ring: Ring) -> LogWriter:
    """The close behind its line bears the signature of the old key alone."""
    writer = begin(path, ring).rotate("checkpoint", ring[0], ring[1]).end()
    writer.start("carry").block(entry(2))
    return writer.hand_over(ring[0], ring[1]).start("carry").block(entry(3)).end()


@case(
    "honest: the old key was stolen, and replaced at once: only its owner can say by which",
    *everywhere(0, "untrusted", "key_compromised unknown_key"),
    *everywhere(1, "verified"),
)
def checkpoint_key_compromised(path: Path, ring: Ring) -> LogWriter:
    """The new key signs alone."""
    writer = begin(path, ring).hand_over(ring[0], ring[1], compromised=True)
    return writer.start("carry").block(entry(2)).end()


@case(
    "honest: the theft is older; from then on only the epoch keys show who wrote the lines",
    keys(1, "verified"),
    public(1, "untrusted", "key_compromised"),
)
def compromised_for_longer(path: Path, ring: Ring) -> LogWriter:
    """The second epoch began after it."""
    writer = begin(path, ring).hand_over(ring[0], ring[1], compromised=True, from_size=3)
    return writer.start("carry").block(entry(2)).end()


@case(
    "honest: the epoch key was stolen earlier; for those epochs only signatures speak",
    keys(0, "untrusted", "key_compromised"),
    public(0, "verified"),
)
def epoch_key_compromised(path: Path, ring: Ring) -> LogWriter:
    """The second epoch was issued by it."""
    writer = begin(path, ring).rotate("epoch", ring[0], ring[1], compromised=True, from_size=3)
    writer.issuer = ring[1]
    return writer.turn().block(entry(2)).end()


# --- attacked -------------------------------------------------------------------------------------------


@case(
    "the epoch key changed, and nobody recorded it",
    *everywhere(0, "verified", warnings="rotation_unrecorded"),
    keys(0, "incomplete", "rotation_strict", strict=True),
    limit="an owner whose backend makes new versions by itself does the same: strict mode refuses it",
)
def epoch_key_changed(path: Path, ring: Ring) -> LogWriter:
    """Everything else is in order."""
    writer = begin(path, ring)
    writer.issuer = ring[1]
    return writer.turn().block(entry(2)).end()


@case(
    "an intruder has the agent use an epoch key again that was replaced because it had leaked",
    *everywhere(0, "untrusted", "key_retired"),
)
def retired_epoch_key_again(path: Path, ring: Ring) -> LogWriter:
    """With the carry, as an intruder on the host could."""
    writer = begin(path, ring).rotate("epoch", ring[0], ring[1])
    writer.issuer = ring[1]
    writer.turn().block(entry(2))
    writer.issuer = ring[0]
    return writer.turn().block(entry(3)).end()


@case(
    "the rotate line names another new key",
    keys(0, "tampered", "line_altered"),
    keys(1, "tampered", "line_altered"),
    public(1, "tampered", "checkpoint_mismatch"),
)
def rotate_line_edited(path: Path, ring: Ring) -> LogWriter:
    """The tag stays."""
    writer = rotated(path, ring)

    def change(items: list[bytes]) -> None:
        place = at(items, b"rotate ")
        items[place] = items[place].replace(ring[1].vkey().encode(), ring[THIEF].vkey().encode())

    lines(writer, 1, change)
    return writer


@case(
    "the rotate line was removed",
    *everywhere(0, "tampered", "line_missing"),
    *everywhere(1, "tampered", "line_missing"),
)
def rotate_line_removed(path: Path, ring: Ring) -> LogWriter:
    """Its index is free then."""
    writer = rotated(path, ring)
    lines(writer, 1, lambda items: items.__delitem__(at(items, b"rotate ")))
    return writer


@case(
    "the rotate line stands a second time behind the new epoch line",
    *everywhere(0, "tampered"),
    *everywhere(1, "tampered"),
)
def rotate_line_replayed(path: Path, ring: Ring) -> LogWriter:
    """Between epoch line and note."""
    writer = rotated(path, ring)
    (first, second) = sorted((path / "segments").glob("*.seal"))
    items = first.read_bytes().splitlines(keepends=True)
    line = items[at(items, b"rotate ")]
    edit(second, lambda data: data.replace(b"\nnote", b"\n" + line + b"note", 1))
    return writer


@case(
    "a rotate line of another log with the same keys stands in the place of this one's",
    keys(0, "tampered", "line_altered"),
    keys(1, "tampered", "line_altered"),
    public(1, "tampered", "checkpoint_mismatch"),
)
def rotate_line_of_other_log(path: Path, ring: Ring) -> LogWriter:
    """It has the same index."""
    writer, other = rotated(path, ring), LogWriter(path / "other", ring[0], "other").start("genesis")
    other.block(entry(7)).turn().block(entry(8)).hand_over(ring[0], ring[2])
    theirs = other.file("seal").read_bytes().splitlines(keepends=True)

    def change(items: list[bytes]) -> None:
        items[at(items, b"rotate ")] = theirs[at(theirs, b"rotate ")]

    lines(writer, 1, change)
    for file in sorted((path / "other").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (path / "other").rmdir()
    return writer


@case(
    "the checkpoint that both keys signed was removed",
    *everywhere(0, "untrusted", "unknown_key"),
    *everywhere(1, "untrusted", "unknown_key"),
)
def endorsement_removed(path: Path, ring: Ring) -> LogWriter:
    """Later checkpoints stay."""
    writer = rotated(path, ring)
    lines(writer, 1, lambda items: items.__delitem__(-1))
    return writer


@case(
    "the old key's signature was taken out of the checkpoint that both signed",
    *everywhere(0, "untrusted", "unknown_key"),
    *everywhere(1, "untrusted", "unknown_key"),
)
def old_signature_removed(path: Path, ring: Ring) -> LogWriter:
    """The new key goes on alone."""
    writer = begin(path, ring).rotate("checkpoint", ring[0], ring[1]).end(signed=False)
    writer.signer = ring[1]
    writer.note()
    return writer.start("carry").block(entry(2)).end()


@case(
    "the new key's signature is missing: the old one handed over to whoever comes",
    *everywhere(0, "untrusted", "unknown_key"),
    *everywhere(1, "untrusted", "unknown_key"),
)
def new_signature_missing(path: Path, ring: Ring) -> LogWriter:
    """The new key goes on all the same."""
    writer = begin(path, ring).rotate("checkpoint", ring[0], ring[1]).end()
    writer.signer = ring[1]
    return writer.start("carry").block(entry(2)).end()


@case(
    "whoever stole the old key goes on with the log behind the rotation",
    *everywhere(0, "untrusted", "unknown_key start_unsigned"),
    *everywhere(1, "untrusted", "unknown_key start_unsigned"),
)
def old_key_goes_on(path: Path, ring: Ring) -> LogWriter:
    """They issue and sign, but have no carry."""
    writer = rotated(path, ring)
    thief = LogWriter.after(path, ring[0], "thief", time=writer.time + 5000, signs=True)
    return thief.start("cold").block(entry(9)).end()


@case(
    "the log is cut back to a clean close before the rotation, and goes on under the stolen old key",
    *everywhere(0, "incomplete", "cold_start"),
    *everywhere(1, "untrusted", "unknown_key"),
)
def cut_back_before_the_rotation(path: Path, ring: Ring) -> LogWriter:
    """The rotation itself is gone."""
    writer = begin(path, ring).end()
    thief = LogWriter.after(path, ring[0], "thief", time=writer.time + 5000, signs=True)
    return thief.start("cold").block(entry(9)).end()


@case(
    "whoever stole the old key began an epoch of their own before it was replaced",
    *everywhere(1, "untrusted", "start_unsigned"),
)
def thief_before_the_rotation(path: Path, ring: Ring) -> LogWriter:
    """The owner knows from when on."""
    size = begin(path, ring).end().size
    thief = LogWriter.after(path, ring[0], "thief", time=1_767_225_700_000, signs=True)
    closed = thief.start("cold").block(entry(9)).end()
    owner = LogWriter.after(path, ring[0], "owner", time=closed.time + 5000, signs=True)
    owner.signer = ring[1]
    return owner.start("cold").hand_over(ring[0], ring[1], compromised=True, from_size=size)


@case(
    "a stranger begins an epoch that names their key as one of the log's earlier ones; the agent goes on",
    *everywhere(0, "untrusted", "start_unsigned unknown_key"),
)
def stranger_as_predecessor(path: Path, ring: Ring) -> LogWriter:
    """The agent signs over what it finds on the disk, but never at its end."""
    writer = begin(path, ring).end()
    stranger = LogWriter.after(path, ring[0], "stranger", time=writer.time + 5000, signs=True)
    stranger.signer = ring[THIEF]
    stranger.start("cold").block(entry(9)).rotate("checkpoint", ring[THIEF], ring[0], compromised=True)
    stranger.end()
    agent = LogWriter.after(path, ring[0], "agent", time=stranger.time + 5000, signs=True)
    return agent.start("cold").block(entry(2)).end()
