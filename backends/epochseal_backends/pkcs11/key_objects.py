"""The key objects of a token: found by label and id, their curves, and which of several is meant.

The two halves of a pair have one CKA_ID and one CKA_LABEL, as every tool makes them. Several pairs under one
label are the generations of a key: their ids, all of one length of at most 8 bytes, are counters (01, 02, …),
and the highest is the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pkcs11 import Attribute, ObjectClass
from pkcs11 import exceptions as errors

from epochseal.errors import ConfigError, Denied
from epochseal_backends.pkcs11.session import Connection, translated
from epochseal_backends.pkcs11.uri import Pkcs11URI

P256, X25519, ED25519 = "P-256", "X25519", "Ed25519"
# CKA_EC_PARAMS: object identifiers (RFC 5480, RFC 8410, older ones of GnuPG), or names (PKCS#11 v3.0, 2.3).
_CURVES = {
    bytes.fromhex("06082a8648ce3d030107"): P256,
    b"\x13\x09secp256r1": P256,
    bytes.fromhex("06032b656e"): X25519,
    bytes.fromhex("060a2b060104019755010501"): X25519,
    b"\x13\x0acurve25519": X25519,
    bytes.fromhex("06032b6570"): ED25519,
    bytes.fromhex("06092b06010401da470f01"): ED25519,
    b"\x13\x0cedwards25519": ED25519,
}
_SIZES = {P256: 65, X25519: 32, ED25519: 32}
_COUNTER_SIZE = 8
_KINDS = {ObjectClass.PRIVATE_KEY: "private key", ObjectClass.PUBLIC_KEY: "public key"}


@dataclass(frozen=True, slots=True)
class PublicHalf:
    """A public key object.

    Args:
        label: its CKA_LABEL.
        id: its CKA_ID.
        curve: `P-256`, `X25519` or `Ed25519`.
        point: the uncompressed point of 65 bytes (SEC 1), or the 32 bytes of RFC 7748 and RFC 8032.
    """

    label: str
    id: bytes
    curve: str
    point: bytes

    def __str__(self) -> str:
        """Label and id, for messages."""
        return _text(self.label, self.id)


@dataclass(frozen=True, slots=True)
class PrivateHalf:
    """A private key object and its public half.

    Args:
        handle: the object of the library.
        public: the public half, from the object beside it.
    """

    handle: Any
    public: PublicHalf

    @property
    def id(self) -> bytes:
        """The CKA_ID of both halves."""
        return self.public.id


def public_halves(connection: Connection, uri: Pkcs11URI) -> list[PublicHalf]:
    """All public keys that `uri` names.

    Raises:
        ConfigError: one of them is no key of a known curve.
        Unavailable, BackendError: the token does not answer.
    """
    with translated(f"look for keys in {connection.name}"):
        return [_read_public(connection, handle) for handle in _find(connection, uri, ObjectClass.PUBLIC_KEY)]


def private_halves(connection: Connection, uri: Pkcs11URI) -> list[PrivateHalf]:
    """All private keys that `uri` names, each with its public half.

    Raises:
        ConfigError: a public half is missing, ambiguous or of no known curve.
        Unavailable, BackendError: the token does not answer.
    """
    with translated(f"look for keys in {connection.name}"):
        found = _find(connection, uri, ObjectClass.PRIVATE_KEY)
        return [PrivateHalf(handle, _public_half_of(connection, handle)) for handle in found]


def private_handles(connection: Connection, uri: Pkcs11URI) -> list[Any]:
    """All private key objects that `uri` names, whether or not their public halves are there."""
    with translated(f"look for keys in {connection.name}"):
        return _find(connection, uri, ObjectClass.PRIVATE_KEY)


def newest(halves: Sequence[PublicHalf], uri: Pkcs11URI, connection: Connection) -> PublicHalf:
    """The one with the highest id.

    Raises:
        ConfigError: the ids are no counters, or two keys share one.
    """
    return max(halves, key=lambda half: _counter(half.id, halves, uri, connection))


def oldest(halves: Sequence[PrivateHalf], uri: Pkcs11URI, connection: Connection) -> PrivateHalf:
    """The one with the lowest id: a newer one beside it does not change which key signs a log.

    Raises:
        ConfigError: the ids are no counters, or two keys share one.
    """
    return min(halves, key=lambda half: _counter(half.id, halves, uri, connection))


def absent(connection: Connection, uri: Pkcs11URI, kind: ObjectClass, may_not: str) -> Denied:
    """Why there is no such key: it is another role's token, or nobody has logged in."""
    message = f"{connection.name} holds no {_KINDS[kind]} {uri.key}: this role may not {may_not}"
    if kind == ObjectClass.PRIVATE_KEY and not connection.logged_in:
        return Denied(message, "private keys are seen with a PIN only, and none is configured")
    return Denied(message, f"it holds {_contents(connection)}")


