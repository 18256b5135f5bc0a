"""Put files into an object store: each object once, by whoever may neither read nor delete there.

A put is made under the condition that there is no object of its name, and with the SHA-256 of its bytes: the
store refuses what arrived otherwise, and says the digest of what it keeps. So a credential that may only put
is enough to know that the copy is whole. A file of more than one part goes up in parts, each with its digest;
the parts that are there are remembered, and an upload that was interrupted goes on behind them.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.object_store import ObjectChanged, ObjectStore
from epochseal.storage.opener import open_file

PART = 16 << 20
"""So many bytes of a file are in memory at most."""


class ObjectExists(StorageError):
    """There is an object of that name already; which bytes it has, this credential cannot see."""


class UploadLost(StorageError):
    """The store does not know the upload any more: it was ended, or thrown away by a rule of the bucket."""


@dataclass(slots=True)
class Upload:
    """An upload in parts that was begun: `parts` has the ETag and SHA-256 (base64) of each that is there."""

    id: str = ""
    parts: list[tuple[str, str]] = field(default_factory=list)


class ObjectUploads:
    """Puts objects into one bucket.

    Args:
        store: the bucket, as the archiver reaches it.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._client = store, store.client

    def put(self, key: str, data: bytes) -> None:
        """Make an object of a few bytes.

        Raises:
            ObjectExists: there is one of that name.
            StorageError: it could not be put, or the store keeps other bytes.
        """
        digest = _text(sha256(data).digest())
        with self._new(key), self._store.asking(key):
            answer = self._client.put_object(
                Bucket=self._store.bucket,
                Key=key,
                Body=data,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digest,
            )
        self._check(key, answer.get("ChecksumSHA256"), digest)

    def begin(self, key: str) -> Upload:
        """Begin an upload in parts."""
        with self._store.asking(key):
            answer = self._client.create_multipart_upload(
                Bucket=self._store.bucket, Key=key, ChecksumAlgorithm="SHA256"
            )
        return Upload(answer["UploadId"])

    def put_part(self, key: str, upload: Upload, path: Path) -> bool:
        """Put the next part of a file; False if there is none.

        Raises:
            UploadLost: the store does not know the upload.
            StorageError: the file cannot be read, or the part not be put.
        """
        number = len(upload.parts) + 1
        with open_file(path) as file:
            data = file.pread(PART, PART * (number - 1))
        if not data:
            return False
        digest = _text(sha256(data).digest())
        with self._known(key), self._store.asking(key):
            answer = self._client.upload_part(
                Bucket=self._store.bucket,
                Key=key,
                UploadId=upload.id,
                PartNumber=number,
                Body=data,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digest,
            )
        self._check(key, answer.get("ChecksumSHA256"), digest)
        upload.parts.append((answer["ETag"], digest))
        return True

    def finish(self, key: str, upload: Upload, size: int) -> None:
        """Make one object of the parts.

        Raises:
            ObjectExists: there is one of that name.
            UploadLost: the store does not know the upload.
            StorageError: it could not be made.
        """
        parts = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": digest}
            for number, (etag, digest) in enumerate(upload.parts, 1)
        ]
        with self._known(key), self._new(key), self._store.asking(key):
            self._client.complete_multipart_upload(
                Bucket=self._store.bucket,
                Key=key,
                UploadId=upload.id,
                MultipartUpload={"Parts": parts},
                MpuObjectSize=size,
                IfNoneMatch="*",
            )

    def _check(self, key: str, kept: object, digest: str) -> None:
        if kept != digest:
            raise StorageError(
                f"{self._store.url(key)}: the store does not say that it keeps the bytes that were sent",
                "an archive needs a store that checks SHA-256 of what is put (x-amz-checksum-sha256)",
            )

    def _new(self, key: str) -> _Renamed:
        text = f"{self._store.url(key)}: there is an object of that name already"
        return _Renamed(ObjectChanged, ObjectExists(text, "an archive's objects are never written twice"))

    def _known(self, key: str) -> _Renamed:
        text = f"{self._store.url(key)}: the store does not know the upload any more"
        return _Renamed(FileNotFoundError, UploadLost(text, "it is begun again"))


class _Renamed:
    """What an answer means for a put, where it means another thing for a read."""

    def __init__(self, found: type[Exception], meant: StorageError) -> None:
        self._found, self._meant = found, meant

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if kind is self._found:
            raise self._meant from exc


def _text(digest: bytes) -> str:
    return b64encode(digest).decode()
