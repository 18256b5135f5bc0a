"""A log in an object store is read as a directory is: the same verdicts, entries, proofs and overviews."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from epochseal.evidence.extract import extract
from epochseal.evidence.log_memory import first_trust
from epochseal.evidence.overview import read_overview
from epochseal.evidence.prover import prove
from epochseal.monitor.stamps import old_stamp, rows_of, stamps_of
from epochseal.storage.archive_path import ArchivePath, parse_archive
from epochseal.storage.log_past import checkpoint_name
from epochseal.storage.object_store import ObjectRefused, ObjectStore, StoredObject
from epochseal.storage.opener import GoneError
from epochseal.trail.sealed import read_sealed
from epochseal.verifier import Request, ResumePoint, Verdict
from epochseal.verifier.verify import examine
from tests.backends_under_test.kms import REGION
from tests.backends_under_test.s3 import BUCKET, S3Server
from tests.integration.logs import Log, LogKeys, entry, write_log
from tests.warm_program import run


@pytest.fixture(scope="module", autouse=True)
def _reader(s3: S3Server) -> Iterator[None]:
    """Everything in this process is read with the credential of a reader, and nobody waits for an agent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("epochseal.storage.settling.SETTLE_SECONDS", 0.0)
        for name, value in s3.environ("reader").items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, keys: LogKeys) -> Log:
    """A closed log of three segments, which nobody changes."""
    return write_log(tmp_path_factory.mktemp("log") / "log", keys)


@pytest.fixture(scope="module")
def archive(s3: S3Server, log: Log) -> ArchivePath:
    """The same log as an archive."""
    return parse_archive(s3.upload(log.path, "honest"))


@pytest.fixture
def copy(s3: S3Server, log: Log, request: pytest.FixtureRequest) -> ArchivePath:
    """An archive of its own, to change."""
    return parse_archive(s3.upload(log.path, str(request.node.name)))


@pytest.fixture
def head(log: Log, tmp_path: Path) -> Path:
    """A directory of which the first two segments have expired."""
    shutil.copytree(log.path, tmp_path / "head")
    for path in (tmp_path / "head" / "segments").glob("00000[12]*"):
        path.unlink()
    return tmp_path / "head"


def request_for(log: Log, archive: ArchivePath | None = None, jobs: int = 1) -> Request:
    """What a verifier with all keys asks."""
    return Request(
        make_recoverer=log.keys.recoverer,
        checkpoint_key=log.keys.public,
        archive=archive,
        jobs=jobs,
        now=lambda: log.now,
    )


def judge(place: Path, log: Log, archive: ArchivePath | None = None, jobs: int = 1) -> Verdict:
    """The verdict on the log there."""
    return examine(place, request_for(log, archive, jobs)).verdict


def kinds(verdict: Verdict) -> list[str]:
    """What was found, in order."""
    return [item.kind for item in verdict.problems]


def test_verdict_is_that_of_the_directory(log: Log, archive: ArchivePath) -> None:
    """Word for word, in one process and in several."""
    here = judge(log.path, log)
    assert here.verdict == "verified"
    assert (judge(archive, log)) == (judge(archive, log, jobs=2)) == (here)


def test_compressed_log_files_are_streamed(s3: S3Server, log: Log, copy: ArchivePath) -> None:
    """They are unpacked on the way, as those of a directory are."""
    for path in log.files("log"):
        key = f"{copy.key}/segments/{path.name}"
        s3.put(f"{key}.gz", gzip.compress(path.read_bytes()))
        s3.delete(key)
    assert (judge(copy, log)) == (judge(log.path, log))


def test_entries_proof_and_overview_are_the_same(log: Log, archive: ArchivePath) -> None:
    """What `cat`, `prove`, `inspect` and `reconcile` read."""
    texts = []
    for place in (log.path, archive):
        out = BytesIO()
        extract(place, log.keys.recoverer(), judge(place, log), out.write)
        texts.append(out.getvalue())
    assert texts[0] == texts[1] == b"".join(map(entry, range(35)))
    assert prove(archive, 17, log.keys.public) == prove(log.path, 17, log.keys.public)
    assert read_sealed(archive).headers == read_sealed(log.path).headers
    assert read_overview(archive) == read_overview(log.path)


def test_older_archive_is_found_by_who_remembers(s3: S3Server, log: Log, copy: ArchivePath) -> None:
    """A later, shorter state of the archive is behind what was seen of it."""
    pins = first_trust(examine(copy, request_for(log))).pins()
    for key in s3.keys(f"{copy.key}/segments/000003"):
        s3.delete(key)
    asked = Request(make_recoverer=log.keys.recoverer, pins=pins, now=lambda: log.now)
    assert "rolled_back" in kinds(examine(copy, asked).verdict)


def test_head_on_disk_and_past_in_archive(log: Log, archive: ArchivePath, head: Path) -> None:
    """They verify as one log; the same directory alone is no whole log."""
    assert judge(head, log).verdict != "verified"
    assert (judge(head, log, archive)) == (judge(log.path, log))


