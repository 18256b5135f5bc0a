from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.errors import ConfigError
from epochseal.units import format_duration, format_size, parse_duration, parse_size

SIZES = {
    "0": 0,
    "4096": 4096,
    "4096B": 4096,
    "64KiB": 65_536,
    "64 KiB": 65_536,
    "1.5GB": 1_500_000_000,
    "0.5KiB": 512,
    "1TiB": 1 << 40,
    " 2MB ": 2_000_000,
}
DURATIONS = {"50ms": 50, "0ms": 0, "1s": 1000, "10m": 600_000, "1.5h": 5_400_000, "90d": 7_776_000_000}
BAD = ["", " ", "x", "-1s", "+1s", "1e3s", "1_000s", "1.s", ".5s", "1..5s", "1,5s", "1ss", "1 s s", "٣s", "s"]


@pytest.mark.parametrize("text", SIZES)
def test_sizes(text: str) -> None:
    """A number and a unit are that many bytes; no unit means bytes."""
    assert parse_size(text) == SIZES[text]


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    """A number and a unit are that many milliseconds."""
    assert parse_duration(text) == DURATIONS[text]


@pytest.mark.parametrize("text", [*BAD, "64kib", "64K", "64 kb", "1s"])
def test_other_sizes_are_refused(text: str) -> None:
    """What is not a number and a known unit is refused, and shown with an example of what is."""
    with pytest.raises(ConfigError, match="is not a size") as caught:
        parse_size(text)
    assert caught.value.hint == "write a number and a unit, such as 64KiB or 100MB"


@pytest.mark.parametrize("text", [*BAD, "10", "10M", "10min", "1MB"])
def test_other_durations_are_refused(text: str) -> None:
    """A duration without a unit is refused: 10 could mean anything."""
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9999999999 GiB", "8589934592 GiB"])
def test_what_no_counter_holds_is_refused(text: str) -> None:
    """A size of 2**63 bytes or more is too large."""
    with pytest.raises(ConfigError, match="too large"):
        parse_size(text)


@given(st.text())
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    """Nothing but a configuration error comes out of text that is no size."""
    with contextlib.suppress(ConfigError):
        assert parse_size(text) >= 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (format_size(0), "0B"),
        (format_size(64 << 10), "64KiB"),
        (format_size((1 << 20) + 1), "1048577B"),
        (format_size(3 << 40), "3TiB"),
        (format_duration(0), "0s"),
        (format_duration(50), "50ms"),
        (format_duration(90_000), "90s"),
        (format_duration(7_776_000_000), "90d"),
    ],
)
def test_numbers_as_a_person_writes_them(written: str, text: str) -> None:
    """The largest unit that needs no fraction."""
    assert written == text


@given(st.integers(0, 10**12 - 1))
def test_what_is_written_is_read_again(number: int) -> None:
    """Both ways of writing lose nothing."""
    assert parse_size(format_size(number)) == number
    assert parse_duration(format_duration(number)) == number
