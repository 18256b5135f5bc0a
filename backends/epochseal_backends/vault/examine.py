"""What `epochseal doctor` finds out about transit keys with the agent's own login.

Permissions are asked of the server (`sys/capabilities-self`), which shows them without using them. Two calls
are made for real, as what a policy says about a path is not all that it says: recovering a secret, with a
ciphertext that no key has made, and an issue call for a log that does not exist.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from epochseal.encoding import b64encode
from epochseal.errors import Denied
from epochseal.examiner import KeyFinding, probe_context
from epochseal.keys import KeyURI
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.login import LoginDenied
from epochseal_backends.vault.names import KeyName, encode_context, parse_checkpoint_key, parse_epoch_key
from epochseal_backends.vault.refusals import CHECKPOINT_TYPES, EPOCH_TYPES, not_there
from epochseal_backends.vault.session import Refusal, Session

FOREIGN_ORIGIN = "epochseal.invalid/doctor"

_POLICIES = "use the policies of deploy/vault/ for the agent's role, and no other policy beside them"
_CHANGES = frozenset({"create", "update", "patch", "delete", "sudo", "root"})
_NOTHING = frozenset({"deny"})
_NO_CIPHERTEXT = f"vault:v1:{b64encode(bytes(60))}"

Capabilities = dict[str, list[str]]


class _Properties(msgspec.Struct):
    type: str
    latest_version: int
    derived: bool = False
    exportable: bool = False
    deletion_allowed: bool = False
    allow_plaintext_backup: bool = False
    soft_deleted: bool = False
    min_decryption_version: int = 1
    min_encryption_version: int = 0


@dataclass(frozen=True, slots=True)
class _Forbidden:
    """Something that the agent may not do: on these paths it may have none of these capabilities."""

    topic: str
    paths: tuple[str, ...]
    capabilities: frozenset[str] | None = None

    def finding(self, found: Capabilities) -> KeyFinding:
        allowed = [
            f"{path} ({', '.join(sorted(wrong))})"
            for path in self.paths
            if (wrong := self._wrong(frozenset(found.get(path, ()))))
        ]
        if allowed:
            return KeyFinding(self.topic, "wrong", f"allowed: {', '.join(allowed)}", _POLICIES)
        return KeyFinding(self.topic, "good", f"{len(self.paths)} paths are refused")

    def _wrong(self, held: frozenset[str]) -> frozenset[str]:
        if held & _NOTHING:
            return frozenset()
        return held if self.capabilities is None else held & self.capabilities


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """Properties of an epoch key, and what this login may do with it for the log `origin`, and for another.

    Raises:
        Denied, Unavailable, ConfigError: the login fails, or the server is gone: no more can be looked at.
    """
    name, session = parse_epoch_key(uri), Session(read_access(settings))
    yield from _epoch_properties(session, name)
    issue, recover = f"{name.mount}/datakey/plaintext/{name.key}", f"{name.mount}/decrypt/{name.key}"
    forbidden = [
        _Forbidden("agent may not wrap secrets of its own", (f"{name.mount}/encrypt/{name.key}",)),
        *_forbidden(name, "epoch key", ("encryption-key", "hmac-key")),
        _Forbidden(
            "agent may not change engine, policies or trail",
            (
                f"sys/mounts/{name.mount}",
                f"sys/mounts/{name.mount}/tune",
                "sys/policies/acl/default",
                "sys/audit/file",
            ),
            _CHANGES,
        ),
    ]
    held = yield from _permissions(session, "agent may have epoch secrets issued", issue, forbidden)
    yield _recovery(session, recover, origin)
    if held:
        yield _binding(session, issue)


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """Properties of a checkpoint key, and what this login may do with it.

    Raises:
        Denied, Unavailable, ConfigError: the login fails, or the server is gone: no more can be looked at.
    """
    name, session = parse_checkpoint_key(uri), Session(read_access(settings))
    yield from _checkpoint_properties(session, name)
    sign = f"{name.mount}/sign/{name.key}"
    forbidden = _forbidden(name, "checkpoint key", ("signing-key", "hmac-key"))
    yield from _permissions(session, "agent may sign checkpoints", sign, forbidden)


def _forbidden(name: KeyName, what: str, exports: tuple[str, ...]) -> list[_Forbidden]:
    mount, key = name.mount, name.key
    changes = ("rotate", "config", "trim", "import", "import_version", "soft-delete")
    return [
        _Forbidden(
            f"agent may not copy the {what}",
            (
                f"{mount}/backup/{key}",
                *(f"{mount}/export/{kind}/{key}" for kind in exports),
                *(f"{mount}/export/{kind}/{key}/latest" for kind in exports),
            ),
        ),
        _Forbidden(
            f"agent may not change the {what}",
            (
                f"{mount}/keys/{key}",
                f"{mount}/restore/{key}",
                *(f"{mount}/keys/{key}/{end}" for end in changes),
            ),
            _CHANGES,
        ),
    ]


def _epoch_properties(session: Session, name: KeyName) -> Iterator[KeyFinding]:
    found = _read(session, name)
    if isinstance(found, KeyFinding):
        yield found
        return
    yield _type(name, found.type, EPOCH_TYPES)
    yield _judged(
        "epoch key is derived",
        found.derived,
        "the engine ignores what a secret is bound to",
        "make another key with derived=true: this cannot be changed later",
    )
    yield from _common(found, "epoch key")
    yield _judged(
        "every version recovers",
        found.min_decryption_version <= 1,
        f"min_decryption_version is {found.min_decryption_version}: epochs of older versions do not verify",
        "lower it while logs of that time are kept",
    )


def _checkpoint_properties(session: Session, name: KeyName) -> Iterator[KeyFinding]:
    found = _read(session, name)
    if isinstance(found, KeyFinding):
        yield found
        return
    yield _type(name, found.type, CHECKPOINT_TYPES)
    yield _judged(
        "checkpoint key is not derived",
        not found.derived,
        "derived is true: it has no one public key",
        "make another key without derived",
    )
    yield from _common(found, "checkpoint key")
    lowest = max(found.min_decryption_version, found.min_encryption_version)
    yield _judged(
        "checkpoint key has its version",
        lowest <= name.version <= found.latest_version,
        f"version {name.version} is named, and {lowest} to {found.latest_version} can sign",
        "go over to another with epochseal rotate, or lower min_encryption_version",
    )


def _read(session: Session, name: KeyName) -> _Properties | KeyFinding:
    topic = f"properties of {name}"
    try:
        return session.read(f"{name.mount}/keys/{name.key}", _Properties, "read the key's properties")
    except LoginDenied:
        raise
    except Denied as exc:
        return KeyFinding(topic, "unknown", str(exc), exc.hint)
    except Refusal as exc:
        why = not_there(exc, name, session)
        return KeyFinding(topic, "wrong", str(why), why.hint)


def _type(name: KeyName, kind: str, wanted: tuple[str, ...]) -> KeyFinding:
    return _judged(
        f"type of {name}", kind in wanted, f"{kind} cannot be used", f"one of {', '.join(wanted)}", good=kind
    )


def _common(found: _Properties, what: str) -> Iterator[KeyFinding]:
    yield _judged(
        f"{what} cannot be exported",
        not found.exportable,
        "who may export it has it for ever",
        "make another key: this cannot be taken back",
    )
    yield _judged(
        f"{what} cannot be backed up in plain",
        not found.allow_plaintext_backup,
        "who may back it up has it for ever",
        "make another key: this cannot be taken back",
    )
    yield _judged(
        f"{what} cannot be deleted",
        not (found.deletion_allowed or found.soft_deleted),
        "it is soft-deleted" if found.soft_deleted else "with the key, logs could no longer be verified",
        "restore it" if found.soft_deleted else "set deletion_allowed=false in its config",
    )


def _permissions(
    session: Session, topic: str, path: str, forbidden: list[_Forbidden]
) -> Generator[KeyFinding, None, bool]:
    """Findings about what may be done on `path` and must not be on the others; returns whether it may."""
    paths = [path, *(item for group in forbidden for item in group.paths)]
    try:
        held = session.write("sys/capabilities-self", {"paths": paths}, Capabilities, "ask what it may do")
    except LoginDenied:
        raise
    except (Denied, Refusal) as exc:
        hint = "give the role the policy default, or look at its policies by hand"
        for name in (topic, *(group.topic for group in forbidden)):
            yield KeyFinding(name, "unknown", str(exc), hint)
        return False
    may = bool({"update", "root"} & set(held.get(path, ())))
    yield _judged(
        topic, may, f"{path} is refused", f'its policy needs: path "{path}" {{ capabilities = ["update"] }}'
    )
    for group in forbidden:
        yield group.finding(held)
    return may


def _recovery(session: Session, path: str, origin: str) -> KeyFinding:
    # For this very log: a policy may allow it for one and refuse it for another.
    body = {"ciphertext": _NO_CIPHERTEXT, "context": encode_context(probe_context(origin))}
    return _judged(
        "agent may not recover epoch secrets",
        session.refuses(path, body),
        f"{path} is allowed: whoever takes over the agent can rewrite what it sealed",
        _POLICIES,
    )


def _binding(session: Session, path: str) -> KeyFinding:
    body = {"context": encode_context(probe_context(FOREIGN_ORIGIN))}
    return _judged(
        "agent may issue for its own log only",
        session.refuses(path, body),
        f"{path} is allowed for the log {FOREIGN_ORIGIN}",
        _POLICIES,
    )


def _judged(topic: str, good_if: bool, wrong: str, hint: str, *, good: str = "yes") -> KeyFinding:  # noqa: FBT001  # the judgement
    return KeyFinding(topic, "good", good) if good_if else KeyFinding(topic, "wrong", wrong, hint)
