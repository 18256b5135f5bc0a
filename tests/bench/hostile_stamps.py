"""Time stamps beside a log: one that is good for every log of these keys, and as many as bytes can buy."""

from __future__ import annotations

from pathlib import Path

import rfc3161_client

from tests.bench.bulk import ENTRY, started
from tests.integration.stamp_authority import Authority
from tests.reference.keys import ORIGIN, Keys, signed_note

BEYOND = 10**12
"""A tree size that no log here has: to find that out, all of its lines are read."""
AUTHORITY = "authority.pem"


def _stamp(folder: Path, authority: Authority, size: int, note: bytes) -> int:
    """Keep a stamp of a checkpoint as the agent does; how many bytes it takes."""
    query = rfc3161_client.TimestampRequestBuilder().data(note).cert_request(cert_request=True).build()
    answer = authority.reply(query.as_bytes())
    folder.mkdir(exist_ok=True)
    (folder / f"{size:012d}.checkpoint").write_bytes(note)
    (folder / f"{size:012d}.tsr").write_bytes(answer)
    return len(note) + len(answer)


def stamp_of_a_larger_log(folder: Path, keys: Keys) -> Path:
    """A folder of stamps with a good one that the log's key signed for more lines than there are."""
    authority = Authority(folder.absolute() / "authority")
    (folder / AUTHORITY).write_bytes(authority.root)
    _stamp(folder / "stamps", authority, BEYOND, signed_note(ORIGIN, BEYOND, bytes(32), keys))
    return folder / "stamps"


def stamps(folder: Path, keys: Keys, size: int) -> Path:
    """A small log, every checkpoint of which was stamped by the authority beside its folder."""
    authority = Authority(folder.absolute() / "authority")
    (folder / AUTHORITY).write_bytes(authority.root)
    log = started(folder, keys)
    path, taken = log.path / "timestamps", 0
    path.parent.mkdir(parents=True, exist_ok=True)
    while taken < size:
        log.block(ENTRY).sign()
        taken += _stamp(path, authority, log.size, signed_note(ORIGIN, log.size, log.roots[log.size], keys))
    return log.done().rename(folder / "input")
