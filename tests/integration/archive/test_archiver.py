"""The archiver puts what has ended, once, whatever happens to it or to the store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from epochseal.archive.archived_log import ArchivedLog
from epochseal.config import read_config
from epochseal.errors import StorageError
from epochseal.storage.archive_path import parse_archive
from epochseal.storage.object_store import ObjectStore
from epochseal.storage.object_uploads import ObjectUploads
from epochseal.storage.segments import list_segments
from epochseal.upkeep.archive_receipts import ReceiptFile
from epochseal.upkeep.retention import find_expired
from epochseal.verifier import Request
from epochseal.verifier.verify import verify
from tests.backends_under_test.s3 import BUCKET, S3Server
from tests.integration.logs import ORIGIN, Log, LogKeys, write_log
from tests.warm_program import run

_CONFIG = """
[[log]]
dir = "{log}"
origin = "{origin}"
epoch_key = "file:{keys}/agent"
checkpoint_key = "file:{keys}/agent"
archive = "s3://{bucket}/{prefix}"
archive_receipts = "{receipts}"
"""


class Scene:
    """A log of three segments, of which two have ended, its archive, and an archiver's configuration."""

    def __init__(self, s3: S3Server, folder: Path, keys: LogKeys, prefix: str) -> None:
        self.s3, self.prefix = s3, prefix
        self.log: Log = write_log(folder / "log", keys)
        self.receipts = folder / "receipts"
        self.receipts.mkdir()
        self.config = folder / "epochseal.toml"
        self.config.write_text(
            _CONFIG.format(
                log=self.log.path,
                origin=ORIGIN,
                keys=keys.directory,
                bucket=BUCKET,
                prefix=prefix,
                receipts=self.receipts,
            )
        )
        self.url = parse_archive(f"s3://{BUCKET}/{prefix}")

    def archived(self, store: ObjectStore | None = None) -> ArchivedLog:
        """A new archiver's view of the log, as after a start."""
        uploads = ObjectUploads(store or ObjectStore(BUCKET, 1))
        return ArchivedLog(read_config(self.config, sealing=False).logs[0], uploads, lambda: False)

    def names(self) -> list[str]:
        """What is in the archive, without checkpoints."""
        keys = self.s3.keys(f"{self.prefix}/segments/")
        return [key.rpartition("/")[2] for key in keys]

    def expected(self) -> list[str]:
        """The files of the segments that have ended."""
        names = sorted(path.name for path in (self.log.path / "segments").iterdir())
        return [name for name in names if not name.startswith("000003")]

    def expires(self) -> int:
        """How many segments may expire now."""
        receipts = ReceiptFile(self.receipts, self.log.path, str(self.url))
        found = find_expired(self.log.path, 0, "0s", 2**50, receipts.read().has)
        return 0 if found is None else len(found.segments)


