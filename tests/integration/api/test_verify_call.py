"""`epochseal.verify`, `prove` and `check_proof`: an answer is always a good one, all else is raised."""

from __future__ import annotations

import os
import resource
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest

import epochseal
from epochseal.format.note import VerifierKey
from epochseal.storage.segments import list_segments
from tests.integration.logs import ORIGIN, Log, LogKeys, sealed_log


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, keys: LogKeys) -> Log:
    """A log of 35 entries, closed; the tests leave it as it is."""
    return sealed_log(tmp_path_factory.mktemp("log") / "log", keys)


@pytest.fixture
def log(sealed: Log, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sealed.path, tmp_path / "log"))


def uri(keys: LogKeys, role: str) -> str:
    """The key of a role."""
    return f"file:{keys.directory / role}"


def verify(log: Path, keys: LogKeys, **more: object) -> epochseal.Verdict:
    """With the keys of the log."""
    named = {"epoch_keys": [uri(keys, "verifier")], "checkpoint_key": uri(keys, "auditor")}
    return epochseal.verify(log, **(named | more))  # type: ignore[arg-type]  # each test says what it passes


def test_a_verified_log_is_returned(log: Path, keys: LogKeys) -> None:
    """With one key as text, several as a list, and with the public key alone."""
    assert verify(log, keys).entries == 35
    assert verify(log, keys, epoch_keys=uri(keys, "verifier")).mode == "keys"
    assert verify(str(log), keys, epoch_keys=()).mode == "public"  # type: ignore[arg-type]  # a path as text


def test_a_checkpoint_key_is_named_in_four_ways(log: Path, keys: LogKeys, tmp_path: Path) -> None:
    """A key URI, a vkey, and its file as text or as a path: and a vkey brings the origin."""
    vkey = VerifierKey(ORIGIN, keys.public).vkey
    (tmp_path / "log.vkey").write_text(f"{vkey}\n", encoding="utf-8")
    for named in (uri(keys, "auditor"), vkey, tmp_path / "log.vkey", str(tmp_path / "log.vkey")):
        assert verify(log, keys, checkpoint_key=named).checkpoint_key == vkey
    other = VerifierKey("example.com/other", keys.public).vkey
    with pytest.raises(epochseal.Untrusted) as caught:
        verify(log, keys, checkpoint_key=other)
    assert caught.value.verdict.problems
    with pytest.raises(epochseal.ConfigError, match="there is no file"):
        verify(log, keys, checkpoint_key="log.vkey")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(epochseal.FormatError, match="it is not UTF-8"):
        verify(log, keys, checkpoint_key=tmp_path / "binary")


def test_tampering_is_raised(log: Path, keys: LogKeys) -> None:
    """As is every other verdict, with all its problems."""
    path = list_segments(log).segments[0].logs[0]
    path.write_bytes(path.read_bytes().replace(b"1", b"7", 1))
    with pytest.raises(epochseal.Tampered, match=r"the log is tampered: \d+ problem") as caught:
        verify(log, keys)
    assert caught.value.verdict.verdict == "tampered"
    assert caught.value.verdict.problems
    assert isinstance(caught.value, epochseal.VerificationError)


def test_a_missing_end_is_raised(log: Path, keys: LogKeys) -> None:
    """The last segment is gone: what is left is as it was sealed, and the verdict says what is missing."""
    last = list_segments(log).segments[-1]
    for path in (last.logs[0], last.seal):
        assert path is not None
        path.unlink()
    (log / "checkpoint").unlink()
    with pytest.raises(epochseal.Incomplete) as caught:
        verify(log, keys)
    assert caught.value.verdict.entries > 0


def test_nothing_is_not_verified(tmp_path: Path, keys: LogKeys) -> None:
    """An empty directory is `Empty`; without any key not even that is looked at."""
    with pytest.raises(epochseal.Empty):
        verify(tmp_path, keys)
    with pytest.raises(epochseal.ConfigError, match="no key was given"):
        epochseal.verify(tmp_path)
    with pytest.raises(epochseal.NothingSealed):
        epochseal.prove(tmp_path, 0)


def test_the_age_of_the_end_is_a_timedelta(log: Path, keys: LogKeys) -> None:
    """A closed log has no age, whatever is allowed: only an open one is held to it."""
    assert verify(log, keys, max_age=timedelta(milliseconds=1)).closed


