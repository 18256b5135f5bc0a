"""One bucket of an object store that speaks S3, and what its answers mean.

What reads a log wants files: an object that is not there is a FileNotFoundError, as for a file. Everything
else that goes wrong is a StorageError that says what to do. The login is that of the environment, as for
every other program of the store (AWS_PROFILE, AWS_ENDPOINT_URL_S3, …): no URL holds one.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from epochseal.answers import BoundedResponse, bound_answers
from epochseal.errors import ConfigError, StorageError

SMALL = 1 << 20
"""Objects up to so many bytes are asked for in one request, and kept for a while."""
_KEPT = 16 << 20
MOST = 8 << 20
"""So many bytes are asked for in one request at most."""
_TIMEOUT, _CONNECT_TIMEOUT = 60, 10
_ATTEMPTS = 6
_READS = 3
_MOST_NAMES = 10_000_000
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket"})
_REFUSED = frozenset(
    {
        "401",
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was listed: `etag` names these very bytes, `modified` is in seconds since 1970."""

    key: str
    size: int
    etag: str
    modified: float


class ObjectRefused(StorageError):
    """The store does not let this credential do that."""


class ObjectChanged(FileNotFoundError):
    """There is another object of that name than the one that was listed."""


class BrokenOff(StorageError):
    """An object began to come, and did not come to its end, or not in time."""


class StoreResponse(BoundedResponse):
    """An answer of the store: its limits are for a slow line and the largest range."""

    seconds: ClassVar[float] = 60.0
    most: ClassVar[int] = MOST + (1 << 20)


class ObjectStore:
    """A bucket, read and written by key.

    Args:
        bucket: its name.
        attempts: how often a request is made before it fails, with pauses that grow.

    Raises:
        ConfigError: boto3 is not installed, or there is no credential or region for it.
    """

    def __init__(self, bucket: str, attempts: int = _ATTEMPTS) -> None:
        self.bucket = bucket
        self._listed: dict[str, StoredObject] = {}
        self._folders: set[str] = set()
        self._small: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self.client = _client(attempts)

    def list(self, prefix: str) -> list[StoredObject]:
        """What there is under a prefix, in the order in which it is told; one request for each thousand.

        Raises:
            StorageError: it cannot be listed, or the store lists what is no list, or has no end.
        """
        found: dict[str, StoredObject] = {}
        more: dict[str, str] = {}
        while True:
            with self.asking(prefix):
                answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **more)
            items = [self._listed_as(item, prefix) for item in answer.get("Contents", ())]
            known = len(found)
            found.update((item.key, item) for item in items)
            token = answer.get("NextContinuationToken")
            if len(found) < known + len(items) or len(found) > _MOST_NAMES:
                raise StorageError(f"{self.url(prefix)}: the store's list names things twice, or has no end")
            if not answer.get("IsTruncated"):
                break
            if not items or not token:
                raise StorageError(f"{self.url(prefix)}: the store's list breaks off")
            more = {"ContinuationToken": token}
        for key in [key for key in self._listed if key.startswith(prefix)]:
            del self._listed[key]
        self._listed.update(found)
        self._folders.add(prefix)
        return list(found.values())

    def _listed_as(self, item: dict[str, Any], prefix: str) -> StoredObject:
        key, size, etag, modified = map(item.get, ("Key", "Size", "ETag", "LastModified"))
        if not key or not key.startswith(prefix) or size is None or size < 0 or not etag or modified is None:
            raise StorageError(f"{self.url(prefix)}: the store's list names what cannot be an object there")
        return StoredObject(key, size, etag, modified.timestamp())

    def look(self, key: str) -> StoredObject:
        """An object as it was listed last; one that was not is asked for.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be looked at.
        """
        if (listed := self._listed.get(key)) is not None:
            return listed
        if key.rpartition("/")[0] + "/" in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url(key))
        with self.asking(key):
            answer = self.client.head_object(Bucket=self.bucket, Key=key)
        return self._listed_as({**answer, "Key": key, "Size": answer.get("ContentLength")}, key)

    def read(self, item: StoredObject, start: int, size: int) -> bytes:
        """Bytes of an object, no more than there are, and no more than `MOST`; of what was listed, or none.

        Raises:
            ObjectChanged, FileNotFoundError: it is gone, or another one.
            StorageError: it cannot be read.
        """
        stop = min(start + min(size, MOST), item.size)
        if start >= stop:
            return b""
        name = item.key, item.etag
        if (whole := self._small.get(name)) is not None:
            self._small.move_to_end(name)
            return whole[start:stop]
        small = item.size <= SMALL
        first, last = (0, item.size) if small else (start, stop)
        data = self._get(item, first, last)
        if not small:
            return data
        self._small[name] = data
        while sum(map(len, self._small.values())) > _KEPT:
            self._small.popitem(last=False)
        return data[start:stop]

    def _get(self, item: StoredObject, start: int, stop: int) -> bytes:
        # The library makes a request again that failed, and not one whose answer broke off.
        for _ in range(_READS - 1):
            with suppress(BrokenOff):
                return self._get_once(item, start, stop)
        return self._get_once(item, start, stop)

    def _get_once(self, item: StoredObject, start: int, stop: int) -> bytes:
        name = self.url(item.key)
        with self.asking(item.key):
            answer = self.client.get_object(
                Bucket=self.bucket, Key=item.key, Range=f"bytes={start}-{stop - 1}", IfMatch=item.etag
            )
        # Entered by itself it would be the transport's own, whose errors are others.
        with closing(answer["Body"]) as body:
            # A store may pass over the condition and the range.
            if answer.get("ETag") != item.etag:
                raise ObjectChanged(errno.ENOENT, "there is another object of that name", name)
            try:
                # No more than one too many: what is sent without an end is not read to its end.
                data: bytes = body.read(stop - start + 1)
            except _failures() as exc:
                raise BrokenOff(f"{name}: the object broke off: {exc}", "try again later") from exc
        if len(data) != stop - start:
            raise BrokenOff(f"{name}: {len(data)} bytes came, {stop - start} were asked for")
        return data

    def url(self, key: str) -> str:
        """How messages name an object."""
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def asking(self, key: str) -> Iterator[None]:
        """One request; its errors become ours."""
        try:
            yield
        except _failures() as exc:
            raise _meaning(exc, self.url(key)) from exc


