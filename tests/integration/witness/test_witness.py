"""Witnesses over HTTP: what they cosign, what they refuse, and what a verifier makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from epochseal.errors import Denied, StorageError, Unavailable
from epochseal.format.cosignature import find_cosignatures, parse_witness_vkey
from epochseal.format.note import VerifierKey, parse_checkpoint, parse_note
from epochseal.verifier import Request, Verdict, verify
from epochseal.witness import submit_checkpoint
from epochseal.witness.growth import read_growth
from epochseal.witness.submission import MAX_BODY, Submission
from epochseal.witness.submit_checkpoint import Forked, RolledBack
from tests.integration.logs import ORIGIN, Log, LogKeys, LogWriter, entry, write_log
from tests.integration.witness.witnesses import PROGRAM, Running, policy_of, policy_text, witness
from tests.warm_program import run_text


@pytest.fixture
def running(tmp_path: Path, keys: LogKeys) -> Iterator[Running]:
    """One witness that knows the log of these tests."""
    with witness(tmp_path / "w1", keys) as found:
        yield found


@pytest.fixture
def writer(tmp_path: Path, keys: LogKeys) -> LogWriter:
    """A log that is still open, with a signed epoch of 3 entries."""
    return LogWriter(tmp_path / "log", keys).start("genesis").block(*map(entry, range(3))).turn()


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    """Status, content type and body of one answer."""
    try:
        with urllib.request.urlopen(f"{url}/add-checkpoint", body, timeout=60) as answer:  # noqa: S310  # 127.0.0.1
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["Content-Type"], exc.read()


def verify_with(log: Path, keys: LogKeys, running: Running, now: int) -> Verdict:
    """The verdict of an auditor with a policy of this witness."""
    for path in (log / "segments").glob("*.seal"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0))
    request = Request(checkpoint_key=keys.public, policy=policy_of(running), now=lambda: now)
    return verify(log, request)


def kinds(verdict: Verdict) -> set[str]:
    """The kinds of its problems."""
    return {item.kind for item in verdict.problems}


def note_of(log: Path) -> bytes:
    """The file `checkpoint`."""
    return (log / "checkpoint").read_bytes()


def submission(log: Path, old_size: int, note: bytes | None = None) -> bytes:
    """A request with the right proof from `old_size`."""
    parsed = parse_note(note or note_of(log))
    proof = read_growth(log, old_size, parse_checkpoint(parsed.text))
    return Submission(old_size, tuple(proof), parsed).encode()


# --- a log that grows ----------------------------------------


def test_a_growing_log_is_cosigned_again_and_again(writer: LogWriter, running: Running) -> None:
    """Over many epochs and segments each submission is accepted, and `witnessed` holds the newest."""
    sizes = []
    for number in range(12):
        writer.block(entry(3 + number)).turn("segment" if number % 3 == 2 else "entries")
        sizes.append(submit_checkpoint(writer.logdir, policy_of(running)).size)
    assert sizes == sorted(set(sizes))
    note = parse_note((writer.logdir / "witnessed").read_bytes())
    assert note.text == parse_note(note_of(writer.logdir)).text
    assert len(note.signatures) == 2
    assert list(find_cosignatures(note, [parse_witness_vkey(running.vkey)]))


def test_a_submitter_that_knows_nothing_asks_for_the_size(writer: LogWriter, running: Running) -> None:
    """Without the file `witnessed` the first answer is a conflict with the size, and the second try holds."""
    submit_checkpoint(writer.logdir, policy_of(running))
    (writer.logdir / "witnessed").unlink()
    writer.block(entry(3)).turn()
    assert submit_checkpoint(writer.logdir, policy_of(running)).size == writer.signed


def test_the_command_submits_and_verify_tells(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """`witness submit` and `verify --policy`, as an operator types them."""
    writer.end()
    policy = writer.logdir.parent / "policy"
    policy.write_text(policy_text([running]), encoding="utf-8")
    submit = ["witness", "submit", str(writer.logdir), "--policy", str(policy)]
    done = run_text(submit)
    assert done.returncode == 0, done.stderr
    assert f"{writer.signed} lines cosigned by w0 at " in done.stdout
    auditor = f"file:{keys.directory / 'auditor'}"
    check = ["verify", str(writer.logdir), "--checkpoint-key", auditor, "--policy", str(policy)]
    done = run_text(check)
    assert done.returncode == 0, done.stdout
    assert "witnessed    3 entries, by witness.example/w1 20" in done.stdout


def test_a_configuration_names_witnesses(writer: LogWriter, running: Running, tmp_path: Path) -> None:
    """`--config` takes the logs and the [[witness]] tables of the daemon's own file."""
    config = tmp_path / "epochseal.toml"
    config.write_text(
        f'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\nquorum = 1\n'
        f'[[witness]]\nname = "w1"\nurl = "{running.url}"\nvkey = "{running.vkey}"\n'
        f'[[log]]\ndir = "{writer.logdir}"\norigin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n',
        encoding="utf-8",
    )
    done = run_text(["witness", "submit", "--config", str(config)])
    assert done.returncode == 0, done.stderr
    assert (writer.logdir / "witnessed").exists()


