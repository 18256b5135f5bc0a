"""Attacks on signed checkpoints: the notes in the `.seal` files and the file `checkpoint`."""

from __future__ import annotations

from collections.abc import Callable

from epochseal.encoding import b64encode
from epochseal.format.note import Checkpoint, parse_note
from epochseal.format.seal_lines import NoteLine, encode_note_line, parse_line
from tests.integration.logs import Log, LogKeys
from tests.integration.verifier.attacks import Expect, attack, edit, lines, swap, tampered, without_checkpoint


@attack("honest: the file `checkpoint` is gone", Expect("verified", warnings="checkpoint_missing"))
def checkpoint_file_removed(log: Log) -> None:
    """The seal files hold the same."""
    without_checkpoint(log)


@attack(
    "all checkpoints in the seal files are gone",
    Expect("verified"),
    limit="the last one, in the file `checkpoint`, vouches for every line of its run",
)
def notes_removed(log: Log) -> None:
    """The file `checkpoint` covers the closing `end`, and that says where its run began."""
    for seal in log.files("seal"):
        edit(
            seal,
            lambda data: b"".join(x for x in data.splitlines(keepends=True) if not x.startswith(b"note ")),
        )


@attack("all checkpoints are gone", Expect("untrusted", "start_unsigned epoch_unsigned", (0, 34), (0, 34)))
def every_checkpoint_removed(log: Log) -> None:
    """Nobody has signed for the start of the log, nor for any epoch of it."""
    notes_removed(log)
    without_checkpoint(log)


@attack(
    "one signed checkpoint is gone",
    Expect("verified"),
    limit="it is as if the backend had been down: a later one covers it",
)
def note_removed(log: Log) -> None:
    """Of the turn to epoch 1."""
    lines(log, 1, lambda items: items.__delitem__(_notes(items)[1]))


@attack(
    "a checkpoint is there twice",
    Expect("verified"),
    limit="an agent that was killed while signing signs again",
)
def note_doubled(log: Log) -> None:
    """The same lines signed twice say nothing else."""
    lines(log, 1, lambda items: items.insert(_notes(items)[0], items[_notes(items)[0]]))


@attack("two checkpoints have changed places", tampered("line_misplaced", 0, 0, 0, 6))
def notes_swapped(log: Log) -> None:
    """One stands before the lines that it was signed over."""
    lines(log, 1, lambda items: swap(items, *_notes(items)[:2]))


@attack("a checkpoint of a later segment stands in the first one", tampered("line_misplaced", 12, 12, 0, 12))
def note_of_later_segment(log: Log) -> None:
    """In the place of its last one."""
    last = log.files("seal")[2].read_bytes().splitlines(keepends=True)[-1]
    lines(log, 1, lambda items: items.__setitem__(_notes(items)[-1], last))


def _notes(items: list[bytes]) -> list[int]:
    return [place for place, line in enumerate(items) if line.startswith(b"note ")]


@attack("a bit of a checkpoint's signature is another", Expect("tampered", "checkpoint_bad"))
def note_signature_changed(log: Log) -> None:
    """In the seal file."""

    def change(raw: bytes) -> bytes:
        note = parse_note(raw)
        (signature,) = note.signatures
        return raw.replace(
            b64encode(signature.key_id + signature.data).encode(), _flipped(signature.key_id + signature.data)
        )

    lines(log, 1, lambda items: _change_note(items, change))


def _flipped(data: bytes) -> bytes:
    return b64encode(data[:-1] + bytes([data[-1] ^ 1])).encode()


def _change_note(items: list[bytes], change: Callable[[bytes], bytes]) -> None:
    place = _notes(items)[1]
    items[place] = encode_note_line(change(_note(items[place])))


def _note(raw: bytes) -> bytes:
    line = parse_line(raw.rstrip(b"\n"))
    assert isinstance(line, NoteLine)
    return line.note


@attack("a checkpoint is signed by another key", Expect("untrusted", "unknown_key"))
def note_of_stranger(log: Log) -> None:
    """The log of a stranger's agent."""
    stranger = LogKeys(log.path, "a stranger")

    def change(raw: bytes) -> bytes:
        text = parse_note(raw).text.split("\n")
        return stranger.sign(Checkpoint(text[0], int(text[1]), bytes(32)))

    lines(log, 1, lambda items: _change_note(items, change))


@attack("a checkpoint by the right key is over other lines", tampered("checkpoint_mismatch", 0, 5))
def note_of_other_lines(log: Log) -> None:
    """A fork that the signer was made to sign."""

    def change(raw: bytes) -> bytes:
        text = parse_note(raw).text.split("\n")
        return log.keys.sign(Checkpoint(text[0], int(text[1]), bytes(32)))

    lines(log, 1, lambda items: _change_note(items, change))


@attack("the file `checkpoint` is of a later state", tampered("checkpoint_ahead", 35, 35))
def checkpoint_of_later_state(log: Log) -> None:
    """The rest of the log is not there."""
    (log.path / "checkpoint").write_bytes(log.keys.sign(Checkpoint("log.example/attacks", 31, bytes(32))))


@attack(
    "the file `checkpoint` is of an earlier state",
    Expect("verified"),
    limit="it only ever says what the seal files say too",
)
def checkpoint_of_earlier_state(log: Log) -> None:
    """As a copy that was taken too early."""
    (log.path / "checkpoint").write_bytes(_note(log.files("seal")[0].read_bytes().splitlines()[1]))


@attack("the file `checkpoint` is of another origin", tampered("checkpoint_bad", 35, 35))
def checkpoint_of_other_origin(log: Log) -> None:
    """By the same key."""
    (log.path / "checkpoint").write_bytes(log.keys.sign(Checkpoint("log.example/other", 5, bytes(32))))


@attack("the file `checkpoint` is garbage", tampered("checkpoint_bad", 35, 35))
def checkpoint_garbage(log: Log) -> None:
    """No note at all."""
    (log.path / "checkpoint").write_bytes(b"garbage\n")
