"""A directory as a bucket, over HTTP: lists and ranges, for measuring readers of archives.

It answers what a reader asks of S3, checks no credential, and sends files from the page cache: what is
measured beside it is the reader. `/` without a query is answered with the counts of lists and ranges so far.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "files"


class FilesAsObjects(BaseHTTPRequestHandler):
    """GET of a list and of a range."""

    protocol_version = "HTTP/1.1"
    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, root: Path, *given: Any) -> None:  # noqa: ANN401  # the server's own
        self._root = root
        super().__init__(*given)

    def do_GET(self) -> None:  # http.server's name
        """A list of names under a prefix, or bytes of a file."""
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if not key and not url.query:
            self._answer(json.dumps(self.counts).encode())
            return
        self.counts["ranges" if key else "lists"] += 1
        if not key:
            self._list(parse_qs(url.query)["prefix"][0])
            return
        path = self._root / key
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", _etag(path))
        self.end_headers()
        with path.open("rb") as file:
            self.connection.sendfile(file, first, last - first + 1)

    def do_HEAD(self) -> None:  # http.server's name
        """Size, time and digest of a file."""
        path = self._root / unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
        self.counts["heads"] += 1
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.send_header("ETag", _etag(path))
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.end_headers()

    def _list(self, prefix: str) -> None:
        folder = self._root / prefix
        rows = [
            f"<Contents><Key>{escape(prefix + path.name)}</Key><Size>{path.stat().st_size}</Size>"
            f"<ETag>{escape(_etag(path))}</ETag><LastModified>{_time(path)}</LastModified></Contents>"
            for path in sorted(folder.iterdir() if folder.is_dir() else [])
        ]
        body = (
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>".encode()
        )
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


def _etag(path: Path) -> str:
    found = path.stat()
    return (
        f'"{hashlib.sha256(f"{found.st_ino} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:32]}"'
    )


def _time(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(FilesAsObjects, Path(sys.argv[1])))
    print(server.server_port, flush=True)
    server.serve_forever()
