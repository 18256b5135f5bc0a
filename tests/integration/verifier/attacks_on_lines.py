"""Attacks on the lines of the `.seal` files, and on checkpoints."""

from __future__ import annotations

import hashlib
import re

from epochseal.encoding import b64encode
from tests.integration.logs import Log
from tests.integration.verifier.attacks import (
    SIZE,
    Expect,
    at,
    attack,
    cut_after,
    edit,
    entries,
    lines,
    replaced,
    swap,
    tampered,
    without_checkpoint,
)

# Epoch 1 is lines 5 to 9: epoch, entries 6-8, entries 9-11, sign, end. The checkpoint is over the sign line.
EPOCH_1 = (6, 11)


@attack("a block line is gone", tampered("line_missing", 6, 8, 6, 11))
def line_deleted(log: Log) -> None:
    """Its entries stay."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"block 6 ")))


@attack("a block line and its entries are gone", tampered("line_missing", 6, 8, 6, 11))
def line_and_entries_deleted(log: Log) -> None:
    """What a thief of the last hour's traces would do."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"block 6 ")))
    entries(log, 1, lambda items: items.__delitem__(slice(6, 9)))


@attack("a block line is there twice", tampered("line_misplaced", 9, 9, 6, 11))
def line_duplicated(log: Log) -> None:
    """One after the other."""
    lines(log, 1, lambda items: items.insert(at(items, b"block 6 "), items[at(items, b"block 6 ")]))


@attack("two block lines have changed places", tampered("line_misplaced line_missing", 9, 11, 6, 11))
def lines_swapped(log: Log) -> None:
    """In one epoch."""
    lines(log, 1, lambda items: swap(items, at(items, b"block 6 "), at(items, b"block 7 ")))


@attack(
    "a block line stands behind the end of its epoch", tampered("line_misplaced line_missing", 9, 11, 9, 12)
)
def line_after_end(log: Log) -> None:
    """In another place."""

    def change(items: list[bytes]) -> None:
        line = items.pop(at(items, b"block 7 "))
        items.insert(at(items, b"end 9 ") + 1, line)

    lines(log, 1, change)


@attack(
    "the time of a block is another",
    tampered("line_altered", 6, 8),
    tampered("checkpoint_mismatch", 6, 8, *EPOCH_1),
)
def line_edited(log: Log) -> None:
    """One digit."""
    lines(log, 1, lambda items: _next_digit(items, at(items, b"block 6 ")))


def _next_digit(items: list[bytes], place: int) -> None:
    parts = items[place].split(b" ")
    parts[6] = b"%d" % (int(parts[6]) + 1)
    items[place] = b" ".join(parts)


@attack(
    "entry 7 and the digest of its block were changed together",
    tampered("line_altered", 7, 7, 6, 8),
    tampered("checkpoint_mismatch", 7, 7, *EPOCH_1),
)
def entry_edited_with_digest(log: Log) -> None:
    """The digest holds, the tag does not."""

    def change(items: list[bytes]) -> None:
        place = at(items, b"block 6 ")
        parts = items[place].split(b" ")
        parts[7] = b64encode(hashlib.sha256(data[6 * SIZE : 9 * SIZE]).digest()).encode()
        items[place] = b" ".join(parts)

    entries(log, 1, lambda items: items.__setitem__(7, items[7].replace(b"sealed", b"sealee")))
    data = log.files("log")[0].read_bytes()
    lines(log, 1, change)


@attack(
    "a block has the tag of the block before it",
    tampered("line_altered", 0, 2),
    Expect("verified"),
    limit="tags are no part of the tree: only whoever recovers epoch keys can check them",
)
def tag_copied(log: Log) -> None:
    """A tag of the right log and epoch; not at a line whose tag the next epoch quotes."""
    lines(log, 1, lambda items: _copy_tag(items, b"block 2 ", b"block 1 "))


@attack(
    "an epoch ends with the tag of the block before",
    tampered("line_altered", 12, 12),
    tampered("link_broken", 12, 12),
)
def tag_of_end_copied(log: Log) -> None:
    """The next epoch quotes it."""
    lines(log, 1, lambda items: _copy_tag(items, b"block 7 ", b"end 9 "))


def _copy_tag(items: list[bytes], source: bytes, target: bytes) -> None:
    tag = items[at(items, source)].split(b" ")[-1]
    place = at(items, target)
    items[place] = b" ".join([*items[place].split(b" ")[:-1], tag])


@attack("the last line of an epoch is gone", tampered("end_missing line_missing", 12, 12))
def end_deleted(log: Log) -> None:
    """An epoch that another one follows must have its end."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"end 9 ")))


@attack("the line that announces the next epoch is gone", tampered("line_missing", 12, 12, 12, 12))
def announcement_deleted(log: Log) -> None:
    """Its checkpoint stays."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"sign 8 ")))