# --- a log that was rewritten ----------------------------------------


def test_a_rolled_back_log_is_refused_with_409(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """An earlier clean close verifies by itself, with its policy too; the witness has seen more."""
    writer.end()
    submit_checkpoint(writer.logdir, policy_of(running))
    old = writer.logdir.parent / "old"
    shutil.copytree(writer.logdir, old)
    writer.start("carry").block(entry(3)).end()
    submit_checkpoint(writer.logdir, policy_of(running))
    assert verify_with(old, keys, running, writer.time).verdict == "verified"
    size = parse_checkpoint(parse_note(note_of(old)).text).size
    status, kind, body = post(running.url, submission(old, size))
    assert (status, kind, body) == (409, "text/x.tlog.size", b"%d\n" % writer.signed)
    with pytest.raises(RolledBack):
        submit_checkpoint(old, policy_of(running))


def test_a_forked_log_is_refused_with_422(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """A thief of the agent's credential signs another history: a public key takes it, a witness does not."""
    submit_checkpoint(writer.logdir, policy_of(running))
    size = writer.signed
    forged = LogWriter(writer.logdir.parent / "forged", keys, "log").start("genesis")
    forged.block(b"another first entry\n").block(entry(1)).turn().block(entry(2)).turn().end()
    log = Log(forged.logdir, keys, forged.time + 1000)
    assert log.verify("public").verdict == "verified"
    status, _, body = post(running.url, submission(forged.logdir, size))
    assert status == 422, body
    with pytest.raises(Forked):
        submit_checkpoint(forged.logdir, policy_of(running))
    assert not (forged.logdir / "witnessed").exists()


def test_another_tree_of_the_same_size_is_refused_with_409(
    writer: LogWriter, running: Running, keys: LogKeys
) -> None:
    """Two roots of one size: the size is the one on record, and the submitter calls it a fork."""
    submit_checkpoint(writer.logdir, policy_of(running))
    forged = LogWriter(writer.logdir.parent / "forged", keys, "log").start("genesis")
    forged.block(b"1\n", b"2\n", b"3\n").turn()
    assert forged.signed == writer.signed
    status, _, body = post(running.url, submission(forged.logdir, forged.signed))
    assert (status, body) == (409, b"%d\n" % writer.signed)
    with pytest.raises(Forked):
        submit_checkpoint(forged.logdir, policy_of(running))


def test_a_refusal_ends_the_command_with_1(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """A timer's unit fails with the status of tampering, and the message says what to do."""
    submit_checkpoint(writer.logdir, policy_of(running))
    forged = LogWriter(writer.logdir.parent / "forged", keys, "log").start("genesis").turn().turn().turn()
    policy = writer.logdir.parent / "policy"
    policy.write_text(policy_text([running]), encoding="utf-8")
    submit = ["witness", "submit", str(forged.logdir), "--policy", str(policy)]
    done = run_text(submit)
    assert done.returncode == 1
    assert "epochseal: error: witness w0 has seen another history" in done.stderr
    assert "epochseal: hint: " in done.stderr


# --- the other answers ----------------------------------------


def test_an_unknown_origin_is_404(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """A checkpoint of a log that the witness does not know, though by a key that it knows."""
    checkpoint = replace(
        parse_checkpoint(parse_note(note_of(writer.logdir)).text), origin="log.example/other"
    )
    assert post(running.url, submission(writer.logdir, 0, keys.sign(checkpoint)))[0] == 404


def test_a_strangers_signature_is_403(writer: LogWriter, running: Running, tmp_path: Path) -> None:
    """The right origin, signed by another key; the submitter calls it denied."""
    stranger = LogKeys(tmp_path / "stranger", "somebody else")
    log = LogWriter(tmp_path / "theirs", stranger).start("genesis").turn()
    assert post(running.url, submission(log.logdir, 0))[0] == 403
    with pytest.raises(Unavailable, match="does not trust the checkpoint key") as found:
        submit_checkpoint(log.logdir, policy_of(running))
    assert not isinstance(found.value, Denied)
    assert VerifierKey(ORIGIN, stranger.public) != VerifierKey(ORIGIN, writer.keys.public)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 0\n\nno note\n",
        b"old 00\n\n",
        b"new 0\n\n",
        b"old 0\n" + b"A" * 44 + b"\n\n",
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n",
    ],
    ids=["empty", "head-only", "no-note", "leading-zero", "other-word", "bad-hash", "64-hashes"],
)
def test_what_is_no_submission_is_400(running: Running, body: bytes) -> None:
    """Another form is refused, and the witness goes on answering."""
    assert post(running.url, body)[0] == 400


def test_an_old_size_above_the_new_one_is_400(writer: LogWriter, running: Running) -> None:
    """Nothing shrinks: the sizes alone show that the request is none."""
    note = parse_note(note_of(writer.logdir))
    assert post(running.url, Submission(1000, (), note).encode())[0] == 400


def test_a_large_body_is_not_read(running: Running) -> None:
    """More than the limit is refused by its length alone."""
    assert post(running.url, bytes(MAX_BODY + 1))[0] == 413


def test_a_proof_where_none_is_due_is_422(writer: LogWriter, running: Running) -> None:
    """From size 0 the proof is empty, and nothing else is taken for it."""
    note = parse_note(note_of(writer.logdir))
    assert post(running.url, Submission(0, (bytes(32),), note).encode())[0] == 422


# --- what a witness remembers ----------------------------------------


def test_a_witness_remembers_over_a_restart(writer: LogWriter, tmp_path: Path, keys: LogKeys) -> None:
    """The record is on the disk before the cosignature leaves: after a restart the older state is refused."""
    with witness(tmp_path / "w1", keys) as running:
        submit_checkpoint(writer.logdir, policy_of(running))
        size = writer.signed
    with witness(tmp_path / "w1", keys) as running:
        assert post(running.url, submission(writer.logdir, 0))[::2] == (409, b"%d\n" % size)
        assert submit_checkpoint(writer.logdir, policy_of(running)).size == size


def test_a_second_witness_in_one_folder_is_refused(running: Running, tmp_path: Path) -> None:
    """Two processes with one record could cosign a fork between them."""
    command = [PROGRAM, "witness", "serve", str(running.folder), "--log", str(tmp_path / "w1.logs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6, done.stderr


# --- quorum ----------------------------------------


def test_a_quorum_bears_a_witness_that_is_down(writer: LogWriter, tmp_path: Path, keys: LogKeys) -> None:
    """Of two witnesses one does not answer: `any` is met, `all` is not, and then nothing is written."""
    with (
        witness(tmp_path / "w1", keys) as first,
        witness(tmp_path / "w2", keys, "witness.example/w2") as gone,
    ):
        pass
    with witness(tmp_path / "w1", keys) as first:
        with pytest.raises(Unavailable):
            submit_checkpoint(writer.logdir, policy_of(first, gone))
        assert not (writer.logdir / "witnessed").exists()
        done = submit_checkpoint(writer.logdir, policy_of(first, gone, threshold="any"))
        assert (list(done.times), list(done.failed)) == (["w0"], ["w1"])


# --- the verifier ----------------------------------------


def test_a_log_without_cosignatures_is_untrusted(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """A policy that nothing meets is not passed over in silence."""
    verdict = verify_with(writer.logdir, keys, running, writer.time)
    assert (verdict.verdict, kinds(verdict)) == ("untrusted", {"not_witnessed"})


def test_a_strangers_cosignature_is_no_quorum(
    writer: LogWriter, running: Running, keys: LogKeys, tmp_path: Path
) -> None:
    """A witness that the policy does not name is ignored, as C2SP demands."""
    with witness(tmp_path / "w2", keys, "witness.example/w2") as other:
        submit_checkpoint(writer.logdir, policy_of(other))
    assert kinds(verify_with(writer.logdir, keys, running, writer.time)) == {"not_witnessed"}


def test_a_close_that_no_witness_saw_is_incomplete(
    writer: LogWriter, running: Running, keys: LogKeys
) -> None:
    """Cosigned up to an epoch, then closed: the close itself was not witnessed."""
    submit_checkpoint(writer.logdir, policy_of(running))
    writer.block(entry(3)).end()
    verdict = verify_with(writer.logdir, keys, running, writer.time)
    assert (verdict.verdict, kinds(verdict)) == ("incomplete", {"unwitnessed_tail"})
    assert (verdict.entries, verdict.witnessed_entries) == (4, 3)


def test_an_open_end_may_wait_for_its_witnesses(writer: LogWriter, running: Running, keys: LogKeys) -> None:
    """Within the epoch's length and what it may be overdue the tail may be unwitnessed, and no longer."""
    submit_checkpoint(writer.logdir, policy_of(running))
    writer.block(entry(3))
    assert verify_with(writer.logdir, keys, running, writer.time).verdict == "verified"
    # A turn may have begun the next epoch under its announcement: twice the epoch's length.
    late = writer.time + 2 * writer.pace.interval + writer.pace.max_overdue
    assert "unwitnessed_tail" in kinds(verify_with(writer.logdir, keys, running, late))


def test_lines_cut_off_behind_a_witnessed_checkpoint_are_tampering(
    tmp_path: Path, running: Running, keys: LogKeys
) -> None:
    """Whoever cuts the log and forgets the file `witnessed` is convicted by it."""
    log = write_log(tmp_path / "log", keys)
    submit_checkpoint(log.path, policy_of(running))
    for path in (log.files("log")[2], log.files("seal")[2]):
        path.unlink()
    (log.path / "checkpoint").unlink()
    assert "checkpoint_ahead" in kinds(verify_with(log.path, keys, running, log.now))


@pytest.mark.parametrize("place", [0, 7, 8, 71], ids=["time", "time-end", "signature", "signature-end"])
def test_a_changed_cosignature_is_tampering(
    writer: LogWriter, running: Running, keys: LogKeys, place: int
) -> None:
    """A bit of the time or of the signature by a known witness: the note is refused, not only that line."""
    submit_checkpoint(writer.logdir, policy_of(running))
    path = writer.logdir / "witnessed"
    note = parse_note(path.read_bytes())
    *others, last = note.signatures
    data = bytearray(last.data)
    data[place] ^= 1
    path.write_bytes(replace(note, signatures=(*others, replace(last, data=bytes(data)))).encode())
    assert "checkpoint_bad" in kinds(verify_with(writer.logdir, keys, running, writer.time))


def test_growth_is_read_from_what_retention_left(tmp_path: Path, keys: LogKeys) -> None:
    """With the first segment gone, a witness that has seen it all is followed, one that is behind is not."""
    log = write_log(tmp_path / "log", keys)
    checkpoint = parse_checkpoint(parse_note(note_of(log.path)).text)
    whole = [read_growth(log.path, size, checkpoint) for size in range(checkpoint.size + 1)]
    for path in (log.files("log")[0], log.files("seal")[0]):
        path.unlink()
    first = 10
    assert [read_growth(log.path, size, checkpoint) for size in range(first, checkpoint.size)] == whole[
        first:-1
    ]
    with pytest.raises(StorageError, match=r"not in .* any more"):
        read_growth(log.path, first - 1, checkpoint)
