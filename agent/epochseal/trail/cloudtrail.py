"""CloudTrail files as they lie in S3: `{"Records":[…]}`, gzipped or not, of any account, in any order.

The form of the events: AWS KMS Developer Guide, "GenerateDataKey", "Decrypt" and "Sign" under "Logging AWS
KMS API calls with AWS CloudTrail", and CloudTrail User Guide, "CloudTrail record contents". KMS shows the
encryption context in plain under `requestParameters`; times have whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from epochseal.encoding import UNREADABLE, parse_decimal
from epochseal.errors import FormatError
from epochseal.trail.events import SECOND, AddCall, Call, Operation, TrailContext, parse_time

RESOLUTION = SECOND
_OPERATIONS: dict[str, Operation] = {
    "GenerateDataKey": "issue",
    "GenerateDataKeyWithoutPlaintext": "issue",
    "Decrypt": "recover",
    "ReEncrypt": "recover",
    "Sign": "sign",
    "Encrypt": "wrap",
    # Who may use the key, for how long it is there, and whose key material it is.
    **dict.fromkeys(
        (
            "CancelKeyDeletion",
            "CreateGrant",
            "DeleteImportedKeyMaterial",
            "DisableKey",
            "EnableKey",
            "ImportKeyMaterial",
            "PutKeyPolicy",
            "ReplicateKey",
            "ScheduleKeyDeletion",
        ),
        "change",
    ),
}
# Changes of any trail of the account: the files do not say which trail wrote them.
_RECORDING = frozenset(
    {"CreateTrail", "DeleteTrail", "PutEventSelectors", "StartLogging", "StopLogging", "UpdateTrail"}
)
_KEY = re.compile(r"arn:[\w-]+:kms:[\w-]+:\d+:key/[\w-]+")


class _Identity(msgspec.Struct):
    arn: str = ""
    principalId: str = ""  # noqa: N815  # CloudTrail's own names
    invokedBy: str = ""  # noqa: N815  # as above


class _Resource(msgspec.Struct):
    ARN: str = ""


class _Record(msgspec.Struct):
    """The fields that are looked at; an event of another service has them too, or has them empty."""

    eventTime: str  # noqa: N815  # as above
    eventSource: str  # noqa: N815  # as above
    eventName: str  # noqa: N815  # as above
    eventID: str  # noqa: N815  # as above
    userIdentity: _Identity = msgspec.field(default_factory=_Identity)  # noqa: N815  # as above
    requestParameters: dict[str, Any] | None = None  # noqa: N815  # as above
    resources: list[_Resource] | None = None
    errorCode: str = ""  # noqa: N815  # as above
    errorMessage: str = ""  # noqa: N815  # as above


class _File(msgspec.Struct):
    Records: list[_Record]


_decoder = msgspec.json.Decoder(_File)


def read_cloudtrail(content: bytes, add_call: AddCall, saw: Callable[[int], None]) -> None:
    """Hand on the calls of KMS in one file; `saw` is told the time of every event.

    Raises:
        FormatError: not such a file.
    """
    try:
        records = _decoder.decode(content).Records
    except UNREADABLE as exc:
        raise FormatError(f"not a CloudTrail file: {exc}") from exc
    for record in records:
        time = parse_time(record.eventTime)
        saw(time)
        if record.eventSource == "cloudtrail.amazonaws.com" and record.eventName in _RECORDING:
            add_call(_recording(record, time))
        operation = _OPERATIONS.get(record.eventName)
        if record.eventSource == "kms.amazonaws.com" and operation is not None:
            add_call(_call(record, operation, time))
            target = (record.requestParameters or {}).get("destinationEncryptionContext")
            if operation == "recover" and target is not None:
                # ReEncrypt opens a ciphertext and wraps it under another context: the caller may have chosen
                # what is in it, as with Encrypt.
                add_call(replace(_call(record, "wrap", time), context=_context(target)))


def _recording(record: _Record, time: int) -> Call:
    parameters = record.requestParameters or {}
    trail = str(parameters.get("name") or parameters.get("trailName") or "a trail")
    refused = _refused(record)
    return Call("record", time, _who(record), trail, record.eventID, refused=refused, detail=record.eventName)


def _call(record: _Record, operation: Operation, time: int) -> Call:
    parameters = record.requestParameters or {}
    named = next((item.ARN for item in record.resources or () if _KEY.fullmatch(item.ARN)), "")
    # ReEncrypt names two contexts: what was opened is that of the old ciphertext.
    context = parameters.get("encryptionContext") or parameters.get("sourceEncryptionContext")
    return Call(
        operation=operation,
        at=time,
        who=_who(record),
        key=named or str(parameters.get("keyId", "")),
        id=record.eventID,
        context=_context(context),
        refused=_refused(record),
        detail=record.eventName if operation == "change" else "",
    )


def _who(record: _Record) -> str:
    identity = record.userIdentity
    return identity.arn or identity.invokedBy or identity.principalId


def _refused(record: _Record) -> str:
    return f"{record.errorCode}: {record.errorMessage}".strip(": ") if record.errorCode else ""


def _context(context: object) -> TrailContext | None:
    """The context of an epoch secret; None for any other."""
    if not isinstance(context, dict) or set(context) != {"origin", "log", "epoch", "prev"}:
        return None
    if not all(isinstance(value, str) for value in context.values()):
        return None
    try:
        epoch = parse_decimal(context["epoch"], "epoch")
    except FormatError:
        return None
    return TrailContext(context["origin"], context["log"], epoch, context["prev"])
