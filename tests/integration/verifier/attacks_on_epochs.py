"""Attacks with whole epochs and segments: removed, moved, repeated, of other logs, or made by a thief."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tests.integration.logs import Log, LogWriter, entry, write_log
from tests.integration.rewriter import rewrite
from tests.integration.verifier.attacks import (
    Expect,
    attack,
    cut_epoch,
    drop_epoch,
    drop_segment,
    entries,
    lines,
    tampered,
    without_checkpoint,
)

PUBLIC_KEY_ONLY = (
    "whoever holds the signing credential can have another history signed; without keys it looks right"
)


@attack("an epoch in the middle and its entries are gone", tampered("epoch_missing", 12, 17, 12, 17))
def epoch_removed(log: Log) -> None:
    """Epoch 2, the first of segment 2."""
    drop_epoch(log, 2, 2)
    entries(log, 2, lambda items: items.__delitem__(slice(6)))


@attack("an epoch at the end of a segment and its entries are gone", tampered("epoch_missing", 6, 11, 6, 11))
def epoch_removed_at_end_of_segment(log: Log) -> None:
    """Epoch 1."""
    drop_epoch(log, 1, 1)
    entries(log, 1, lambda items: items.__delitem__(slice(6, None)))


@attack("the first epoch and its entries are gone", Expect("tampered", "prefix_missing", (0, 5), (0, 5)))
def first_epoch_removed(log: Log) -> None:
    """The segment does not begin where it says."""
    drop_epoch(log, 1, 0)
    entries(log, 1, lambda items: items.__delitem__(slice(6)))


@attack("the last epoch is gone, the file `checkpoint` was left", tampered("checkpoint_ahead", 30, 30))
def last_epoch_removed(log: Log) -> None:
    """With its entries."""
    drop_epoch(log, 3, 5)
    entries(log, 3, lambda items: items.__delitem__(slice(6, None)))


@attack(
    "the last epoch is gone with its checkpoints",
    Expect("incomplete", "next_epoch_missing", (30, 30), (30, 30)),
)
def last_epoch_removed_with_checkpoint(log: Log) -> None:
    """The epoch before says that another one follows."""
    last_epoch_removed(log)
    without_checkpoint(log)


@attack("two epochs have changed places", tampered("epoch_misplaced epoch_missing", 12, 17, 0, 24))
def epochs_swapped(log: Log) -> None:
    """Epochs 2 and 3, with their entries."""

    def change(items: list[bytes]) -> None:
        items += cut_epoch(items, 2)

    lines(log, 2, change)
    entries(log, 2, lambda items: items.__setitem__(slice(None), items[6:] + items[:6]))


@attack("an epoch is there twice", tampered("epoch_misplaced", 6, 11))
def epoch_replayed(log: Log) -> None:
    """Epoch 1, again with its entries."""

    def change(items: list[bytes]) -> None:
        taken = cut_epoch(items, 1)
        items += taken + taken

    lines(log, 1, change)
    entries(log, 1, lambda items: items.extend(items[6:]))


@attack("an older epoch stands at the end of the log", tampered("epoch_misplaced", 6, 11))
def old_epoch_at_the_end(log: Log) -> None:
    """Epoch 1 once more, after the close."""
    taken: list[bytes] = []
    lines(log, 3, lambda items: items.extend(taken or _epoch_of(log, 1)))
    entries(
        log, 3, lambda items: items.extend(log.files("log")[0].read_bytes().splitlines(keepends=True)[6:])
    )


def _epoch_of(log: Log, number: int) -> list[bytes]:
    return cut_epoch(log.files("seal")[0].read_bytes().splitlines(keepends=True), number)


@attack("the first segment is gone", Expect("incomplete", "prefix_missing", (0, 11), (0, 11)))
def first_segment_removed(log: Log) -> None:
    """It may have expired, but the log does not say so."""
    drop_segment(log, 1)


@attack("a segment in the middle is gone", tampered("segment_missing epoch_missing", 12, 23))
def middle_segment_removed(log: Log) -> None:
    """Passes in journald."""
    drop_segment(log, 2)


@attack("the last segment is gone, the file `checkpoint` was left", tampered("checkpoint_ahead", 24, 24))
def last_segment_removed(log: Log) -> None:
    """The end of the log."""
    drop_segment(log, 3)


@attack(
    "the last segment is gone with its checkpoints",
    Expect("incomplete", "next_epoch_missing", (24, 24), (24, 24)),
)
def last_segment_removed_with_checkpoint(log: Log) -> None:
    """Segment 2 says that another one follows."""
    drop_segment(log, 3)
    without_checkpoint(log)


@attack(
    "the last segment is there, but empty", Expect("incomplete", "next_epoch_missing", (24, 24), (24, 24))
)
def last_segment_emptied(log: Log) -> None:
    """As a crash leaves it that came before the first line."""
    for ending in ("log", "seal"):
        log.files(ending)[2].write_bytes(b"")
    without_checkpoint(log)


def _move(log: Log, number: int, stem: str) -> None:
    for ending in ("log", "seal"):
        path = log.files(ending)[number - 1]
        path.rename(path.with_name(f"{stem}.{ending}"))


@attack("a segment has the name of another time", tampered("segment_renamed", 12, 12))
def segment_renamed(log: Log) -> None:
    """Its number is right."""
    _move(log, 2, "000002-20270101T000000Z")


@attack("a segment has another number", tampered("segment_renamed segment_missing", 24, 24))
def segment_renumbered(log: Log) -> None:
    """3 became 4."""
    stem = log.files("seal")[2].stem
    _move(log, 3, "000004" + stem[6:])


@attack("two segments have changed their names", tampered("segment_renamed", 12, 12, 0, 24))
def segments_swapped(log: Log) -> None:
    """1 and 2."""
    first, second = (path.stem for path in log.files("seal")[:2])
    _move(log, 1, "000009-20270101T000000Z")
    _move(log, 1, first)
    _move(log, 3, second)


@attack(
    "a segment is there twice, once with another time in its name",
    tampered("segment_duplicate", 24, 24, 12, 24),
)
def segment_duplicated(log: Log) -> None:
    """The same bytes."""
    _copy(log, 2, "000002-20270101T000000Z")


@attack("an older segment stands at the end of the log", tampered("epoch_misplaced", 12, 17))
def old_segment_at_the_end(log: Log) -> None:
    """Segment 2 again, as segment 4."""
    _copy(log, 2, "000004-20270101T000000Z")


def _copy(log: Log, number: int, stem: str) -> None:
    for ending in ("log", "seal"):
        path = log.files(ending)[number - 1]
        shutil.copy(path, path.with_name(f"{stem}.{ending}"))


# --- other logs, forks --------------------------------------------------------------------------------------


def _other_log(log: Log, name: str) -> Log:
    """A log of the same agent, keys, origin and moment."""
    times = int(log.files("seal")[0].read_bytes().split(b'"time":')[1].split(b"}")[0]) - 100
    return write_log(log.path.with_name(log.path.name + "-" + name), log.keys, name, time=times)


@attack("a segment of another log with the same keys and origin", tampered("foreign_log", 12, 17))
def segment_of_other_log(log: Log) -> None:
    """In the place of segment 2."""
    other = _other_log(log, "another")
    stem = other.files("seal")[1].stem
    drop_segment(log, 2)
    for ending in ("log", "seal"):
        shutil.copy(other.files(ending)[1], log.path / "segments" / f"{stem}.{ending}")
    shutil.rmtree(other.path)


@attack("an epoch of another log with the same keys and origin", tampered("foreign_log", 6, 11))
def epoch_of_other_log(log: Log) -> None:
    """In the place of epoch 1; all numbers fit."""
    other = _other_log(log, "another")

    def change(items: list[bytes]) -> None:
        cut_epoch(items, 1)
        items += cut_epoch(other.files("seal")[0].read_bytes().splitlines(keepends=True), 1)

    lines(log, 1, change)
    shutil.rmtree(other.path)


@attack(
    "the whole log is another one with the same keys and origin",
    Expect("verified"),
    limit="a log alone cannot show which log it is: its id stands in the verdict, and a trust file holds it",
)
def whole_log_replaced(log: Log) -> None:
    """A complete and honest log of another day."""
    other = _other_log(log, "another")
    shutil.rmtree(log.path)
    other.path.rename(log.path)


@attack(
    "an entry was changed and all tags made again by a thief of the verifier's keys",
    tampered("checkpoint_mismatch", 7, 7, 6, 11),
)
def rewritten_by_verifier(log: Log) -> None:
    """Below the last checkpoint; the thief cannot sign."""
    _rewritten(log, sign=False)


@attack(
    "an entry was changed, all tags made again and all checkpoints signed again",
    Expect("verified"),
    limit="the keys of all roles can write any history: only a trust file or a witness shows it",
)
def rewritten_with_all_keys(log: Log) -> None:
    """Verifier's and agent's keys together."""
    _rewritten(log, sign=True)


def _rewritten(log: Log, *, sign: bool) -> None:
    new = Path(f"{log.path}-new")
    rewrite(
        log, lambda number, text: text.replace(b"sealed", b"sealee") if number == 7 else text, new, sign=sign
    )
    shutil.rmtree(log.path)
    new.rename(log.path)


def _continue(log: Log, *, signs: bool, name: str = "thief") -> LogWriter:
    return LogWriter.after(log.path, log.keys, name, time=log.now - 1000, signs=signs)


def _more(writer: LogWriter) -> None:
    writer.block(b"a foreign line\n", b"another one\n").end()


@attack(
    "a `cold` epoch was appended with the public wrapping key",
    Expect("untrusted", "start_unsigned", (35, 36), (35, 36)),
)
def foreign_cold(log: Log) -> None:
    """Everybody may hold a public key."""
    _more(_continue(log, signs=False).start("cold"))


@attack(
    "a `cold` epoch that names another log was appended with the public wrapping key",
    Expect("tampered", "tampered_at_start", (35, 35), (35, 36)),
)
def foreign_denial(log: Log) -> None:
    """Whoever can write files can have a log called tampered: they could as well change an entry of it."""
    writer = _continue(log, signs=False)
    writer.begin("cold", denies=(bytes(32), 7, bytes(32)))
    _more(writer)


@attack(
    "a `cold` epoch without entries was appended with the public wrapping key",
    Expect("verified"),
    limit="it shows nothing and hides nothing: no entry stands in it, and no checkpoint is over it",
)
def foreign_cold_without_entries(log: Log) -> None:
    """An open end, so that the log seems to live: for three heartbeats."""
    _continue(log, signs=False).start("cold")


@attack("an epoch of a link that the format does not have", tampered("line_altered", 35, 36))
def unknown_link(log: Log) -> None:
    """As if there were a way to go on without a carry and without a word."""
    _more(_continue(log, signs=True).start("reopen"))  # type: ignore[arg-type]  # it is none


@attack(
    "a `genesis` epoch was appended with the public wrapping key",
    tampered("epoch_misplaced foreign_log", 0, 1),
)
def foreign_genesis(log: Log) -> None:
    """A genesis is epoch 0 and begins at nothing."""
    other = LogWriter(log.path, log.keys, "log", time=log.now - 1000)
    other.segment, other.signs = 3, False
    _more(other.start("genesis"))


@attack(
    "a `carry` epoch was appended with the public wrapping key",
    tampered("link_broken", 35, 35, 35, 36),
    Expect("untrusted", "epoch_unsigned", (35, 36)),
)
def foreign_carry(log: Log) -> None:
    """A carry that the epoch before did not hand on; it closed."""
    _more(_continue(log, signs=False).start("carry"))


@attack(
    "a thief of the agent's credential went on by `carry` after an epoch that did not end",
    tampered("end_missing", 24, 24, 24, 26),
)
def carry_without_end(log: Log) -> None:
    """In the place of segment 3; the last `end` of segment 2 is gone too."""
    drop_segment(log, 3)
    lines(log, 2, lambda items: items.__delitem__(-1))
    _more(_continue(log, signs=True).start("carry"))


@attack(
    "a thief of the agent's credential went on after the close",
    Expect("incomplete", "cold_start", (35, 35), (35, 36)),
)
def cold_after_close_by_agent_thief(log: Log) -> None:
    """Issued and signed, but without the carry that the close handed on: a reboot of the agent has it."""
    _more(_continue(log, signs=True).start("cold"))


@attack(
    "a thief of the agent's credential went on after the close as if with the carry",
    tampered("link_broken", 35, 35, 35, 36),
    Expect("verified", warnings="public_only"),
    limit=PUBLIC_KEY_ONLY,
)
def carry_after_close_by_agent_thief(log: Log) -> None:
    """Behind a close no secret is announced: only the keys show that the carry is not the right one."""
    _more(_continue(log, signs=True).start("carry"))


@attack(
    "a thief of the agent's credential went on in the middle, cold",
    Expect("incomplete", "cold_start", (24, 24), (24, 24)),
)
def cold_fork_by_agent_thief(log: Log) -> None:
    """In the place of segment 3."""
    drop_segment(log, 3)
    _more(_continue(log, signs=True).start("cold"))


@attack(
    "a thief of the agent's credential went on in the middle as if with the carry",
    tampered("link_broken", 24, 24, 24, 26),
    Expect("untrusted", "epoch_unsigned", (24, 25), (24, 25)),
)
def carry_fork_by_agent_thief(log: Log) -> None:
    """In the place of segment 3, all signed; but another secret was announced, under a checkpoint."""
    drop_segment(log, 3)
    _more(_continue(log, signs=True).start("carry"))


@attack(
    "old entries were sealed again today with the agent's credential",
    tampered("link_broken", 12, 12, 12, 17),
    tampered("tree_broken link_broken", 24, 24, 12, 24),
)
def old_entries_sealed_again(log: Log) -> None:
    """Segment 2 was made anew, segment 3 is the old one: what journald's check in one direction passes."""
    kept = [(path, path.read_bytes()) for ending in ("log", "seal") for path in log.files(ending)[2:]]
    drop_segment(log, 3)
    drop_segment(log, 2)
    writer = LogWriter.after(log.path, log.keys, "thief", time=log.now - 1000, signs=True).start("carry")
    for first in range(12, 24, 3):
        writer.block(*(entry(number).replace(b"0012", b"0000") for number in range(first, first + 3)))
        if first == 15:
            writer.turn()
    writer.sign(writer.ask()).note()
    writer.end("segment")
    for path, data in kept:
        path.write_bytes(data)


@attack("the log ends in the future", Expect("incomplete", "future_time", (3, 3), (3, 3)))
def future_clock(log: Log) -> None:
    """An open log whose end would look fresh for a day."""
    shutil.rmtree(log.path)
    LogWriter(log.path, log.keys, time=log.now + 86_400_000).start("genesis").block(*map(entry, range(3)))


def stale(log: Log, later: int) -> Log:
    """The same log, looked at later (ms)."""
    return replace(log, now=log.now + later)
