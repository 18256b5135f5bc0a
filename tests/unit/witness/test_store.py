"""What a witness remembers, without its network side: order, durability, and what it does not start with."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from epochseal.errors import ConfigError, FormatError, LogBusy, StorageError
from epochseal.format.cosignature import verify_cosignature
from epochseal.format.merkle import consistency_proof, leaf_hash, root
from epochseal.format.note import Checkpoint, Note, VerifierKey, parse_checkpoint, parse_note, sign_text
from epochseal.keys import PublicKey
from epochseal.witness.store import Conflict, Inconsistent, WitnessStore, make_key
from epochseal.witness.submission import MAX_PROOF, Submission, parse_submission

ORIGIN = "log.example/payments"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, PublicKey("ed25519", PRIVATE.public_key().public_bytes_raw()))
LEAVES = [leaf_hash(b"%d" % number) for number in range(64)]


def submission(old_size: int, size: int, leaves: list[bytes] = LEAVES) -> Submission:
    """A signed checkpoint of `size` leaves with the proof from `old_size`."""
    text = Checkpoint(ORIGIN, size, root(leaves[:size])).text()
    note = Note(text, (sign_text(text, KEY, PRIVATE.sign(text.encode())),))
    return Submission(old_size, tuple(consistency_proof(leaves[:size], old_size)), note)


def record(folder: Path) -> int:
    """The size on the disk."""
    (path,) = folder.glob("*.checkpoint")
    return parse_checkpoint(parse_note(path.read_bytes()).text).size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a key."""
    make_key(tmp_path / "w", "witness.example/w1")
    return tmp_path / "w"


def test_of_many_submissions_at_once_none_rolls_back(folder: Path) -> None:
    """Sixteen threads submit different sizes from one old size: one is cosigned, the others are conflicts."""
    store = WitnessStore(folder, [KEY])
    store.add_checkpoint(submission(0, 8))
    start, outcomes = threading.Barrier(16), []

    def submit(size: int) -> None:
        start.wait()
        try:
            store.add_checkpoint(submission(8, size))
            outcomes.append(size)
        except Conflict as exc:
            outcomes.append(-exc.size)

    threads = [threading.Thread(target=submit, args=(size,)) for size in range(9, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (accepted,) = [size for size in outcomes if size > 0]
    assert sorted(outcomes) == [-accepted] * 15 + [accepted]
    assert record(folder) == accepted
    store.close()


def test_nothing_is_cosigned_that_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails gives no cosignature, and the next submission from the old size is taken."""
    store = WitnessStore(folder, [KEY])
    store.add_checkpoint(submission(0, 8))

    def fail(*_args: object) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("epochseal.witness.store.replace_file", fail)
        with pytest.raises(StorageError):
            store.add_checkpoint(submission(8, 16))
    assert record(folder) == 8
    signature = store.add_checkpoint(submission(8, 16))
    assert record(folder) == 16
    assert verify_cosignature(signature, submission(8, 16).note.text, store.key) > 0
    store.close()


def test_the_same_checkpoint_is_cosigned_again_with_a_later_time(folder: Path) -> None:
    """From a size to itself nothing has to be shown, and nothing may be."""
    times = iter((1000, 2000, 3000))
    store = WitnessStore(folder, [KEY], lambda: next(times))
    text = submission(0, 8).note.text
    for old_size, time in ((0, 1000), (8, 2000)):
        signature = store.add_checkpoint(submission(old_size, 8))
        assert verify_cosignature(signature, text, store.key) == time
    with pytest.raises(Inconsistent):
        store.add_checkpoint(Submission(8, (bytes(32),), submission(8, 8).note))
    store.close()


def test_every_size_follows_only_its_own_history(folder: Path) -> None:
    """For each size a fork that differs in one earlier leaf is refused, and the record stays."""
    store = WitnessStore(folder, [KEY])
    store.add_checkpoint(submission(0, 21))
    for place in range(21):
        forked = LEAVES.copy()
        forked[place] = leaf_hash(b"another")
        with pytest.raises(Inconsistent):
            store.add_checkpoint(submission(21, 40, forked))
    assert record(folder) == 21
    store.add_checkpoint(submission(21, 40))
    store.close()


def test_a_damaged_record_is_not_a_new_beginning(folder: Path) -> None:
    """A record that cannot be read stops the log's submissions: taken for none, it would allow a fork."""
    store = WitnessStore(folder, [KEY])
    store.add_checkpoint(submission(0, 8))
    (path,) = folder.glob("*.checkpoint")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="damaged"):
        store.add_checkpoint(submission(0, 16))
    store.close()


def test_a_record_that_is_no_file_is_neither_waited_for_nor_a_new_beginning(folder: Path) -> None:
    """Whoever put a FIFO there would have the witness wait, or cosign a fork."""
    store = WitnessStore(folder, [KEY])
    store.add_checkpoint(submission(0, 8))
    (record,) = folder.glob("*.checkpoint")
    record.unlink()
    os.mkfifo(record)
    with pytest.raises(StorageError, match="no regular file"):
        store.add_checkpoint(submission(8, 16))
    store.close()


def test_what_a_witness_does_not_start_with(folder: Path, tmp_path: Path) -> None:
    """No key, no log, a key that others may read or that is another's, and a folder in use."""
    with pytest.raises(ConfigError, match="no log"):
        WitnessStore(folder, [])
    with pytest.raises(ConfigError, match="there is no"):
        WitnessStore(tmp_path, [KEY])
    with pytest.raises(ConfigError, match="already"):
        make_key(folder, "witness.example/w1")
    with pytest.raises(ConfigError, match="name"):
        make_key(tmp_path / "x", "two words")
    store = WitnessStore(folder, [KEY])
    with pytest.raises(LogBusy):
        WitnessStore(folder, [KEY])
    store.close()
    (folder / "witness.key").chmod(0o640)
    with pytest.raises(ConfigError, match="others may read"):
        WitnessStore(folder, [KEY])
    make_key(tmp_path / "other", "witness.example/w2")
    (tmp_path / "other" / "witness.vkey").write_bytes((folder / "witness.vkey").read_bytes())
    with pytest.raises(ConfigError, match="do not belong together"):
        WitnessStore(tmp_path / "other", [KEY])


def test_the_longest_proof_passes() -> None:
    """63 lines are read, 64 are not, and what is read is written the same."""
    note = submission(0, 8).note
    longest = Submission(1, (bytes(32),) * MAX_PROOF, note)
    assert parse_submission(longest.encode()) == longest
    with pytest.raises(FormatError, match="more than 63"):
        parse_submission(Submission(1, (bytes(32),) * (MAX_PROOF + 1), note).encode())
