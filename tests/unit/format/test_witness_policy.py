"""Policies in the form of C2SP tlog-policy."""

from __future__ import annotations

import pytest

from epochseal.errors import ConfigError, VerificationError
from epochseal.format.cosignature import WitnessKey
from epochseal.format.witness_policy import Witness, parse_policy, threshold_policy

LOG = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
KEYS = {
    name: WitnessKey(f"witness.example/{name}", bytes([ord(name[0]), int(name[1])]) * 16)
    for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")
}
EXAMPLE = f"""
# two levels
log {LOG} https://log.example/
{chr(10).join(f"witness {name} {key.vkey}" for name, key in KEYS.items())}
  group X-witnesses 2 X1 X2\tX3
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        ("X1 X2 Y1", True),
        ("X2 X3 Y3", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("X1 X2", False),
        ("X1 Y1", False),
        ("Y1 Y2 Y3", False),
        ("", False),
    ],
)
def test_groups_of_groups(names: str, holds: bool) -> None:  # noqa: FBT001  # a column of the table
    """Two of X and one of Y: the example of the specification."""
    policy = parse_policy(EXAMPLE.encode())
    keys = [KEYS[name] for name in names.split()]
    if holds:
        policy.check(keys)
        return
    with pytest.raises(VerificationError, match="is not the quorum"):
        policy.check(keys)


def test_a_witness_alone_and_none() -> None:
    """The quorum may be one witness, or none at all."""
    one = parse_policy(f"witness w {KEYS['X1'].vkey} https://w.example/p\nquorum w\n".encode())
    one.check([KEYS["X1"]])
    with pytest.raises(VerificationError):
        one.check([KEYS["X2"]])
    assert one.witnesses["w"].url == "https://w.example/p"
    parse_policy(b"quorum none\n").check([])


def test_names_are_octets() -> None:
    """A name that is no UTF-8 is a name as any other."""
    vkey = KEYS["X1"].vkey.encode()
    parse_policy(b"witness \xff\xe2 " + vkey + b"\nquorum \xff\xe2\n").check([KEYS["X1"]])


X1 = f"witness X1 {KEYS['X1'].vkey}\n"
X2 = f"witness X2 {KEYS['X2'].vkey}\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no quorum line"),
        (X1, "no quorum line"),
        ("quorum X1\n", "not defined above"),
        (X1 + "quorum X1", "does not end in a newline"),
        (X1 + "quorum X1\nquorum X1\n", "second quorum"),
        (X1 + X1, "name X1 is taken"),
        (X1 + X1.replace("X1 ", "X9 ", 1), "there already"),
        (X1 + "group X1 any X1\n", "name X1 is taken"),
        (X1.replace("X1 ", "none ", 1), "name none is taken"),
        (X1 + "group g 2 X1\n", "asks for 2 of 1"),
        (X1 + "group g 0 X1\n", "asks for 0"),
        (X1 + "group g 01 X1\n", "asks for 01"),
        ("group g any\n", "begins no line|asks for any of 0"),
        (X1 + "group g all X1 X1\n", "only once"),
        (X1 + X2 + "group g any X1\ngroup h any X1 X2\n", "only once"),
        (X1 + "group g any none\n", "none is not defined"),
        ("group g any g\n", "not defined above"),
        (f"log {LOG}\nlog {LOG}\n", "there already"),
        (f"log {KEYS['X1'].vkey}\n", "0x04"),
        (f"witness w {LOG}\n", "0x01"),
        ("quorum\n", "begins no line"),
        ("quorum none extra\n", "begins no line"),
        ("wittness X\n", "line 1 of the policy"),
        (X1 + "\x00\n", "line 2 of the policy"),
        (X1 + "quorum X1\r\n", "control"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, match: str) -> None:
    """Each rule of the specification, broken alone."""
    with pytest.raises(ConfigError, match=match):
        parse_policy(text.encode())


def test_a_count_of_witnesses() -> None:
    """The quorum of a configuration file: so many of these, each once."""
    witnesses = [Witness(name, KEYS[name]) for name in ("X1", "X2", "X3")]
    threshold_policy(witnesses, 2).check([KEYS["X1"], KEYS["X3"]])
    with pytest.raises(VerificationError):
        threshold_policy(witnesses, 2).check([KEYS["X1"], KEYS["Y1"]])
    for count in (0, 4):
        with pytest.raises(ConfigError):
            threshold_policy(witnesses, count)
    with pytest.raises(ConfigError):
        threshold_policy([*witnesses, Witness("again", KEYS["X1"])], 1)
