"""Small logs by name, honest and not, with what the page says of each: an oracle for any verifier.

Each is a function of a maker at the empty log. A "thief" has the agent's credential and not its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.reference.keys import Keys, hashed
from tests.reference.maker import MINUTE, Maker, headers

Found = tuple[str, set[str]]
Make = Callable[[Maker], object]
VERIFIED: Found = ("verified", set())
TAMPERED: Found = ("tampered", set())
SCENARIOS: dict[str, Scenario] = {}


@dataclass(frozen=True)
class Scenario:
    """How a log is made, and what a verifier finds with all keys and with the checkpoint key alone."""

    make: Make
    keys: Found
    public: Found


def says(keys: Found, public: Found | None = None) -> Callable[[Make], Make]:
    """Enter a scenario; one verdict if both modes say the same."""

    def enter(make: Make) -> Make:
        SCENARIOS[make.__name__] = Scenario(make, keys, keys if public is None else public)
        return make

    return enter


def incomplete(*kinds: str) -> Found:
    """Verdict 3."""
    return "incomplete", set(kinds)


def untrusted(*kinds: str) -> Found:
    """Verdict 4."""
    return "untrusted", set(kinds)


def entries(log: Maker, count: int = 3) -> Maker:
    """One block."""
    return log.block(*(b"entry %d of epoch %d\n" % (number, log.epoch) for number in range(count)))


def started(log: Maker) -> Maker:
    """Genesis, its note, one block."""
    return entries(log.begin("genesis"))


def closed(log: Maker) -> Maker:
    """Two epochs and a clean close."""
    return entries(started(log).turn()).close()


@says(VERIFIED)
def honest(log: Maker) -> None:
    """Turns of both kinds, a heartbeat, a close."""
    entries(started(log).turn().block()).turn("segment")
    entries(log).close()


@says(VERIFIED)
def open_end_alive(log: Maker) -> None:
    """Not closed, and just written."""
    started(log).turn()


@says(VERIFIED)
def nothing_but_a_start(log: Maker) -> None:
    """Genesis and its note."""
    log.begin("genesis")


@says(untrusted("start_unsigned"))
def genesis_unsigned(log: Maker) -> None:
    """Whoever has the public wrapping key can do this."""
    log.signs = False
    started(log)


@says(VERIFIED)
def resumed_after_close(log: Maker) -> None:
    """The carry out of the state directory."""
    entries(closed(log).begin("carry")).close()


@says(VERIFIED)
def bare_epoch_between(log: Maker) -> None:
    """A power cut before the first block line behind a close; with its note, and once more without."""
    entries(closed(log).begin("carry").begin("carry", signed=False).begin("carry")).close()


@says(VERIFIED)
def bare_epochs_at_the_end(log: Maker) -> None:
    """The signer is away when the log is opened again, and the machine loses power, twice."""
    closed(log).begin("carry", signed=False).begin("carry", signed=False)


@says(TAMPERED)
def bare_epoch_within_a_run(log: Maker) -> None:
    """Behind an end with another reason than close no epoch can be without an end."""
    started(log).turn().begin("carry")
    entries(log).close()


@says(incomplete("cold_start"))
def cold_after_close(log: Maker) -> None:
    """The carry is lost."""
    entries(closed(log).begin("cold")).close()


@says(VERIFIED)
def cold_without_entries(log: Maker) -> None:
    """A cold start that sealed nothing yet."""
    closed(log).begin("cold")


@says(incomplete("cold_start"), incomplete("cold_start", "unvouched"))
def cold_after_kill(log: Maker) -> None:
    """The page is lost: entries of the open epoch are vouched for by tags alone."""
    entries(started(log).turn()).begin("cold")
    entries(log).close()


@says(TAMPERED)
def denied_at_start(log: Maker) -> None:
    """The writer remembers another tree than it found."""
    entries(closed(log).begin("cold", denies=(log.log, 3, hashed("what it remembers")))).close()


@says(TAMPERED)
def denied_without_entries(log: Maker) -> None:
    """The conviction needs no entries."""
    closed(log).begin("cold", denies=(log.log, 3, hashed("what it remembers")))


@says(TAMPERED)
def begun_anew_with_a_memory(log: Maker) -> None:
    """Everything was gone: a genesis that denies."""
    entries(log.begin("genesis", denies=(hashed("old id"), 9, hashed("old root")))).close()


@says(untrusted("epoch_unsigned"))
def dump_thief_behind_a_close(log: Maker) -> None:
    """Who has the memory of the close, and no credential, appends an epoch."""
    closed(log).signs = False
    entries(log.begin("carry"))


@says(untrusted("epoch_unsigned"))
def dump_thief_after_a_turn(log: Maker) -> None:
    """Who has a dump of the running key goes on with secrets of their own: nobody signs that."""
    started(log).turn().signs = False
    entries(entries(log).turn())


@says(untrusted("epoch_unsigned"))
def announced_secret_replaced(log: Maker) -> None:
    """The announcement is signed, and the next epoch has another secret."""
    started(log).sign(log.ask()).note().end("interval").begin(
        "carry", log.ask(hashed("a thief's")), segment=False
    )
    entries(log)


@says(untrusted("epoch_unsigned"))
def announced_secret_replaced_and_signed(log: Maker) -> None:
    """No later signature heals what disagrees with the announcement."""
    started(log).sign(log.ask()).note().end("interval").begin(
        "carry", log.ask(hashed("a thief's")), segment=False
    )
    entries(log).close()


@says(VERIFIED)
def announcement_given_up(log: Maker) -> None:
    """The last announcement counts; the first one was signed too, and came to nothing."""
    started(log).sign(log.ask()).note().block()
    entries(log.turn()).close()


@says(untrusted("epoch_unsigned"))
def announcement_never_signed(log: Maker) -> None:
    """A turn without the note, and nothing later."""
    entries(started(log).turn(signed=False))


@says(VERIFIED)
def announcement_signed_late(log: Maker) -> None:
    """A later checkpoint of the run covers the epoch: a lost note heals."""
    entries(started(log).turn(signed=False)).close()


@says(untrusted("epoch_unsigned"))
def turn_without_announcement(log: Maker) -> None:
    """An end and a carry, and no sign line before."""
    entries(started(log).end("interval").begin("carry", segment=False, signed=False))


@says(VERIFIED)
def turn_without_announcement_signed_later(log: Maker) -> None:
    """9.4 binds the writer; a checkpoint of the run is enough for a verifier."""
    entries(started(log).end("interval").begin("carry", segment=False, signed=False)).close()


@says(TAMPERED)
def run_changed(log: Maker) -> None:
    """A sign line that claims another run."""
    entries(closed(log).begin("cold")).sign(run=0).note().close()


@says(TAMPERED)
def run_of_the_close_changed(log: Maker) -> None:
    """The end of a cold run claims the run before."""
    entries(closed(log).begin("cold")).end("close", run=0).note()


@says(TAMPERED)
def next_of_another_epoch(log: Maker) -> None:
    """An announcement of an epoch that is not the next one."""
    started(log).sign(replace(log.ask(), epoch=7)).note()
    log.announced = None
    log.close()


@says(TAMPERED)
def checkpoint_over_a_block(log: Maker) -> None:
    """A size that is never signed."""
    started(log).note()
    log.close()


@says(TAMPERED)
def checkpoint_over_an_end_of_a_turn(log: Maker) -> None:
    """Only a closing end is signed."""
    started(log).sign(log.ask()).note().end("interval").note()
    entries(log.begin("carry", segment=False)).close()


@says(TAMPERED)
def older_note_behind_newer(log: Maker) -> None:
    """Sizes of notes never decrease."""
    entries(started(log).turn()).note(size=1)


@says(VERIFIED)
def note_twice(log: Maker) -> None:
    """A writer that died while it waited asks again."""
    started(log).sign().note().note()


@says(incomplete("close_unsigned"))
def close_without_note(log: Maker) -> None:
    """The signature could not be had."""
    entries(started(log).turn()).close(signed=False)


@says(VERIFIED)
def close_signed_by_the_next_start(log: Maker) -> None:
    """The late note stands in the next segment, behind its epoch line."""
    size = entries(started(log).turn()).close(signed=False).size
    entries(log.begin("carry", signed=False).note(size=size).note(size=size + 1))


@says(incomplete("cold_start"), incomplete("cold_start", "unvouched"))
def signature_of_a_later_run_vouches_for_nothing_before(log: Maker) -> None:
    """The close was never signed, and the checkpoints of the next run do not stand in."""
    entries(started(log).turn()).close(signed=False).begin("cold")
    entries(log).close()


@says(VERIFIED, incomplete("unvouched"))
def empty_cold_run_behind_an_open_epoch(log: Maker) -> None:
    """Public mode: a run that another one follows must be vouched for; with keys the tags do."""
    started(log).begin("cold")


@says(incomplete("next_epoch_missing"))
def next_epoch_is_missing(log: Maker) -> None:
    """An end for another epoch, and nothing behind it."""
    started(log).sign(log.ask()).note().end("segment")


@says(incomplete("open_end"))
def open_end_stale(log: Maker) -> None:
    """Older than three heartbeats."""
    started(log).turn().time += 31_000


@says(incomplete("future_time"))
def clock_ahead(log: Maker) -> None:
    """The log ends in the future."""
    started(log).turn().time -= 130_000


@says(incomplete("epoch_overrun"))
def block_too_late(log: Maker) -> None:
    """A block line later than its epoch may last."""
    started(log).time += MINUTE
    entries(log).close()


@says(incomplete("unsigned_tail"), VERIFIED)
def tail_unsigned_for_longer_than_an_epoch(log: Maker) -> None:
    """With keys one interval, and two in public, from the last epoch that is sure."""
    started(log)
    for wait in (*[9_000] * 6, 5_000):
        log.time += wait
        log.block()


@says(incomplete("epoch_overrun", "unsigned_tail"))
def tail_unsigned_for_long(log: Maker) -> None:
    """Far beyond both."""
    started(log).time += 4 * MINUTE
    log.block()


@says(incomplete("torn_line"))
def torn_end(log: Maker) -> None:
    """A line that is cut."""
    append(started(log), "seal", b"block 2 3 1 ")


@says(incomplete("torn_line"))
def zeros_at_the_end(log: Maker) -> None:
    """What a power cut leaves."""
    append(started(log), "seal", b"\x00" * 100)


@says(incomplete("torn_line"))
def zeros_and_a_line_at_the_end(log: Maker) -> None:
    """A tear reaches to the end of the file, whatever stands there."""
    append(started(log), "seal", b"\x00" * 10 + b"\nblock 2 \n")


@says(TAMPERED)
def zeros_in_an_earlier_segment(log: Maker) -> None:
    """Only the last file can be torn."""
    append(started(log), "seal", b"\x00")
    entries(log.turn("segment"))


@says(incomplete("log_behind"))
def log_copied_before_seal(log: Maker) -> None:
    """The last log file lacks entries that no file `checkpoint` covers."""
    cut(entries(started(log).turn()), "log", 4)


@says(TAMPERED)
def entries_cut_off_under_the_checkpoint(log: Maker) -> None:
    """Everything under the file `checkpoint` was there when it was written."""
    cut(closed(log), "log", 4)


@says(VERIFIED)
def bytes_not_sealed_yet(log: Maker) -> None:
    """The open last segment may hold more."""
    append(started(log), "log", b"not sealed\n")


@says(TAMPERED)
def bytes_behind_a_close(log: Maker) -> None:
    """A closed log may not."""
    append(closed(log), "log", b"not sealed\n")


@says(incomplete("torn_lines"))
def lines_set_aside(log: Maker) -> None:
    """What a start cut off."""
    append(closed(log), "torn", b"end ")


@says(TAMPERED)
def bytes_set_aside_behind_a_close(log: Maker) -> None:
    """No honest start sets bytes aside there."""
    append(closed(log), "unsealed", b"x\n")


@says(incomplete("unsealed_bytes"))
def bytes_set_aside(log: Maker) -> None:
    """What a start found and no line accounts for."""
    append(started(log), "unsealed", b"x\n")


@says(VERIFIED)
def segment_begun(log: Maker) -> None:
    """Two empty files with the next number."""
    closed(log).stem = "000002-20270101T000000Z"
    append(append(log, "log", b""), "seal", b"")


@says(VERIFIED)
def segment_half_begun(log: Maker) -> None:
    """The log file came first."""
    closed(log).stem = "000002-20270101T000000Z"
    append(log, "log", b"")


@says(VERIFIED)
def segment_half_removed(log: Maker) -> None:
    """An empty seal file is all that there is of it."""
    closed(log).stem = "000002-20270101T000000Z"
    append(log, "seal", b"")


@says(TAMPERED)
def segment_half_gone(log: Maker) -> None:
    """Its seal file is not empty."""
    closed(log).stem = "000002-20270101T000000Z"
    append(log, "seal", b"x\n")


@says(TAMPERED)
def link_in_place_of_a_file(log: Maker) -> None:
    """A symbolic link is never followed."""
    path = closed(log).file("log")
    path.rename(path.with_name(".kept"))
    path.symlink_to(".kept")


@says(VERIFIED)
def expired(log: Maker) -> None:
    """A prune line that is signed, and the first segment gone."""
    prune(log, by="close")


@says(VERIFIED)
def expiry_interrupted(log: Maker) -> None:
    """The seal file of what expired is still there, with bytes that were set aside."""
    prune(log, by="close", leaving=("seal",))
    (left,) = (log.path / "segments").glob("000001-*.seal")
    left.with_suffix(".unsealed").write_bytes(b"x")


@says(incomplete("prefix_missing"))
def beginning_taken_away(log: Maker) -> None:
    """No prune line explains it."""
    entries(started(log).turn("segment")).close()
    remove(log, 1)


@says(VERIFIED, incomplete("prefix_missing"))
def expired_and_not_signed_yet(log: Maker) -> None:
    """The prune line counts by its tag, in public by a checkpoint that vouches for it."""
    prune(log, by="")


@says(VERIFIED)
def bare_epoch_first(log: Maker) -> None:
    """All before a bare epoch has expired."""
    entries(closed(log).begin("carry").begin("carry").turn())
    log.prune(headers(log.path)[2], 1).close()
    remove(log, 1)


@says(VERIFIED)
def late_note_of_what_expired(log: Maker) -> None:
    """The signature of a close stands behind the next epoch line, and what it covers has expired since."""
    closed(log).begin("cold")
    entries(log).close(signed=False)
    size = log.size
    entries(log.begin("carry", signed=False).note(size=size).note(size=size + 1))
    log.prune(headers(log.path)[3], 2).close()
    remove(log, 1)
    remove(log, 2)


def append(log: Maker, ending: str, data: bytes) -> Maker:
    """Bytes at the end of a file of the last segment."""
    with log.file(ending).open("ab") as file:
        file.write(data)
    return log


def cut(log: Maker, ending: str, count: int) -> None:
    """The last bytes of a file are gone."""
    path = log.file(ending)
    path.write_bytes(path.read_bytes()[:-count])


def remove(log: Maker, segment: int, leaving: tuple[str, ...] = ()) -> None:
    """The files of a segment are gone."""
    for path in (log.path / "segments").glob(f"{segment:06}-*"):
        if path.name.split(".", 1)[1] not in leaving:
            path.unlink()


def prune(log: Maker, *, by: str, leaving: tuple[str, ...] = ()) -> None:
    """Three segments, the first of which expires."""
    entries(entries(started(log).turn("segment")).turn("segment"))
    log.prune(headers(log.path)[1], 1)
    if by == "close":
        log.close()
    remove(log, 1, leaving)


def make(name: str, path: Path, keys: Keys) -> Maker:
    """The log of a scenario; verify it at `time` + 1000 of what is returned."""
    log = Maker(path, keys, name)
    SCENARIOS[name].make(log)
    return log


# They enter more scenarios, and are made of what stands above.
from tests.reference import copies  # noqa: E402, F401
