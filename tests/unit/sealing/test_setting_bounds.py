"""The bounds of the settings, as the configuration and the command line state them."""

from __future__ import annotations

import pytest

from epochseal.errors import ConfigError
from epochseal.sealing.setting_bounds import check_bounds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_bytes", 16 << 20),
        ("block_bytes", 1),
        ("max_entry_bytes", 256 << 20),
        ("max_overdue", 2000),
        ("retention", 0),
        ("commit_interval", 0),
        ("epoch_interval", 1),
    ],
)
def test_within(name: str, value: int) -> None:
    """The bounds themselves are allowed."""
    assert check_bounds(name, value) == value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("block_bytes", 10 << 30, "must be at most 16MiB"),
        ("block_bytes", 0, "must be more than 0"),
        ("max_entry_bytes", (256 << 20) + 1, "must be at most 256MiB"),
        ("max_overdue", 1999, "must be at least 2s"),
        ("keep", 0, "must be more than 0"),
    ],
)
def test_beyond(name: str, value: int, said: str) -> None:
    """What is beyond is refused, with the bound and the reason."""
    with pytest.raises(ConfigError, match=said) as caught:
        check_bounds(name, value)
    assert caught.value.hint
