"""What `epochseal doctor` looks at in an agent's token (see `epochseal.examiner.Examiner`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pkcs11 import Attribute, Mechanism, TokenFlag
from pkcs11 import exceptions as errors

from epochseal.examiner import KeyFinding, Outcome, probe_context
from epochseal.keys import SECRET_SIZE, KeyURI
from epochseal_backends.pkcs11.key_objects import ED25519, PublicHalf, private_handles, text_of
from epochseal_backends.pkcs11.session import (
    Connection,
    connect,
    find_token,
    module_path,
    names_pin,
    token_name,
    translated,
)
from epochseal_backends.pkcs11.signing import signer
from epochseal_backends.pkcs11.uri import Pkcs11URI, parse_pkcs11_uri
from epochseal_backends.pkcs11.wrapping import issuer

PROBE = b"epochseal doctor: a signature over this text shows that signing works, and is no checkpoint\n"
_OTHER_USES = {
    "CKA_DERIVE": Attribute.DERIVE,
    "CKA_DECRYPT": Attribute.DECRYPT,
    "CKA_UNWRAP": Attribute.UNWRAP,
}
_MAKE_AGAIN = "make the pair in the token, with deploy/pkcs11/provision.sh or the vendor's tool"


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """The token and its PIN, the public wrapping key, issuing, and that the private half is not there.

    Raises:
        Denied, Unavailable, ConfigError: no more can be looked at.
    """
    name = parse_pkcs11_uri(uri.rest)
    yield _pin(name, settings)
    epoch_issuer = issuer(uri, settings)
    key, connection = epoch_issuer.key, epoch_issuer.connection
    yield _seen("public wrapping key", good=True, detail=f"{key.curve}, {key} in {connection.name}")
    issued = epoch_issuer.issue(probe_context(origin), memoryview(bytearray(SECRET_SIZE)))
    yield _seen(
        "agent can issue", good=True, detail=f"with random bytes of the token, key id {issued.key_id}"
    )
    yield _no_private_half(name, settings, key)


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """The private signing key: where it is, what may be done with it, and that it signs.

    Raises:
        Denied, Unavailable, ConfigError: no more can be looked at.
    """
    name = parse_pkcs11_uri(uri.rest)
    yield _pin(name, settings)
    checkpoint_signer = signer(uri, settings)
    connection = checkpoint_signer.connection
    private, half = checkpoint_signer.key.handle, checkpoint_signer.key.public
    yield _mechanism(half, connection)
    checkpoint_signer.sign(PROBE)
    yield _seen("agent can sign", good=True, detail=f"{half.curve}, {half} in {connection.name}")
    with translated(f"read the attributes of {half} in {connection.name}"):
        yield _attribute(private, "is sensitive", Attribute.SENSITIVE, wanted=True)
        yield _attribute(private, "is not extractable", Attribute.EXTRACTABLE, wanted=False)
        # Whether there is a copy cannot be seen, and a key that was imported on purpose is no fault.
        yield _attribute(
            private, "was never extractable", Attribute.NEVER_EXTRACTABLE, wanted=True, else_="unknown"
        )
        others = [use for use, attribute in _OTHER_USES.items() if _read(private, attribute)]
    yield _seen(
        "checkpoint key has no other use",
        good=not others,
        detail=f"it may also {', '.join(others)}" if others else "it may only sign",
        hint=_MAKE_AGAIN,
    )


def _pin(name: Pkcs11URI, settings: Mapping[str, str]) -> KeyFinding:
    # Looked at before any login: a login with the right PIN resets the count of wrong ones.
    token = find_token(module_path(name, settings), name)
    states = {
        TokenFlag.USER_PIN_LOCKED: "it is locked",
        TokenFlag.USER_PIN_FINAL_TRY: "the next wrong PIN locks it",
        TokenFlag.USER_PIN_COUNT_LOW: "a wrong PIN was given since the last right one",
        TokenFlag.USER_PIN_TO_BE_CHANGED: "it still is the one that the token came with",
    }
    bad = [text for flag, text in states.items() if token.flags & flag]
    detail = f"{token_name(token)}: {', '.join(bad) or 'no wrong PIN since the last right one'}"
    return _seen("PIN of the token", good=not bad, detail=detail, hint="see who else logs in with which PIN")


def _no_private_half(name: Pkcs11URI, settings: Mapping[str, str], key: PublicHalf) -> KeyFinding:
    topic = "agent cannot recover"
    connection = connect(name, settings, login=names_pin(name, settings))
    if not connection.logged_in:
        return KeyFinding(
            topic, "unknown", "private keys are not seen without a PIN", "configure the agent's PIN"
        )
    suspects = private_handles(connection, name)
    # The private half may lie here under another label: it still has the id of its public half, and may
    # derive.
    for handle in private_handles(connection, Pkcs11URI(id=key.id)):
        if _read(handle, Attribute.DERIVE) and handle not in suspects:
            suspects.append(handle)
    texts = sorted({text_of(handle) for handle in suspects})
    return _seen(
        topic,
        good=not texts,
        detail=f"{connection.name} holds the private key {', '.join(texts)}"
        if texts
        else f"no private wrapping key in {connection.name}",
        hint="keep the private wrapping key in the verifier's token alone, and rotate it: the agent had it",
    )


def _mechanism(half: PublicHalf, connection: Connection) -> KeyFinding:
    wanted = Mechanism.EDDSA if half.curve == ED25519 else Mechanism.ECDSA
    with translated(f"list the mechanisms of {connection.name}"):
        there = wanted in connection.token.slot.get_mechanisms()
    return _seen(
        "token has the mechanism",
        good=there,
        detail=f"CKM_{wanted.name} {'is' if there else 'is not'} among those of {connection.name}",
        hint="use a checkpoint key of the other kind: Ed25519 needs CKM_EDDSA, P-256 needs CKM_ECDSA",
    )


def _attribute(
    private: Any,  # noqa: ANN401  # the library makes a class for each object
    what: str,
    attribute: Attribute,
    *,
    wanted: bool,
    else_: Outcome = "wrong",
) -> KeyFinding:
    value = _read(private, attribute)
    topic, detail = f"checkpoint key {what}", f"CKA_{attribute.name} is {str(value).lower()}"
    if value is None:
        return KeyFinding(topic, "unknown", f"the token does not tell CKA_{attribute.name}", None)
    return (
        KeyFinding(topic, "good", detail)
        if value == wanted
        else KeyFinding(topic, else_, detail, _MAKE_AGAIN)
    )


def _read(private: Any, attribute: Attribute) -> bool | None:  # noqa: ANN401  # the library makes a class for each object
    try:
        return bool(private[attribute])
    except errors.AttributeTypeInvalid:
        return None


def _seen(topic: str, *, good: bool, detail: str, hint: str | None = None) -> KeyFinding:
    return KeyFinding(topic, "good", detail) if good else KeyFinding(topic, "wrong", detail, hint)