def text_of(handle: Any) -> str:  # noqa: ANN401  # the library makes a class for each object
    """Label and id of an object, for messages."""
    return _text(handle[Attribute.LABEL], handle[Attribute.ID])


def _text(label: str, identifier: bytes) -> str:
    return f"{label!r} (id {identifier.hex() or 'empty'})"


def _find(connection: Connection, uri: Pkcs11URI, kind: ObjectClass) -> list[Any]:
    template: dict[Attribute, object] = {Attribute.CLASS: kind}
    if uri.object is not None:
        template[Attribute.LABEL] = uri.object
    if uri.id is not None:
        template[Attribute.ID] = uri.id
    # `list` reads the search to its end: one that is left open blocks the session.
    return list(connection.session.get_objects(template))


def _public_half_of(connection: Connection, private: Any) -> PublicHalf:  # noqa: ANN401  # as in text_of
    # By label and id: a wrapping key and a signing key often have the same id, such as 01.
    same = {attribute: private[attribute] for attribute in (Attribute.LABEL, Attribute.ID)}
    found = list(connection.session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY} | same))
    if len(found) != 1:
        what = "no public key" if not found else f"{len(found)} public keys"
        raise ConfigError(
            f"{connection.name} holds {what} for the private key {text_of(private)}",
            "store the public half as an object with the same CKA_ID and CKA_LABEL",
        )
    return _read_public(connection, found[0])


def _read_public(connection: Connection, handle: Any) -> PublicHalf:  # noqa: ANN401  # as in text_of
    try:
        params, encoded = handle[Attribute.EC_PARAMS], handle[Attribute.EC_POINT]
    except errors.AttributeTypeInvalid as exc:
        raise ConfigError(
            f"the key {text_of(handle)} of {connection.name} is no key on an elliptic curve"
        ) from exc
    curve = _CURVES.get(params)
    point = None if curve is None else _read_point(encoded, _SIZES[curve])
    if curve is None or point is None:
        raise ConfigError(
            f"the key {text_of(handle)} of {connection.name} is not on P-256, X25519 or Ed25519",
            "make a pair on one of these curves",
        )
    return PublicHalf(handle[Attribute.LABEL], handle[Attribute.ID], curve, point)


def _read_point(encoded: bytes, size: int) -> bytes | None:
    """CKA_EC_POINT: a DER OCTET STRING; some modules give the bytes bare or as a BIT STRING."""
    for head in (bytes((0x04, size)), b"", bytes((0x03, size + 1, 0))):
        if len(encoded) == len(head) + size and encoded.startswith(head):
            return encoded[len(head) :]
    return None


def _counter(
    identifier: bytes, halves: Sequence[PublicHalf | PrivateHalf], uri: Pkcs11URI, connection: Connection
) -> int:
    ids = [half.id for half in halves]
    sizes = {len(item) for item in ids}
    if len(ids) > 1 and (len(set(ids)) < len(ids) or len(sizes) > 1 or max(sizes) > _COUNTER_SIZE):
        listed = ", ".join(sorted(item.hex() or "empty" for item in ids))
        raise ConfigError(
            f"{connection.name} holds {len(ids)} keys {uri.key}, and their ids are no counters: {listed}",
            "name one in the URI by id=%XX, or give generations of a key the ids 01, 02, …",
        )
    return int.from_bytes(identifier, "big")


def _contents(connection: Connection) -> str:
    with translated(f"look into {connection.name}"):
        seen = [
            f"{name} {text_of(handle)}"
            for kind, name in _KINDS.items()
            for handle in connection.session.get_objects({Attribute.CLASS: kind})
        ]
    return ", ".join(sorted(seen)[:8]) or "no key that is seen"
