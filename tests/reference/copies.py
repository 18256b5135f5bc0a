"""Copies of a log that is being written, and what the page says of each (docs/format.md, 10.8).

Each is what is left of a log if one file was copied before, and another after, something was written.
"""

from __future__ import annotations

from tests.reference.maker import Maker
from tests.reference.scenarios import (
    TAMPERED,
    VERIFIED,
    append,
    closed,
    cut,
    entries,
    incomplete,
    remove,
    says,
    started,
)


@says(incomplete("next_epoch_missing"))
def copy_of_a_pair_just_begun(log: Maker) -> None:
    """Both files of the last segment were empty, the epoch before them ended for it."""
    entries(started(log).turn("segment"))
    cut_to_nothing(log, "log")
    cut_to_nothing(log, "seal")


@says(incomplete("next_epoch_missing", "seal_behind"))
def copy_listed_between_two_names(log: Maker) -> None:
    """The names were listed when the log file had its name and the seal file had not; then it was written."""
    entries(started(log).turn("segment"))
    log.file("seal").unlink()


@says(incomplete("seal_behind"))
def copy_listed_between_two_names_behind_a_close(log: Maker) -> None:
    """The same at the start behind a clean close."""
    closed(log).stem = "000002-20270101T000000Z"
    append(log, "log", b"an entry of the next epoch\n")


@says(incomplete("next_epoch_missing", "seal_behind"))
def copy_of_a_seal_file_just_begun(log: Maker) -> None:
    """The seal file was copied when it was empty, the log file when it had entries."""
    entries(started(log).turn("segment"))
    cut_to_nothing(log, "seal")


@says(incomplete("next_epoch_missing", "seal_behind", "torn_line"))
def copy_of_a_torn_epoch_line(log: Maker) -> None:
    """The seal file was copied while its first line was written, the log file when it had entries."""
    entries(started(log).turn("segment"))
    log.file("seal").write_bytes(log.file("seal").read_bytes()[:100])


@says(incomplete("log_behind", "next_epoch_missing"))
def copy_of_a_log_file_before_a_turn(log: Maker) -> None:
    """The log file was copied first; then entries were sealed, and the epoch ended for the next segment."""
    entries(started(log))
    log.sign(log.ask())
    log.end("segment")
    cut(log, "log", 4)


@says(VERIFIED)
def copy_of_a_seal_file_before_more_entries(log: Maker) -> None:
    """The seal file was copied first; what the log file has beyond it was sealed later."""
    append(entries(started(log)), "log", b"an entry that was sealed later\n")


@says(VERIFIED)
def copy_with_an_older_checkpoint(log: Maker) -> None:
    """The orderly case: `checkpoint` was copied first, and the log went on and was closed."""
    started(log)
    first = (log.path / "checkpoint").read_bytes()
    entries(log.turn()).close()
    (log.path / "checkpoint").write_bytes(first)


@says(TAMPERED)
def copy_with_the_checkpoint_last(log: Maker) -> None:
    """Not orderly: `checkpoint` was copied when the log had been closed, the lines before."""
    started(log)
    lines, content = log.file("seal").read_bytes(), log.file("log").read_bytes()
    entries(log.turn()).close()
    log.file("seal").write_bytes(lines)
    log.file("log").write_bytes(content)


@says(VERIFIED)
def copy_without_a_checkpoint(log: Maker) -> None:
    """The file `checkpoint` was left out: the notes are in the seal file."""
    closed(log)
    (log.path / "checkpoint").unlink()


@says(TAMPERED)
def copy_updated_without_delete(log: Maker) -> None:
    """Not orderly: a log file was there already when its compressed form was copied beside it."""
    entries(started(log).turn("segment")).close()
    path = next(iter(sorted((log.path / "segments").glob("*.log"))))
    path.with_name(f"{path.name}.gz").write_bytes(EMPTY_MEMBER)


@says(TAMPERED)
def copy_updated_with_a_hole(log: Maker) -> None:
    """Not orderly: segment 2 expired between two copies into one directory, which kept segment 1."""
    entries(entries(started(log).turn("segment")).turn("segment")).close()
    remove(log, 2)


EMPTY_MEMBER = bytes.fromhex("1f8b08000000000002ff03000000000000000000")
"""A member of RFC 1952 without content."""


def cut_to_nothing(log: Maker, ending: str) -> None:
    """A file of the last segment as it was when it got its name."""
    log.file(ending).write_bytes(b"")
