"""An object store to test against: moto's S3 over HTTP, with IAM for an archiver and a reader.

    with running_s3(tmp_path) as s3:
        environ |= s3.environ("reader")
        s3.admin.put_object(…)

It is moto's server of `kms.py`: it checks identities, signatures and the actions of policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.storage.log_past import checkpoint_name
from tests.backends_under_test.kms import REGION, KmsServer, running_kms

BUCKET = "archive"
ROLES = {
    "archiver": {"Allow": ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]},
    "reader": {"Allow": ["s3:GetObject", "s3:ListBucket"]},
    "nobody": {"Allow": ["sts:GetCallerIdentity"]},
}
"""What each role's IAM policy says here, on every resource: moto looks at no other."""


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket, and a profile for each role; `admin` may do everything."""

    server: KmsServer
    admin: Any

    @property
    def url(self) -> str:
        """Of the server."""
        return self.server.url

    def environ(self, role: str) -> dict[str, str]:
        """What a process needs to reach the bucket as that role."""
        return {**self.server.environ, "AWS_PROFILE": role}

    def upload(self, logdir: Path, prefix: str) -> str:
        """Make an archive of a log directory as it is; its URL."""
        for path in sorted(logdir.glob("segments/[!.]*")):
            self.put(f"{prefix}/segments/{path.name}", path.read_bytes())
        note = (logdir / "checkpoint").read_bytes()
        name = checkpoint_name(parse_checkpoint(parse_note(note).text).size)
        self.put(f"{prefix}/checkpoints/{name}", note)
        return f"s3://{BUCKET}/{prefix}"

    def put(self, key: str, content: bytes) -> None:
        """Put an object there, whatever stood there."""
        self.admin.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.admin.delete_object(Bucket=BUCKET, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix."""
        pages = self.admin.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Start a server on a free port of 127.0.0.1; it is stopped by its pid in the end."""
    with running_kms(folder) as server:
        for role, policy in ROLES.items():
            server.add_user(role, policy)
        admin = server.admin("s3")
        admin.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield S3Server(server, admin)
