"""CloudTrail files for a log: events with the fields and in the form that AWS documents.

AWS KMS Developer Guide, "Logging AWS KMS API calls with AWS CloudTrail": the examples of `GenerateDataKey`
(docs.aws.amazon.com/kms/latest/developerguide/ct-generatedatakey.html), `Decrypt` (ct-decrypt.html) and
`Sign` (ct-sign.html). Files: CloudTrail User Guide, "CloudTrail log file examples": one object, `Records`.
"""

from __future__ import annotations

import gzip
import json
import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epochseal.format.seal_lines import Header
from epochseal.trail import read_sealed

ACCOUNT, REGION = "111122223333", "eu-central-1"
EPOCH_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CHECKPOINT_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0987dcba-09fe-87dc-65ba-ab0987654321"
AGENT = f"arn:aws:sts::{ACCOUNT}:assumed-role/epochseal-agent/host"
VERIFIER = f"arn:aws:sts::{ACCOUNT}:assumed-role/epochseal-verifier/audit"
Event = dict[str, Any]


def event(name: str, time: int, who: str = AGENT, **parameters: object) -> Event:
    """One event; `time` in ms, of which CloudTrail keeps the seconds."""
    key = CHECKPOINT_KEY if name == "Sign" else EPOCH_KEY
    return {
        "eventVersion": "1.11",
        "userIdentity": {"type": "AssumedRole", "principalId": "EXAMPLE", "arn": who, "accountId": ACCOUNT},
        "eventTime": datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "Boto3",
        "requestParameters": {"keyId": key, **parameters},
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": True,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }


def issue(
    header: Header, time: int, *, tag: str | None = None, who: str = AGENT, epoch: int | None = None
) -> Event:
    """The call that gave this epoch line its secret, or one like it."""
    context = {
        "origin": header.origin,
        "log": header.log,
        "epoch": str(header.epoch if epoch is None else epoch),
        "prev": header.asked.tag if tag is None else tag,
    }
    return event("GenerateDataKey", time, who, keySpec="AES_256", encryptionContext=context)


def recover(header: Header, time: int, who: str = VERIFIER) -> Event:
    """A verifier's call for this epoch line."""
    context = issue(header, time)["requestParameters"]["encryptionContext"]
    return event("Decrypt", time, who, encryptionAlgorithm="SYMMETRIC_DEFAULT", encryptionContext=context)


def sign(time: int, who: str = AGENT) -> Event:
    """A signature of a checkpoint; what was signed is not shown."""
    return event("Sign", time, who, messageType="RAW", signingAlgorithm="ECDSA_SHA_256")


def refused(of: Event, code: str = "AccessDenied") -> Event:
    """The same call, denied."""
    return {
        **of,
        "errorCode": code,
        "errorMessage": "User is not authorized to perform it",
        "eventID": str(uuid.uuid4()),
    }


def foreign(time: int) -> Event:
    """An event of another service."""
    return {**event("AssumeRole", time), "eventSource": "sts.amazonaws.com", "resources": None}


def honest(logdir: Path) -> list[Event]:
    """What an honest agent leaves, but for the signature of a close: three events for each epoch.

    An issue call five seconds before it, and a signature: of the line that announces it, three seconds
    before, or of its own line, two seconds after.
    """
    events: list[Event] = []
    sealed = read_sealed(logdir)
    for header in sealed.headers:
        signed = header.time + (2000 if header.tree.size + 1 in sealed.owed else -3000)
        events += [foreign(header.time - 7000), issue(header, header.time - 5000), sign(signed)]
    return [*events, foreign(sealed.headers[-1].time + 9000)]


def deliver(folder: Path, events: Iterable[Event], files: int = 3, *, seed: int = 1) -> list[Path]:
    """Write the events to so many files of two regions, out of order, as CloudTrail delivers them."""
    folder.mkdir(parents=True, exist_ok=True)
    rand = random.Random(seed)
    parts: list[list[Event]] = [[] for _ in range(files)]
    for item in events:
        rand.choice(parts).append(item)
    paths = []
    for number, part in enumerate(parts):
        rand.shuffle(part)
        region = REGION if number % 2 else "us-east-1"
        path = (
            folder
            / f"{ACCOUNT}_CloudTrail_{region}_20260101T{number:04d}Z_{rand.getrandbits(64):016x}.json.gz"
        )
        path.write_bytes(gzip.compress(json.dumps({"Records": part}).encode(), 1))
        paths.append(path)
    return paths
