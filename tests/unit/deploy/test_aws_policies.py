"""deploy/aws: what each role may do with each key and what it may not; and the Terraform fits together."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest

from epochseal.keys import Context
from tests.unit.deploy.iam import Call, is_allowed

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "aws"
ACCOUNT = "111122223333"
ORIGIN = "example.com/payments"
ROLES = {name: f"arn:aws:iam::{ACCOUNT}:role/audit-{name}" for name in ("agent", "verifier", "auditor")}
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/administrators"
STRANGER = f"arn:aws:iam::{ACCOUNT}:role/stranger"
KEYS = {name: f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{name}" for name in ("epoch", "checkpoint")}
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
NOTHING: dict[str, Any] = {"Statement": []}
_SIGNING = {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "RAW"}
_VALUES = {
    "administrators": json.dumps([ADMINISTRATOR]),
    "principals": json.dumps([STRANGER]),
    "origin": ORIGIN,
    "epoch_key": KEYS["epoch"],
    "checkpoint_key": KEYS["checkpoint"],
    **ROLES,
}


def policy(name: str) -> Any:  # noqa: ANN401  # JSON
    """A template as Terraform's `templatefile` fills it in."""
    text = (FOLDER / "policies" / f"{name}.json.tftpl").read_text(encoding="utf-8")
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda match: _VALUES[match[1]], text))


def context(origin: str = ORIGIN) -> dict[str, str]:
    """The condition keys of a call with the context that the agent sends."""
    fields = Context(origin, bytes(32), 7, bytes(32)).fields()
    return {f"kms:EncryptionContext:{name}": value for name, value in fields.items()}


def allowed(
    who: str, action: str, key: str, given: dict[str, str] | None = None, *, own: dict[str, Any] | None = None
) -> bool:
    """Whether a role's call is served, with its shipped policy or another one."""
    arn = ROLES.get(who, who)
    if own is None:
        own = policy(who) if who in ROLES else NOTHING
    call = Call(arn, f"kms:{action}", KEYS[key], {"aws:PrincipalArn": arn, **(given or {})})
    return is_allowed(call, policy(f"{key}-key"), own)


MAY = [
    ("agent", "GenerateDataKey", "epoch", context()),
    ("agent", "DescribeKey", "epoch", {}),
    ("agent", "GetKeyRotationStatus", "epoch", {}),
    ("agent", "Sign", "checkpoint", _SIGNING),
    ("agent", "GetPublicKey", "checkpoint", {}),
    ("agent", "DescribeKey", "checkpoint", {}),
    ("verifier", "Decrypt", "epoch", context()),
    ("verifier", "DescribeKey", "epoch", {}),
    ("verifier", "GetPublicKey", "checkpoint", {}),
    ("auditor", "GetPublicKey", "checkpoint", {}),
    (ADMINISTRATOR, "PutKeyPolicy", "epoch", {}),
    (ADMINISTRATOR, "RotateKeyOnDemand", "epoch", {}),
    (ADMINISTRATOR, "ScheduleKeyDeletion", "checkpoint", {}),
]


@pytest.mark.parametrize(("who", "action", "key", "given"), MAY)
def test_may(who: str, action: str, key: str, given: dict[str, str]) -> None:
    """What each role is there for is served."""
    assert allowed(who, action, key, given)


CRYPTOGRAPHY = {
    "epoch": [
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "Encrypt",
        "Decrypt",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
    ],
    "checkpoint": ["Sign", "CreateGrant"],
}
ADMINISTRATION = ["PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey", "EnableKeyRotation", "UpdateAlias"]
_GOOD = {(ROLES.get(who, who), action, key) for who, action, key, _ in MAY}


@pytest.mark.parametrize("who", [*ROLES, ADMINISTRATOR, STRANGER])
def test_may_not(who: str) -> None:
    """No other call that uses or administers a key is served, even if IAM allows the role everything."""
    arn = ROLES.get(who, who)
    tried = 0
    for key, actions in CRYPTOGRAPHY.items():
        for action in actions + (ADMINISTRATION if who != ADMINISTRATOR else []):
            if (arn, action, key) in _GOOD:
                continue
            tried += 1
            for own in (None, EVERYTHING):
                assert not allowed(who, action, key, {**context(), **_SIGNING}, own=own), (action, key)
    assert tried >= 8


