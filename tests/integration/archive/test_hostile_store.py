"""A store that lies, breaks off, drips or never ends: whoever asks is told so, in time, in little memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from epochseal.errors import ConfigError, StorageError
from epochseal.storage.archive_path import parse_archive
from epochseal.storage.object_store import (
    MOST,
    BrokenOff,
    ObjectChanged,
    ObjectStore,
    StoredObject,
    StoreResponse,
)

ITEM = StoredObject("a/b", 3 << 20, '"etag"', 0.0)
"""What was listed, and is read."""
WHEN = "2026-01-01T00:00:00.000Z"
Answer = Callable[[socket.socket, int], None]
"""What is sent for the request of that number, from 1."""


def _http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _row(key: str = "a/b", size: str = "1", when: str = WHEN, etag: str = "<ETag>e</ETag>") -> str:
    return (
        f"<Contents><Key>{key}</Key><Size>{size}</Size>{etag}<LastModified>{when}</LastModified></Contents>"
    )


def _listing(*rows: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    return _http(f"<ListBucketResult>{more}{''.join(rows)}</ListBucketResult>".encode())


class Hostile:
    """A store that answers each request as `answer` says, by a connection for each; and a client of it."""

    def __init__(self, address: str, patch: pytest.MonkeyPatch) -> None:
        self.answer: Answer = partial(_say, text=b"")
        self.asked = 0
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_REGION", "eu-west-1")
        self.client = ObjectStore("bucket", 1)

    def behave(self, answer: Answer) -> ObjectStore:
        """From the next request on; the client."""
        self.answer, self.asked = answer, 0
        return self.client

    def serve(self, listener: socket.socket) -> None:
        """Until it is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.asked += 1
                threading.Thread(target=self._treat, args=(client, self.asked), daemon=True).start()

    def _treat(self, client: socket.socket, number: int) -> None:
        with client, suppress(OSError):
            client.recv(1 << 16)
            self.answer(client, number)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    """One for all tests: to make a client takes longer than to ask."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.MonkeyPatch.context() as patch:
            made = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}", patch)
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)


def _say(client: socket.socket, _number: int, text: bytes) -> None:
    client.sendall(text)


def _drip(client: socket.socket, _number: int, text: bytes) -> None:
    """A byte at a time: no single read is ever late, and the whole is."""
    client.sendall(text)
    while True:
        client.sendall(b"x")
        time.sleep(0.2)


def _flood(client: socket.socket, _number: int, text: bytes) -> None:
    """As much as the other side takes."""
    client.sendall(text)
    while True:
        client.sendall(bytes(1 << 16))


LISTS = {
    "is no list": _http(b"hello"),
    "has a size that is no number": _listing(_row(size="many")),
    "has a size below nothing": _listing(_row(size="-1")),
    "has a time that is none": _listing(_row(when="yesterday")),
    "has no digest": _listing(_row(etag="")),
    "names what was not asked for": _listing(_row(key="elsewhere/b")),
    "names things twice": _listing(_row(), _row()),
    "goes on, and does not say where": _listing(_row(), more="<IsTruncated>true</IsTruncated>"),
    "goes on with nothing": _listing(
        more="<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    ),
    "begins again and again": _listing(
        _row(), more="<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_list(hostile: Hostile, name: str) -> None:
    """Is an error that says what it was; never an empty log, and never without end."""
    store = hostile.behave(partial(_say, text=LISTS[name]))
    with pytest.raises(StorageError, match="a/"):
        store.list("a/")


def _part(size: int, etag: str = ITEM.etag) -> bytes:
    return _http(bytes(size), f"ETag: {etag}", status="206 Partial Content")


PARTS = {
    "another object, in spite of the condition": (partial(_say, text=_part(9, '"other"')), ObjectChanged),
    "less than was asked for": (partial(_say, text=_part(8)), BrokenOff),
    "more than was asked for": (partial(_say, text=_part(10)), BrokenOff),
    "what breaks off": (partial(_say, text=_part(9)[:-1]), BrokenOff),
    "what drips": (partial(_drip, text=_part(9)[:-9]), StorageError),
    "headers that drip": (partial(_drip, text=b"HTTP/1.1 206 Partial Content\r\nX-Slow: "), StorageError),
    "what has no end": (
        partial(_flood, text=b"HTTP/1.1 200 OK\r\nETag: %s\r\n\r\n" % ITEM.etag.encode()),
        BrokenOff,
    ),
    "a terabyte": (
        partial(_flood, text=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"),
        StorageError,
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_part_of_an_object(hostile: Hostile, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error, within the time and the size of an answer."""
    if "drip" in name:
        monkeypatch.setattr(StoreResponse, "seconds", 0.3)
    answer, error = PARTS[name]
    store = hostile.behave(answer)
    with pytest.raises(error):
        store.read(ITEM, 0, 9)


def test_what_breaks_off_is_asked_for_again(hostile: Hostile) -> None:
    """A line that was cut in the middle of twenty gigabytes is not the end of a verification."""

    def answer(client: socket.socket, number: int) -> None:
        client.sendall(_part(9)[:-1] if number < 3 else _part(9))

    assert hostile.behave(answer).read(ITEM, 0, 9) == bytes(9)
    assert hostile.asked == 3


def test_no_request_asks_for_more_than_an_answer_may_have(hostile: Hostile) -> None:
    """However much is read at once."""
    huge = StoredObject("a/b", 1 << 40, '"etag"', 0.0)
    assert len(hostile.behave(partial(_say, text=_part(MOST))).read(huge, 0, 1 << 40)) == MOST


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/a\x1b[2J", "s3://bucket/a\nb", "s3://bucket/\u202eb", "s3://bucket/\udcff"),
        *("s3://b;ucket/a", "s3://../a", f"s3://bucket/{'a' * 801}", "s3://bucket/./a", "S3://bucket/a"),
    ],
)
def test_url_that_can_name_no_archive(text: str) -> None:
    """Is refused before anything is asked."""
    with pytest.raises(ConfigError):
        parse_archive(text)


@pytest.mark.parametrize("prefix", ["a b", "100%", "a%2Fb", "ü/x?y#z", "a+b&c=d", "~'\"<>"])
def test_url_with_odd_characters(prefix: str) -> None:
    """They are those of the key, as in the store's own programs: nothing is unescaped."""
    assert parse_archive(f"s3://bucket/{prefix}").key == prefix
    assert str(parse_archive(f"s3://bucket/{prefix}/")) == f"s3://bucket/{prefix}"
