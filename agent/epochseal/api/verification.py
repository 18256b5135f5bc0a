"""Verify a log whose keys are named as text: by the Python API and by `epochseal verify`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from epochseal.api.given_keys import CheckpointKey, LogKeys, one_origin
from epochseal.decoders import json_decoder
from epochseal.errors import ConfigError, VerificationError
from epochseal.evidence.log_memory import NoMemory, TrustFile
from epochseal.format.note import VerifierKey, check_origin
from epochseal.format.seal_lines import JSON_KINDS
from epochseal.format.witness_policy import parse_policy
from epochseal.keys import PublicKey, parse_key_uri
from epochseal.storage.archive_path import parse_archive, parse_log_place
from epochseal.storage.opener import read_named_file
from epochseal.verifier import Request, Verdict
from epochseal.verifier.verdict import VerdictName

_MILLISECOND = timedelta(milliseconds=1)


class NotVerified(VerificationError):
    """The verdict on a log is any but `verified`; raised as the one of its four kinds.

    Args:
        verdict: what was found, as `epochseal verify --json` has it.
    """

    def __init__(self, verdict: Verdict) -> None:
        problems = verdict.problems
        found = f": {len(problems)} problem(s), the first is {problems[0].kind}" if problems else ""
        super().__init__(f"the log is {verdict.verdict}{found}", "the error's verdict lists every problem")
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[NotVerified], tuple[Verdict]]:
        # An error that comes out of a pool of processes is made again of what it was made of.
        return type(self), (self.verdict,)


class Tampered(NotVerified):
    """Something in the log is not as it was sealed."""


class Untrusted(NotVerified):
    """The log is another one, or sealed with keys that were not named, or contradicts what was seen of it."""


class Incomplete(NotVerified):
    """What is there is as it was sealed, and something is missing or not accounted for."""


class Empty(NotVerified):
    """There is no sealed log: nothing was verified."""


_KINDS: dict[VerdictName, type[NotVerified]] = {
    "tampered": Tampered,
    "untrusted": Untrusted,
    "incomplete": Incomplete,
    "empty": Empty,
}


def verify(
    logdir: str | os.PathLike[str],
    *,
    epoch_keys: str | Sequence[str] = (),
    checkpoint_key: CheckpointKey | None = None,
    trust: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    log: bytes | None = None,
    max_age: timedelta | None = None,
    strict: bool = False,
    policy: str | os.PathLike[str] | None = None,
    archive: str | None = None,
    jobs: int = 1,
) -> Verdict:
    """Verify the log in `logdir`. What is returned is always the verdict `verified`.

    Every other verdict is raised, so that no caller can take one for the other by not looking. Whoever wants
    to go on with a log that is, say, incomplete catches `Incomplete` and finds the verdict in the error.

    Args:
        logdir: the log's directory, or its archive: `s3://BUCKET/PREFIX`.
        epoch_keys: URIs of the keys that recover epoch secrets (the verifier's role), one or several.
            Without any, what a public key can show is checked, and the verdict's `mode` is `public`.
        checkpoint_key: what checkpoints have to be signed with.
        trust: a file of `epochseal trust`: the log is held against it, and one that is verified moves it
            forward. It brings the checkpoint key.
        origin: the name that the log must have.
        log: the id that the log must have, 32 bytes.
        max_age: how old the end of an open log may be; three heartbeats of the log if not given.
        strict: whether a rotation that is not on the record is incomplete.
        policy: a C2SP tlog-policy file: witnesses that must have cosigned.
        archive: the URL of an archive with the segments that have left the directory.
        jobs: processes to use. More than one are forked from this one: not in a program with threads.

    Raises:
        Tampered, Untrusted, Incomplete, Empty: the verdict, in the error's `verdict`. All are `NotVerified`,
            which is a `VerificationError`.
        ConfigError: no key and no trust file was named, or what was named cannot be used.
        FormatError: a vkey or policy is not in its one form.
        StorageError: a file of the log cannot be read, or the trust file not written.
        OSError: the file of the vkey or the policy cannot be read.
        Denied, Unavailable, BackendError: the key backend failed; nothing can be said of the log then.
    """
    uris = (epoch_keys,) if isinstance(epoch_keys, str) else epoch_keys
    memory = TrustFile(Path(trust)) if trust is not None else NoMemory("no trust file was named")
    request = request_for(
        LogKeys(epoch_keys=tuple(map(parse_key_uri, uris)), checkpoint_key=checkpoint_key, origin=origin),
        trusted=memory.trust.key.name if isinstance(memory, TrustFile) else None,
        log=log,
        max_age=max_age // _MILLISECOND if max_age is not None else None,
        strict=strict,
        policy=Path(policy) if policy is not None else None,
        jobs=jobs,
    )
    past = parse_archive(archive) if archive is not None else None
    remembered = memory.examine(parse_log_place(os.fspath(logdir)), replace(request, archive=past))
    verdict = remembered.found.verdict
    kind = _KINDS.get(verdict.verdict)
    if kind is not None:
        raise kind(verdict)
    if remembered.failure is not None:
        raise remembered.failure
    return verdict


def request_for(
    keys: LogKeys,
    *,
    trusted: str | None,
    log: bytes | None,
    max_age: int | None,
    strict: bool,
    policy: Path | None,
    jobs: int = 1,
) -> Request:
    """What the verifier is asked, of what its caller named; `max_age` in milliseconds.

    `trusted` is the origin of the trust file, if one was named: it brings a key.

    Raises:
        ConfigError: no key and no trust file, two origins, or a key that cannot be used.
        FormatError: a vkey or policy is not in its one form.
        OSError: the file of the vkey or the policy cannot be read.
        Denied, Unavailable, BackendError: the key backend failed.
    """
    if not keys.epoch_keys and keys.checkpoint_key is None and trusted is None:
        raise ConfigError("no key was given", "name an epoch key, the checkpoint key or a trust file")
    named, public_key = keys.public_key()
    asked = one_origin(keys.origin, {"checkpoint key": named, "trust file": trusted})
    return Request(
        make_recoverer=keys.recoverer_maker(),
        checkpoint_key=public_key,
        origin=asked,
        log=log,
        max_age=max_age,
        strict=strict,
        policy=parse_policy(read_named_file(policy)) if policy is not None else None,
        jobs=jobs,
    )


def make_readers() -> None:
    """Make what is otherwise made when it is first asked for, once for all processes that are forked later.

    To verify the few lines that are new in a live log is little else.
    """
    for kind in JSON_KINDS:
        json_decoder(kind)
    check_origin("any")
    VerifierKey("any", PublicKey("ed25519", bytes(32)))