def test_checkpoint_of_the_archive_was_seen(s3: S3Server, log: Log, copy: ArchivePath, head: Path) -> None:
    """A directory that was cut back, its own checkpoint removed, contradicts the archive's."""
    for path in (head / "segments").glob("*"):
        path.unlink()
    (head / "checkpoint").unlink()
    for key in s3.keys(f"{copy.key}/segments/000003"):
        s3.delete(key)
    assert "checkpoint_ahead" in kinds(judge(head, log, copy))


def test_damage_is_named(s3: S3Server, log: Log, copy: ArchivePath) -> None:
    """An object that was changed, exchanged for another one or emptied, or is missing."""
    second, third = (f"{copy.key}/segments/{path.name}" for path in log.files("log")[1:])
    content = log.files("log")[1].read_bytes()
    s3.put(second, content.replace(entry(13), entry(93)))
    found = judge(copy, log)
    assert (found.verdict, kinds(found)) == ("tampered", ["entries_altered"])
    assert found.problems[0].first_entry == 12
    s3.put(second, log.files("log")[0].read_bytes())
    assert judge(copy, log).verdict == "tampered"
    s3.delete(second)
    missing = next(item for item in judge(copy, log).problems if item.kind == "segment_incomplete")
    assert second.rpartition("/")[2] in missing.detail
    s3.put(second, content)
    s3.put(third, b"")
    assert judge(copy, log).verdict == "tampered"


def test_object_stays_the_one_that_was_listed(s3: S3Server, log: Log, copy: ArchivePath) -> None:
    """One that is exchanged between the list and the read is not read: the log has to be looked at again."""
    name = log.files("log")[1].name
    path = copy / "segments" / name
    assert [item for item in (copy / "segments").names() if item == name]
    with path.open_stored() as file:
        s3.put(path.key, b"another one")
        with pytest.raises(GoneError):
            file.pread(1, 0)


@pytest.mark.parametrize("when", [1, 2, 3, 4, 5])
def test_object_that_is_exchanged_during_a_verification(
    s3: S3Server, log: Log, copy: ArchivePath, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """Before whichever request: the verdict is that of the log with the other object."""
    path = log.files("log")[1]
    changed, requests, get = path.read_bytes().replace(entry(13), entry(93)), [], ObjectStore._get  # noqa: SLF001  # a request

    def getting(store: ObjectStore, item: StoredObject, start: int, stop: int) -> bytes:
        requests.append(item.key)
        if len(requests) == when:
            s3.put(f"{copy.key}/segments/{path.name}", changed)
        return get(store, item, start, stop)

    monkeypatch.setattr(ObjectStore, "_get", getting)
    found = judge(copy, log)
    assert (found.verdict, kinds(found)) == ("tampered", ["entries_altered"])


def test_who_may_not_read_is_told_so(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no verdict: neither of an empty log nor of a damaged one."""
    monkeypatch.setenv("AWS_PROFILE", "archiver")
    with pytest.raises(ObjectRefused, match=r"the object store refused the credential \(AccessDenied\)"):
        ObjectStore(BUCKET).list("honest/")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE")
    with pytest.raises(ObjectRefused, match="there is no credential for the object store on this machine"):
        ObjectStore(BUCKET).list("honest/")
    assert s3.keys("honest/")


def test_program_takes_a_directory_and_its_archive(log: Log, archive: ArchivePath, head: Path) -> None:
    """By its URL, as it takes a directory."""
    roles = log.keys.directory
    keys = ["--epoch-key", f"file:{roles / 'verifier'}", "--checkpoint-key", f"file:{roles / 'auditor'}"]
    done = run(["verify", str(head), "--archive", str(archive), *keys, "--trust", "none"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "text", ["s3://", "s3://bucket", "s3://bucket/a//b", "s3://bucket/../x", "ftp://a/b"]
)
def test_url_in_another_form_is_refused(text: str) -> None:
    """Before anything is asked."""
    done = run(["inspect", text])
    assert done.returncode == 2
    assert b"archive" in done.stderr


def test_monitor_sees_what_changed_from_the_list_alone(s3: S3Server, copy: ArchivePath) -> None:
    """An archive at rest has equal stamps; a later object, and one that was exchanged, has others."""
    before = stamps_of(str(copy), None)
    assert stamps_of(str(copy), None) == before
    s3.put(f"{copy.key}/checkpoints/{checkpoint_name(99)}", b"a later one")
    after = stamps_of(str(copy), None)
    assert (after.old, after.new != before.new) == (before.old, True)


def test_old_objects_have_the_stamp_that_they_were_read_with(archive: ArchivePath) -> None:
    """So an archive that was verified, and at which nothing is done, is not verified as a whole again."""
    point = ResumePoint(3, "", 0, 0, bytes(32), 0, 0, 0, 1, 0)
    rows = rows_of(str(archive), 0)
    assert old_stamp("", rows, 0, 3) == stamps_of(str(archive), point).old != "0"
    assert rows_of(str(archive), 3) == {name: row for name, row in rows.items() if name.startswith("000003")}