@attack(
    "another secret is announced than the one that came",
    tampered("line_altered", 12, 12, 6, 12),
    tampered("checkpoint_mismatch", 6, 11, 6, 11),
)
def announcement_changed(log: Log) -> None:
    """As a thief would announce their own."""
    lines(log, 1, lambda items: _announced(items, at(items, b"sign 8 "), at(items, b"sign 3 ")))


def _announced(items: list[bytes], place: int, other: int) -> None:
    found = [re.search(rb'"wrapped":"([^"]+)"', items[n]) for n in (place, other)]
    assert found[0] is not None
    assert found[1] is not None
    items[place] = items[place].replace(found[0][1], found[1][1])


@attack(
    "an announcement is for another epoch than the next",
    tampered("line_altered", 12, 12, 6, 12),
    tampered("counters", 12, 12, 6, 12),
)
def announcement_for_later_epoch(log: Log) -> None:
    """One digit."""
    lines(log, 1, replaced(b"sign 8 ", b'"next":{"epoch":2', b'"next":{"epoch":3'))


@attack(
    "the end says that its run began elsewhere",
    tampered("line_altered", 35, 35, 33, 35),
    tampered("run_broken", 30, 30, 30, 34),
)
def run_changed(log: Log) -> None:
    """So that the checkpoint over it would vouch for less."""
    lines(log, 3, replaced(b"end 28 ", b'"run":0', b'"run":5'))


@attack(
    "an epoch line says that the log before it was another one",
    tampered("line_altered", *EPOCH_1),
    tampered("line_altered", *EPOCH_1),
)
def denial_added(log: Log) -> None:
    """Only a start without the carry may say so."""
    denial = b',"denies":{"log":"' + b"A" * 43 + b'=","size":1,"root":"' + b"A" * 43 + b'="}} '
    lines(log, 1, replaced(b"epoch 5 ", b"} ", denial))