def test_a_wrong_key_is_an_error_before_anything_is_read(log: Path, keys: LogKeys) -> None:
    """A role that cannot recover is no verdict on the log."""
    with pytest.raises(epochseal.EpochsealError) as caught:
        verify(log, keys, epoch_keys=uri(keys, "auditor"))
    assert not isinstance(caught.value, epochseal.VerificationError)


def test_a_trust_file_moves_forward(log: Path, keys: LogKeys, tmp_path: Path) -> None:
    """As with the command: what was seen once is held against every later state."""
    from epochseal.evidence.log_memory import first_trust  # noqa: PLC0415  # for this test alone
    from epochseal.evidence.trust_file import read_trust, write_trust  # noqa: PLC0415  # as above
    from epochseal.verifier import Request, examine  # noqa: PLC0415  # as above

    found = examine(log, Request(checkpoint_key=keys.public))
    assert found.seen is not None
    write_trust(tmp_path / "trust", first_trust(found))
    assert epochseal.verify(log, trust=tmp_path / "trust").entries == 35
    last = list_segments(log).segments[-1]
    for path in (last.logs[0], last.seal):
        assert path is not None
        path.unlink()
    before = (tmp_path / "trust").read_bytes()
    with pytest.raises(epochseal.NotVerified):
        epochseal.verify(log, trust=tmp_path / "trust")
    assert (tmp_path / "trust").read_bytes() == before
    assert read_trust(tmp_path / "trust").checkpoint.size == found.seen.size


def test_the_callers_process_is_left_alone(log: Path, keys: LogKeys) -> None:
    """Its limits are what they were: a library does not switch off the core dumps of a service."""
    before = [resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK)]
    verify(log, keys)
    after = [resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK)]
    assert before == after


def test_threads_verify_side_by_side(sealed: Log, keys: LogKeys, tmp_path: Path) -> None:
    """Two logs with other keys, over and over at once: no thread takes the other's keyring."""
    strangers = LogKeys(tmp_path / "keys", "other keys that protect nothing")
    strangers.write()
    other = sealed_log(tmp_path / "log", strangers).path
    errors: list[Exception] = []

    def check(log: Path, mine: LogKeys) -> None:
        try:
            for _ in range(20):
                verify(log, mine)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(exc)

    threads = [
        threading.Thread(target=check, args=pair) for pair in ((sealed.path, keys), (other, strangers)) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_proof_goes_round(log: Path, keys: LogKeys, tmp_path: Path) -> None:
    """From the log to bytes, as they are or in a file, to the entry as it was sent."""
    proof = epochseal.prove(log, 20, checkpoint_key=uri(keys, "auditor"))
    (tmp_path / "proof").write_bytes(proof)
    for given in (proof, tmp_path / "proof", os.fspath(tmp_path / "proof")):
        proven = epochseal.check_proof(given, checkpoint_key=uri(keys, "auditor"), origin=ORIGIN)
        assert (proven.number, proven.origin) == (20, ORIGIN)
        assert proven.line < proven.tree_size


def test_a_proof_that_does_not_hold_is_raised(log: Path, keys: LogKeys, tmp_path: Path) -> None:
    """Changed, of another log, by another key, cut off, and of no entry."""
    auditor = uri(keys, "auditor")
    proof = epochseal.prove(log, 20)
    with pytest.raises(epochseal.VerificationError):
        epochseal.check_proof(proof.replace(b"entry 20", b"entry 19"), checkpoint_key=auditor)
    with pytest.raises(epochseal.UnknownKey):
        epochseal.check_proof(proof, checkpoint_key=auditor, origin="example.com/other")
    strangers = LogKeys(tmp_path / "keys", "other keys that protect nothing")
    with pytest.raises(epochseal.UnknownKey):
        epochseal.check_proof(proof, checkpoint_key=VerifierKey(ORIGIN, strangers.public).vkey)
    with pytest.raises(epochseal.FormatError):
        epochseal.check_proof(proof[:-1], checkpoint_key=auditor)
    for number in (-1, 35):
        with pytest.raises(epochseal.ConfigError, match=str(number)):
            epochseal.prove(log, number)
