"""The short names of keys in the tables of `inspect`: no two keys look alike."""

from __future__ import annotations

import pytest

from epochseal.cli.inspect import _short_keys


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (["file:0123456789abcdef"], ["01234567"]),
        (["file:0123456789abcdef", "file:01234567ffff"], ["012345678", "01234567f"]),
        (["vault:v1:transit/example-epoch", "vault:v1:transit/example-next"], ["example-e", "example-n"]),
        (["vault:v1:transit/epoch", "vault:v2:transit/epoch"], ["v1:trans", "v2:trans"]),
        (["arn:aws:kms:eu-west-1:1:key/1234abcd-12ab"], ["1234abcd"]),
        ([], []),
    ],
)
def test_short_keys(keys: list[str], shown: list[str]) -> None:
    """Eight characters of the last part, and as many more as it takes."""
    assert list(_short_keys(keys).values()) == shown