@attack("an epoch line is gone", tampered("line_missing line_misplaced epoch_missing", 6, 11, 6, 12))
def epoch_line_deleted(log: Log) -> None:
    """Its blocks stand behind the epoch before."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"epoch 5 ")))


@attack("the first epoch line is gone", tampered("line_misplaced", 0, 5))
def first_epoch_line_deleted(log: Log) -> None:
    """The file begins with something else."""
    lines(log, 1, lambda items: items.__delitem__(at(items, b"epoch 0 ")))


@attack(
    "the heartbeat in an epoch line is another, so that the end may be older",
    tampered("line_altered", *EPOCH_1),
    tampered("tree_broken", *EPOCH_1),
)
def epoch_line_edited(log: Log) -> None:
    """One digit more."""
    lines(log, 1, replaced(b"epoch 5 ", b'"heartbeat":10000', b'"heartbeat":100000'))


@attack(
    "an epoch line names another wrapping key",
    Expect("tampered", "unknown_key", EPOCH_1, EPOCH_1),
    tampered("tree_broken", *EPOCH_1),
)
def key_id_changed(log: Log) -> None:
    """Recovery is not tried with a key that the operator did not name."""
    lines(log, 1, lambda items: _key_id(items, at(items, b"epoch 5 ")))


def _key_id(items: list[bytes], place: int) -> None:
    items[place] = re.sub(rb'"key":"file:[0-9a-f]{64}"', b'"key":"file:' + b"0" * 64 + b'"', items[place])


@attack(
    "the wrapped secret of one epoch is that of another",
    tampered("key_refused", *EPOCH_1),
    tampered("tree_broken", *EPOCH_1),
)
def wrapped_copied(log: Log) -> None:
    """Made by the right key, for another place."""

    def change(items: list[bytes]) -> None:
        first, second = (
            re.search(rb'"wrapped":"([^"]+)"', items[at(items, kind)]) for kind in (b"epoch 0 ", b"epoch 5 ")
        )
        assert first is not None
        assert second is not None
        items[at(items, b"epoch 5 ")] = items[at(items, b"epoch 5 ")].replace(second[1], first[1])

    lines(log, 1, change)


# --- other spellings of the same values ---------------------------------------------------------------------


def _spelling(desc: str, name: str, start: bytes, old: bytes, new: bytes, low: int, high: int) -> None:
    def run(log: Log) -> None:
        lines(log, 1, replaced(start, old, new))

    run.__name__ = name
    attack(desc, tampered("line_altered", low, high, 3, 12))(run)


for _case in (
    ("an index has a leading zero", "number_leading_zero", b"block 6 ", b"block 6 ", b"block 06 ", 6, 8),
    ("an index has a sign", "number_with_sign", b"block 6 ", b"block 6 ", b"block +6 ", 6, 8),
    (
        "an offset is beyond 2**63",
        "number_too_large",
        b"block 6 ",
        b" 138 69 ",
        b" 9223372036854775808 69 ",
        6,
        8,
    ),
    ("a count is a fraction", "number_fraction", b"end 9 ", b'"entries":6', b'"entries":6.0', 12, 12),
    ("a count has an exponent", "number_exponent", b"end 9 ", b'"bytes":138', b'"bytes":1.38e2', 12, 12),
    (
        "a key is there twice",
        "json_key_doubled",
        b"end 9 ",
        b'"entries":6',
        b'"entries":6,"entries":6',
        12,
        12,
    ),
    (
        "a key is there twice with two values",
        "json_key_conflict",
        b"end 9 ",
        b'"entries":6',
        b'"entries":7,"entries":6',
        12,
        12,
    ),
    ("a key was added", "json_key_added", b"end 9 ", b'"bytes":138', b'"bytes":138,"note":1', 12, 12),
    (
        "keys have another order",
        "json_keys_swapped",
        b"end 9 ",
        b'"entries":6,"bytes":138',
        b'"bytes":138,"entries":6',
        12,
        12,
    ),
    ("a blank stands in the JSON", "json_blank", b"end 9 ", b'"entries":6', b'"entries": 6', 12, 12),
    ("a letter is escaped", "json_escape", b"block 6 ", b'"stdin"', b'"st\\u0064in"', 6, 8),
    (
        "a field of value 0 is spelled out",
        "json_default_spelled",
        b"block 6 ",
        b'{"name"',
        b'{"esc":0,"name"',
        6,
        8,
    ),
    ("two spaces stand between fields", "two_spaces", b"block 6 ", b"block 6 ", b"block  6 ", 6, 8),
    ("a carriage return stands at the end of a line", "carriage_return", b"block 6 ", b"\n", b"\r\n", 6, 8),
    ("a base64 value lacks its padding", "base64_unpadded", b"block 6 ", b"=\n", b"\n", 6, 8),
):
    _spelling(*_case)


# --- numbers that would set off a lot of work ---------------------------------------------------------------


@attack(
    "the index of an epoch line is the largest number",
    tampered("line_altered", *EPOCH_1),
    tampered("tree_broken counters", 6, 6, 6, 11),
)
def epoch_index_largest(log: Log) -> None:
    """A verifier must not step its ratchet to there."""
    lines(log, 1, replaced(b"epoch 5 ", b"epoch 5 ", b"epoch 9223372036854775807 "))


@attack("the index of a block line is the largest number", tampered("line_altered", 6, 8))
def block_index_largest(log: Log) -> None:
    """The lines behind it say which place it has."""
    lines(log, 1, replaced(b"block 6 ", b"block 6 ", b"block 9223372036854775807 "))


@attack(
    "the offset of a block line is the largest number",
    tampered("line_altered", 6, 8),
    tampered("entries_missing", 6, 8),
)
def offset_largest(log: Log) -> None:
    """No file reaches to there."""
    lines(log, 1, replaced(b"block 6 ", b" 138 69 ", b" 9223372036854775807 69 "))


@attack("no epoch line of segment 2 can be read", tampered("line_misplaced", 12, 23))
def epoch_lines_garbled(log: Log) -> None:
    """Nothing in it can be verified."""
    edit(log.files("seal")[1], lambda data: data.replace(b"epoch ", b"epock "))


# --- truncation ---------------------------------------------------------------------------------------------


@attack(
    "the seal file of segment 2 is cut in the middle of a line", tampered("line_altered line_missing", 24, 24)
)
def seal_cut_inside(log: Log) -> None:
    """Another segment follows."""
    edit(log.files("seal")[1], lambda data: data[: data.index(b"end 19 ") + 20])


@attack(
    "the seal file of segment 2 is cut after a block", tampered("end_missing line_missing", 21, 23, 18, 24)
)
def seal_cut_after_line(log: Log) -> None:
    """Its entries are not sealed any more."""
    edit(log.files("seal")[1], lambda data: data[: data.index(b"block 17 ")])


@attack("the seal file of segment 2 is empty", tampered("segment_incomplete", 12, 12, 12, 24))
def seal_emptied(log: Log) -> None:
    """An unsealed segment between sealed ones."""
    edit(log.files("seal")[1], lambda _: b"")


@attack(
    "the end of the log was cut off, the file `checkpoint` was left", tampered("checkpoint_ahead", 30, 30)
)
def truncated(log: Log) -> None:
    """Both files, at the end of a block."""
    cut_after(log, b"block 22 ")


@attack(
    "the end of the log was cut off with its checkpoints",
    Expect("incomplete", "open_end", (30, 30), (30, 30)),
    later=31_000,
)
def truncated_with_checkpoint(log: Log) -> None:
    """No `close` is left, and the end is older than three heartbeats."""
    cut_after(log, b"block 22 ")
    without_checkpoint(log)
