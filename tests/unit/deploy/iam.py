"""How AWS decides about a call to a KMS key, as far as the policies here use it; what they do not is refused.

IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Key policies": an explicit deny anywhere
wins. Else the key's policy must allow: the caller itself, or the caller's account, which hands the decision
on to the caller's own policies. What nobody allows is refused.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One call: who, what, on which key, and the condition keys that come with it."""

    who: str
    action: str
    key: str
    context: Mapping[str, str] = field(default_factory=dict)


def is_allowed(call: Call, key_policy: Policy, own_policy: Policy) -> bool:
    """Whether KMS would serve the call."""
    in_key = [item for item in key_policy["Statement"] if _fits(item, call)]
    own = [item for item in own_policy["Statement"] if _fits(item, call)]
    if any(item["Effect"] == "Deny" and _names(item, call.who) for item in in_key):
        return False
    if any(item["Effect"] == "Deny" for item in own):
        return False
    allowing = [item for item in in_key if item["Effect"] == "Allow"]
    if any(_names(item, call.who) for item in allowing):
        return True
    account = ":".join([*call.who.split(":")[:5], "root"])
    handed_on = any(_names(item, account) for item in allowing)
    return handed_on and any(item["Effect"] == "Allow" for item in own)


def _names(statement: Policy, who: str) -> bool:
    principal = statement["Principal"]
    return principal == "*" or who in _many(principal["AWS"]) or "*" in _many(principal["AWS"])


def _fits(statement: Policy, call: Call) -> bool:
    known = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert not set(statement) - known, statement
    actions = any(fnmatch.fnmatchcase(call.action, pattern) for pattern in _many(statement["Action"]))
    keys = any(fnmatch.fnmatchcase(call.key, pattern) for pattern in _many(statement["Resource"]))
    conditions = statement.get("Condition", {})
    return actions and keys and all(_holds(name, tests, call.context) for name, tests in conditions.items())


def _holds(operator: str, tests: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    # Of several keys and operators all must hold; of several values one.
    for key, wanted in tests.items():
        value = context.get(key)
        if operator == "StringEquals":
            holds = value is not None and value in _many(wanted)
        elif operator == "StringLike":
            holds = value is not None and any(fnmatch.fnmatchcase(value, text) for text in _many(wanted))
        elif operator == "ArnNotEquals":
            # A negated operator holds for a key that is not there.
            holds = value is None or value not in _many(wanted)
        elif operator == "Null":
            holds = (value is None) == (wanted == "true")
        else:
            raise AssertionError(f"an operator that is not known here: {operator}")
        if not holds:
            return False
    return True


def _many(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