@pytest.fixture
def scene(
    s3: S3Server,
    tmp_path: Path,
    keys: LogKeys,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """With the credential of an archiver in this process."""
    # By the patch that the test goes on with: two of one variable would have to end in their order.
    for name, value in s3.environ("archiver").items():
        monkeypatch.setenv(name, value)
    return Scene(s3, tmp_path, keys, str(request.node.name))


def test_ended_segments_and_the_checkpoint_are_put_once(scene: Scene) -> None:
    """And not again; nothing may expire before its receipt is there."""
    assert scene.expires() == 0
    archived = scene.archived()
    archived.look()
    assert (archived.state.error, archived.state.waiting, archived.state.archived) == ("", 0, 2)
    assert scene.names() == scene.expected()
    assert len(scene.s3.keys(f"{scene.prefix}/checkpoints/")) == 1
    assert scene.expires() == 2
    again = scene.archived()
    again.look()
    assert (again.state.error, again.state.archived_bytes) == ("", 0)


class _FailingStore(ObjectStore):
    """A store whose answers are lost, or which is gone, at the requests of these numbers."""

    def __init__(self, fails: set[int], *, after: bool) -> None:
        super().__init__(BUCKET, 1)
        self.puts = 0
        put = self.client.put_object

        def put_object(**words: object) -> object:
            self.puts += 1
            fails_now = self.puts in fails
            if fails_now and not after:
                raise ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")
            answer = put(**words)
            if fails_now:
                raise ClientError({"Error": {"Code": "InternalError"}}, "PutObject")
            return answer

        self.client.put_object = put_object


@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer_lost"])
def test_failures_cost_a_backlog_and_nothing_else(scene: Scene, after: bool) -> None:  # noqa: FBT001  # a parameter
    """Requests that the store refuses, or carries out without an answer: each file of both segments once."""
    archived = scene.archived(_FailingStore({2, 4, 6, 8}, after=after))
    looks = 0
    while archived.state.waiting or not looks:
        archived.look()
        looks += 1
        assert scene.expires() <= archived.state.archived
    assert 1 < looks < 10
    assert archived.state.failures > 0
    assert archived.state.error == ""
    assert scene.names() == scene.expected()
    assert scene.expires() == 2


def test_object_of_somebody_else_is_never_taken_for_ours(scene: Scene) -> None:
    """Its segment stays on the disk, each time that it is looked at."""
    name = scene.expected()[0]
    scene.s3.put(f"{scene.prefix}/segments/{name}", b"squatting")
    for archived in (scene.archived(), scene.archived()):
        archived.look()
        assert "there is an object of that name already" in archived.state.error
        archived.look()
        assert archived.state.waiting == 2
    assert scene.expires() == 0


def test_upload_in_parts_goes_on_behind_what_is_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archiver is stopped between two parts; the next one puts the rest."""
    monkeypatch.setattr("epochseal.archive.archived_log.PART", 64)
    # S3 takes no part below 5 MiB but the last one: so the file is made larger, and its parts are two.
    part = 5 << 20
    monkeypatch.setattr("epochseal.storage.object_uploads.PART", part)
    path = next(path for path in scene.log.files("log"))
    path.write_bytes(path.read_bytes() + bytes(part))
    uploads, answers = ObjectUploads(ObjectStore(BUCKET, 1)), iter([False, True])
    # It is asked before each segment and behind each part.
    first = ArchivedLog(read_config(scene.config, sealing=False).logs[0], uploads, lambda: next(answers))
    first.look()
    assert "stopped between two parts" in first.state.error
    asked = list[object]()
    part_of = uploads._client.upload_part  # noqa: SLF001  # the requests are counted

    def upload_part(**words: object) -> object:
        asked.append(words["PartNumber"])
        return part_of(**words)

    monkeypatch.setattr(uploads._client, "upload_part", upload_part)  # noqa: SLF001  # as above
    second = ArchivedLog(read_config(scene.config, sealing=False).logs[0], uploads, lambda: False)
    second.look()
    assert second.state.error == ""
    assert asked[0] == 2
    stored = scene.s3.admin.get_object(Bucket=BUCKET, Key=f"{scene.prefix}/segments/{path.name}")
    assert stored["Body"].read() == path.read_bytes()


def test_its_credential_neither_reads_nor_lists_nor_deletes(scene: Scene) -> None:
    """Nor writes an object twice: all of that is refused by the store."""
    scene.archived().look()
    client, key = ObjectStore(BUCKET, 1).client, f"{scene.prefix}/segments/{scene.expected()[0]}"
    for call in (client.get_object, client.head_object, client.delete_object):
        with pytest.raises(ClientError, match=r"AccessDenied|403"):
            call(Bucket=BUCKET, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.list_objects_v2(Bucket=BUCKET)
    with pytest.raises(StorageError, match="already"):
        ObjectUploads(ObjectStore(BUCKET, 1)).put(key, b"another")


_WITHOUT_LIBRARY = """
import sys
sys.modules |= {"boto3": None, "botocore": None, "urllib3": None}
from epochseal.__main__ import main
main()
"""


def test_agent_holds_no_credential_and_no_library_of_a_store(tmp_path: Path, keys: LogKeys) -> None:
    """It seals a log that has an archive where there is neither."""
    config, log = tmp_path / "epochseal.toml", tmp_path / "log"
    receipts = tmp_path / "receipts"
    text = _CONFIG.format(
        log=log, origin=ORIGIN, keys=keys.directory, bucket=BUCKET, prefix="agent", receipts=receipts
    )
    state = f'keep = "1d"\nstate_dir = "{tmp_path / "state"}"\n'
    config.write_text(f'{text}{state}[[log.source]]\nkind = "stdin"\n')
    agent = [sys.executable, "-c", _WITHOUT_LIBRARY, "run", "--config", str(config)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(agent, input=b"an entry\n", env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in (log / "segments").glob("*.log")] == [b"an entry\n"]


def test_head_and_archive_verify_after_expiry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has expired from the directory is read where it is, and the log is whole."""
    scene.archived().look()
    for segment in list_segments(scene.log.path).segments[:2]:
        segment.remove()
    for name, value in scene.s3.environ("reader").items():
        monkeypatch.setenv(name, value)
    log = scene.log
    request = Request(
        make_recoverer=log.keys.recoverer,
        checkpoint_key=log.keys.public,
        archive=scene.url,
        now=lambda: log.now,
    )
    assert verify(log.path, request).verdict == "verified"


def test_program_archives_with_a_credential_of_its_own(scene: Scene) -> None:
    """`epochseal archive`; without a credential it says so, and ends with 6."""
    words = ["archive", "--config", str(scene.config), "--once"]
    environ = {**os.environ, "AWS_CONFIG_FILE": os.devnull, "AWS_REGION": "eu-west-1"}
    del environ["AWS_PROFILE"]
    done = run(words, env=environ)
    assert done.returncode == 6
    assert b"there is no credential for the object store on this machine" in done.stderr
    done = run(words)
    assert done.returncode == 0, done.stderr
    assert scene.names() == scene.expected()
    shutil.rmtree(scene.receipts)