@pytest.mark.parametrize(
    "given",
    [{}, context("example.com/other"), {"kms:EncryptionContext:origin": ORIGIN}],
    ids=["no context", "another log", "not all of it"],
)
def test_context_binds_the_agent(given: dict[str, str]) -> None:
    """A secret is issued for the agent's own log and with the whole context, or not at all."""
    assert not allowed("agent", "GenerateDataKey", "epoch", given)
    assert not allowed("agent", "GenerateDataKey", "epoch", given, own=EVERYTHING)


def test_context_binds_the_verifier() -> None:
    """Secrets of another log are not recovered with this one's role."""
    assert not allowed("verifier", "Decrypt", "epoch", context("example.com/other"), own=EVERYTHING)


@pytest.mark.parametrize(
    "changed", [{"kms:MessageType": "DIGEST"}, {"kms:SigningAlgorithm": "ECDSA_SHA_512"}]
)
def test_one_way_to_sign(changed: dict[str, str]) -> None:
    """Signatures are over a message and with SHA-256, or refused."""
    assert not allowed("agent", "Sign", "checkpoint", {**_SIGNING, **changed})


@pytest.mark.parametrize("sid", ["NobodyElseRecovers", "AgentHasSecretsIssuedForItsOwnLog"])
def test_the_evaluation_notices_a_wider_policy(sid: str) -> None:
    """Without a deny, or a condition, a call that must be refused is served: the tests above can fail."""
    wide = copy.deepcopy(policy("epoch-key"))
    place = next(number for number, item in enumerate(wide["Statement"]) if item["Sid"] == sid)
    if wide["Statement"][place]["Effect"] == "Deny":
        wide["Statement"][place] = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
        call = Call(STRANGER, "kms:Decrypt", KEYS["epoch"], {"aws:PrincipalArn": STRANGER, **context()})
        assert is_allowed(call, wide, EVERYTHING)
        assert not is_allowed(call, wide, NOTHING)
    else:
        del wide["Statement"][place]["Condition"]
        arn = ROLES["agent"]
        call = Call(arn, "kms:GenerateDataKey", KEYS["epoch"], {"aws:PrincipalArn": arn})
        assert is_allowed(call, wide, NOTHING)


def test_every_statement_has_a_name_and_known_actions() -> None:
    """A misspelt action allows or denies nothing: each is one that KMS has."""
    known = {
        *CRYPTOGRAPHY["epoch"],
        *CRYPTOGRAPHY["checkpoint"],
        *ADMINISTRATION,
        "ReEncrypt*",
        "GenerateDataKey*",
        "GenerateDataKeyPair*",
        "GenerateDataKeyPairWithoutPlaintext",
        "DescribeKey",
        "GetKeyPolicy",
        "ListResourceTags",
        "TagResource",
        "UntagResource",
        "UpdateKeyDescription",
        "CreateAlias",
        "DeleteAlias",
        "DisableKeyRotation",
        "GetKeyRotationStatus",
        "RotateKeyOnDemand",
        "ListKeyRotations",
        "EnableKey",
        "CancelKeyDeletion",
        "GetPublicKey",
    }
    for name in ("epoch-key", "checkpoint-key", "agent", "verifier", "auditor"):
        for statement in policy(name)["Statement"]:
            assert statement["Sid"].isalnum()
            actions = statement["Action"]
            names = {actions} if isinstance(actions, str) else set(actions)
            assert {name.removeprefix("kms:") for name in names} <= known
    assert policy("trust")["Statement"][0]["Action"] == "sts:AssumeRole"


def test_terraform_fits_together() -> None:
    """Each file parses; each variable, local and template that is named is there, with all its values."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.tf")))
    parsed = [hcl2.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.tf"))]
    assert len(parsed) == 4
    declared = {name.strip('"') for item in parsed for block in item.get("variable", []) for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    known = {name for item in parsed for block in item.get("locals", []) for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= known
    named = set(re.findall(r"policies/([\w-]+)\.json\.tftpl", text))
    assert named == {"trust", "epoch-key", "checkpoint-key"}
    assert {path.name.partition(".")[0] for path in (FOLDER / "policies").iterdir()} == named | set(ROLES)
    for block, names in (
        ("key_policy_values", ("epoch-key", "checkpoint-key")),
        ("role_policy_values", tuple(ROLES)),
    ):
        given = set(
            re.findall(
                r"^    (\w+)\s+=", text.partition(f"{block} = {{")[2].partition("\n  }")[0], re.MULTILINE
            )
        )
        for name in names:
            wanted = re.findall(r"\$\{(\w+)\}", (FOLDER / "policies" / f"{name}.json.tftpl").read_text())
            assert set(wanted) <= given, name