def store_of(bucket: str) -> ObjectStore:
    """The bucket, with a connection of this process: none is shared with the process that forked it.

    Raises:
        ConfigError: as `ObjectStore`.
    """
    return _store_in(os.getpid(), bucket)


@lru_cache(maxsize=8)
def _store_in(_process: int, bucket: str) -> ObjectStore:
    return ObjectStore(bucket)


def _client(attempts: int) -> Any:  # noqa: ANN401  # boto3 has no types
    try:
        import boto3  # noqa: PLC0415  # an extra
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError("archives need boto3", "in a checkout: pip install '.[archive]'") from exc
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # A store that is no AWS may not know the check sums that are new to it; ours are SHA-256 of our own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as exc:
        raise ConfigError(
            f"the object store cannot be asked: {exc}", "see AWS_PROFILE and AWS_REGION"
        ) from exc
    # The library has no way to name a transport.
    bound_answers(client._endpoint.http_session._pool_classes_by_scheme, StoreResponse)  # noqa: SLF001  # as said above
    return client


def _failures() -> tuple[type[Exception], ...]:
    """What the library raises if a request fails, or if what is answered cannot be read."""
    from botocore import exceptions as aws  # noqa: PLC0415  # an extra
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    # The last of numbers and times that are none.
    return aws.ClientError, aws.BotoCoreError, aws.HTTPClientError, ResponseParserError, ValueError


def _meaning(exc: Exception, name: str) -> Exception:
    from botocore import exceptions as aws  # noqa: PLC0415  # an extra
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    if isinstance(exc, aws.ClientError):
        return _refusal(exc.response, name)
    if isinstance(exc, (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError)):
        hint = "give this process the credential of a reader: AWS_PROFILE, or a role of the machine"
        return ObjectRefused(f"{name}: there is no credential for the object store on this machine", hint)
    if isinstance(exc, aws.ParamValidationError):
        return ConfigError(f"{name} can name no object: {exc}", "an archive is s3://BUCKET/PREFIX")
    if isinstance(exc, (ResponseParserError, ValueError)):
        hint = "is AWS_ENDPOINT_URL that of an object store?"
        return StorageError(f"{name}: what was answered is not of an object store: {exc}", hint)
    return StorageError(f"{name}: the object store is not there: {exc}", "try again later")


def _refusal(answer: dict[str, Any], name: str) -> Exception:
    """What it means that the store answered with an error."""
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _ABSENT:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if code in {"PreconditionFailed", "412"}:
        return ObjectChanged(errno.ENOENT, "there is another object of that name", name)
    if code in _REFUSED:
        hint = "docs/archives.md lists what each role must be allowed to do"
        return ObjectRefused(f"{name}: the object store refused the credential ({code})", hint)
    return StorageError(f"{name}: the object store answered {code or status}", "try again later")
