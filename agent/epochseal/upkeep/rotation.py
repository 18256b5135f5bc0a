"""What a rotate line is to say (docs/format.md, section 5.7): which key replaces which, and from when.

Nothing here writes: the line is sealed and signed by `service/single_line.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epochseal.encoding import MAX_INT
from epochseal.errors import ConfigError
from epochseal.format.note import VerifierKey
from epochseal.format.seal_lines import KeyKind, Rotate
from epochseal.keys import KeyURI
from epochseal.sealing.last_signer import read_last_signer, read_rotates
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import list_segments
from epochseal.verifier.snapshot import take_snapshot

MAX_TEXT = 1000
"""Reason, ticket and name are at most this long, in characters: the line must fit in the agent's page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRequest:
    """What the operator asks for.

    Args:
        key: which of the two keys of a log is replaced.
        uri: the new key.
        who: who does it, as they say.
        why: the reason.
        ticket: where it was decided, "" for nowhere.
        compromised: somebody else may have the old key.
        from_size: the tree size from which on; None: from this rotation on.

    Raises:
        ConfigError: a text is empty or too long, or `from_size` is given for a key that nobody else has.
    """

    key: KeyKind
    uri: KeyURI
    who: str
    why: str
    ticket: str = ""
    compromised: bool = False
    from_size: int | None = None

    def __post_init__(self) -> None:
        for name, text in (("--reason", self.why), ("--who", self.who), ("--ticket", self.ticket)):
            if len(text) > MAX_TEXT or (not text and name != "--ticket"):
                raise ConfigError(f"{name} has {len(text)} characters, not 1 to {MAX_TEXT}")
        if self.from_size is not None and not self.compromised:
            raise ConfigError(
                "--from-size is for a key that somebody else may have", "add --compromised, or leave it out"
            )


def plan_checkpoint_key(
    logdir: Path, request: RotationRequest, old: VerifierKey, new: VerifierKey, now: int
) -> Rotate:
    """The line for another checkpoint key; `now` in ms.

    Raises:
        ConfigError: both are one key, the log had the new one before, or `old` is not the log's.
        StorageError: a file cannot be read.
    """
    if old.key_id == new.key_id:
        raise ConfigError(
            f"the log has the checkpoint key {old.name}+{old.key_id.hex()} already",
            "name another key, or another version of it, with --checkpoint-key",
        )
    # A key that comes back would be believed for what it signed in between as well.
    if any(body.key == "checkpoint" and new.vkey == body.old for body in _recorded(logdir)):
        raise ConfigError("the log has had this checkpoint key before and replaced it", "make a new key")
    if request.compromised:
        read_last_signer(logdir, old.name).check(new.key, old.key)
    else:
        read_last_signer(logdir, old.name).check(old.key)
    return _rotate_line(logdir, request, old.vkey, new.vkey, now)


def plan_epoch_key(logdir: Path, request: RotationRequest, key_id: str, now: int) -> Rotate:
    """The line for another epoch key, or for another version of it, that issues with the id `key_id`.

    An agent may have gone over to a new version by itself: then that change is recorded.

    Raises:
        ConfigError: the log has this key already, and says so.
        StorageError: a file cannot be read.
    """
    used = [epoch.header.key for part in take_snapshot(logdir).parts for epoch in part.epochs if epoch.header]
    if not used:
        raise ConfigError(f"no sealed log is in {logdir}", "its first epoch line names its first key")
    old = next((key for key in reversed(used) if key != key_id), None)
    recorded = [body for body in _recorded(logdir) if body.key == "epoch"]
    latest = recorded[-1] if recorded else None
    if old is None or (latest is not None and (latest.old, latest.new) == (old, key_id)):
        raise ConfigError(
            f"the log has the epoch key {key_id} already",
            "rotate the key in the backend first, or name another one with --epoch-key",
        )
    return _rotate_line(logdir, request, old, key_id, now)


def has_unsigned_rotation(logdir: Path) -> bool:
    """Whether a change of the checkpoint key stands behind the last note: it was interrupted there.

    Raises:
        StorageError: a file cannot be read.
    """
    for segment in reversed(list_segments(logdir).segments):
        with mapped(segment.seal) as content:
            # One that is torn at the end does not count.
            note = content.rfind(b"\nnote ", 0, max(content.rfind(b"\n"), 0))
            if content.find(b'{"key":"checkpoint",', max(note, 0)) >= 0:
                return True
            if note >= 0:
                return False
    return False


def _rotate_line(logdir: Path, request: RotationRequest, old: str, new: str, now: int) -> Rotate:
    end = read_chain_end(list_segments(logdir).segments)
    if end is None:
        raise ConfigError(f"no sealed log is in {logdir}", "its first epoch line names its first key")
    if request.from_size is not None and request.from_size > end.tree.size:
        raise ConfigError(f"--from-size {request.from_size} is beyond the {end.tree.size} lines of the tree")
    from_size = MAX_INT if request.from_size is None else request.from_size
    return Rotate(
        request.key,
        old,
        new,
        from_size,
        request.who,
        request.why,
        now,
        request.ticket,
        int(request.compromised),
    )


def _recorded(logdir: Path) -> list[Rotate]:
    """All rotate lines that can be read, in order."""
    return [body for segment in list_segments(logdir).segments for body in read_rotates(segment)]
