"""What `epochseal doctor` finds out about keys in AWS KMS, with the agent's own credential.

Nothing is changed: a secret that no log uses is generated, and opening it is tried, which must be refused.
The other calls are dry runs, which KMS answers with what the real call would get (`DryRunOperationException`,
`AccessDeniedException`). There is no dry run of `PutKeyPolicy` and its like: who administers the key is for
its policy to say (docs/aws.md).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from epochseal.errors import BackendError, ConfigError, Denied, Unavailable
from epochseal.examiner import KeyFinding, probe_context
from epochseal.keys import SECRET_SIZE, KeyURI
from epochseal_backends.awskms.client import ONCE, Kms, field
from epochseal_backends.awskms.errors import Forbidden, WouldServe
from epochseal_backends.awskms.key import parse
from epochseal_backends.awskms.signing import ALGORITHMS, KmsSigner

_MESSAGE = b"epochseal doctor: not a checkpoint\n"
_DENY = "deny it to the agent in the key's policy (docs/aws.md)"


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """Properties of the wrapping key; that the agent has secrets issued, and opens and wraps none.

    Args:
        uri: the epoch key.
        settings: as in `awskms.client`.
        origin: the log's, whose secrets this agent must have issued: a policy may bind it to that.

    Raises:
        Denied, Unavailable, ConfigError: no more can be looked at.
    """
    kms = Kms(parse(uri), settings, ONCE)
    metadata = yield from _describe(kms, "epoch key")
    if metadata is not None:
        yield _compare(
            "epoch key is symmetric", metadata.get("KeySpec"), "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"
        )
        yield _compare("epoch key wraps", metadata.get("KeyUsage"), "ENCRYPT_DECRYPT", "ENCRYPT_DECRYPT")
        yield _rotation(kms)
    fields = probe_context(origin).fields()
    topic = f"agent may have secrets issued for {origin}"
    try:
        answer = kms.call("generate_data_key", NumberOfBytes=SECRET_SIZE, EncryptionContext=fields)
    except Forbidden as exc:
        yield KeyFinding(topic, "wrong", str(exc), exc.hint)
        blob = None
    except (Denied, Unavailable):
        raise
    except BackendError as exc:
        # Such as a disabled key: what the credential may do to it can be asked all the same.
        yield KeyFinding(topic, "wrong", str(exc), exc.hint)
        blob = None
    else:
        blob = field(answer, "CiphertextBlob", bytes)
        yield KeyFinding(topic, "good", "kms:GenerateDataKey was served")
    if blob is None:
        yield KeyFinding("agent may not recover", "unknown", "there is no secret to try it with", None)
    else:
        yield _refused(kms, "recover", "decrypt", CiphertextBlob=blob, EncryptionContext=fields)
        yield _refused(
            kms,
            "wrap again",
            "re_encrypt",
            CiphertextBlob=blob,
            SourceEncryptionContext=fields,
            SourceKeyId=kms.key.name,
            DestinationKeyId=kms.key.name,
            DestinationEncryptionContext=fields,
            DryRun=True,
        )
    yield _refused(
        kms, "wrap", "encrypt", Plaintext=bytes(SECRET_SIZE), EncryptionContext=fields, DryRun=True
    )
    yield _no_grant(kms, metadata, "Decrypt")


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """Properties of the signing key; that the agent signs, and lets nobody else sign.

    Raises:
        Denied, Unavailable, ConfigError: no more can be looked at.
    """
    kms = Kms(parse(uri), settings, ONCE)
    metadata = yield from _describe(kms, "checkpoint key")
    try:
        key = KmsSigner(kms).public_key()
    except ConfigError as exc:
        yield KeyFinding("checkpoint key signs", "wrong", str(exc), exc.hint)
        return
    yield KeyFinding("checkpoint key signs", "good", f"it is an {key.algorithm} key")
    yield _signing(kms, ALGORITHMS[key.algorithm])
    yield _no_grant(kms, metadata, "Sign")


def _signing(kms: Kms, algorithm: str) -> KeyFinding:
    topic = "agent may sign"
    try:
        kms.call("sign", Message=_MESSAGE, MessageType="RAW", SigningAlgorithm=algorithm, DryRun=True)
    except WouldServe:
        pass
    except Forbidden as exc:
        return KeyFinding(topic, "wrong", str(exc), exc.hint)
    except (Denied, Unavailable):
        raise
    except BackendError as exc:
        return KeyFinding(topic, "wrong", str(exc), exc.hint)
    return KeyFinding(topic, "good", "kms:Sign is permitted")


def _describe(kms: Kms, which: str) -> Generator[KeyFinding, None, dict[str, Any] | None]:
    """What KMS says of any key; returns its description, None where that may not be seen."""
    try:
        metadata: dict[str, Any] = field(kms.call("describe_key"), "KeyMetadata", dict)
    except Forbidden as exc:
        yield KeyFinding(f"{which} is as it should be", "unknown", str(exc), exc.hint)
        return None
    state = str(metadata.get("KeyState"))
    yield _compare(
        f"{which} is enabled",
        state,
        "Enabled",
        "aws kms enable-key; where it waits for its deletion, cancel that",
    )
    manager = str(metadata.get("KeyManager"))
    yield _compare(
        f"{which} is yours", manager, "CUSTOMER", "make a key: nobody can set the policy of one of AWS"
    )
    source = str(metadata.get("Origin"))
    if source in {"AWS_KMS", "AWS_CLOUDHSM"}:
        yield KeyFinding(f"{which} was made in KMS", "good", source)
    else:
        yield KeyFinding(
            f"{which} was made in KMS",
            "unknown",
            f"its material comes from elsewhere ({source}): who else holds it cannot be seen here",
            "make one with --origin AWS_KMS",
        )
    return metadata


def _rotation(kms: Kms) -> KeyFinding:
    topic = "epoch key is rotated"
    try:
        answer = kms.call("get_key_rotation_status")
    except Forbidden as exc:
        return KeyFinding(topic, "unknown", str(exc), exc.hint)
    except (Denied, Unavailable):
        raise
    except BackendError as exc:
        return KeyFinding(topic, "unknown", str(exc), exc.hint)
    if answer.get("KeyRotationEnabled"):
        return KeyFinding(topic, "good", f"every {answer.get('RotationPeriodInDays', 365)} days")
    return KeyFinding(
        topic, "good", "not by itself, which is for your rules to say", "aws kms enable-key-rotation"
    )


def _no_grant(kms: Kms, metadata: Mapping[str, Any] | None, operation: str) -> KeyFinding:
    """Whoever may make grants gives somebody, or itself, what the policy withholds."""
    account = (metadata or {}).get("AWSAccountId")
    if account is None:
        return KeyFinding("agent may not make grants", "unknown", "the account of the key is not known")
    partition = str(metadata["Arn"]).split(":")[1] if metadata else "aws"
    principal = f"arn:{partition}:iam::{account}:root"
    return _refused(
        kms, "make grants", "create_grant", GranteePrincipal=principal, Operations=[operation], DryRun=True
    )


def _refused(kms: Kms, verb: str, operation: str, **parameters: object) -> KeyFinding:
    """The finding about a call that must be refused for want of permission, and for no other reason."""
    topic = f"agent may not {verb}"
    try:
        kms.call(operation, **parameters)
    except Forbidden as exc:
        return KeyFinding(topic, "good", str(exc))
    except WouldServe:
        pass
    except (Denied, Unavailable):
        raise
    except (BackendError, ConfigError) as exc:
        return KeyFinding(topic, "unknown", str(exc), exc.hint)
    return KeyFinding(topic, "wrong", f"KMS serves {operation} to this credential", _DENY)


def _compare(topic: str, found: object, wanted: str, hint: str) -> KeyFinding:
    if found == wanted:
        return KeyFinding(topic, "good", wanted)
    return KeyFinding(topic, "wrong", f"{found} instead of {wanted}", hint)
