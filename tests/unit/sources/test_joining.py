from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.format.escaping import unescape
from epochseal.sources.joining import QUIET_SECONDS
from epochseal.sources.records import ContainerFormat, ContainerLines, Rule, StartOfRecord
from tests.unit.sources.fed_stream import FedStream

START = StartOfRecord.of("[0-9]")


class _Fed(FedStream):
    """A stream with a rule."""

    def __init__(self, rule: Rule, block: int = 64, longest: int = 1000) -> None:
        super().__init__(block=block, longest=longest, on_long="skip", rule=rule)

    def entries(self) -> list[bytes]:
        """The records as they were written, each without its last newline."""
        return [unescape(line) for _, data in self.taken for line in data.split(b"\n")[:-1]]


def _holding(fed: _Fed) -> bool:
    return fed.source.holding


def _check(fed: _Fed, whole: bytes) -> None:
    """Nothing but whole escaped lines came, and all bytes come back, at their offsets."""
    back = b""
    for piece, data in fed.taken:
        assert piece.src.esc == 1
        assert data.count(b"\n") == piece.entries
        back += b"".join(unescape(line) + b"\n" for line in data.split(b"\n")[:-1])
        back = back[:-1] if piece.src.nolf else back
        assert piece.src.offset == len(back)
    assert back == whole


_lines = st.lists(
    st.sampled_from((b"1 begins", b"2", b"  goes on \\ \x1b", b"", b"at x", b"3" * 70)), max_size=25
)


@given(_lines, st.booleans(), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), max_size=12))
def test_records_come_back(lines: list[bytes], last: bool, cuts: list[tuple[int, int]]) -> None:  # noqa: FBT001  # given by hypothesis
    """However they arrive: a line that matches begins an entry, the others belong to the one before."""
    whole = b"".join(line + b"\n" for line in lines) + (b"9 without end" if last else b"")
    fed = _Fed(START)
    rest = whole
    for size, most in cuts:
        fed.write(rest[:size])
        rest = rest[size:]
        fed.take(most)
    fed.write(rest)
    fed.end()
    _check(fed, whole)
    wanted = [part for part in re.split(rb"\n(?=[0-9])", whole.removesuffix(b"\n")) if whole]
    assert fed.entries() == wanted


def test_a_record_is_whole_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line may be followed by another one; after a second it is sealed without."""
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    fed = _Fed(START)
    fed.write(b"1 one\n  more\n2 two\n  half")
    assert len(fed.take()) == 1
    assert _holding(fed)
    assert fed.source.wait_seconds() < QUIET_SECONDS
    fed.write(b" a line\n")
    assert fed.take() == []
    now[0] += QUIET_SECONDS
    fed.take()
    assert fed.entries() == [b"1 one\n  more", b"2 two\n  half a line"]
    assert not _holding(fed)
    fed.end()


def test_a_record_without_end_is_cut() -> None:
    """At the limit, between two lines; nothing is lost, and no memory beyond it taken."""
    fed = _Fed(START, longest=1000)
    whole = b"1 begins\n" + b"  and goes on and on\n" * 500
    fed.write(whole)
    fed.take(most=1000)
    fed.end()
    _check(fed, whole)
    assert max(map(len, fed.entries())) <= 1000
    assert len(fed.entries()) > 5


def test_a_line_beyond_the_limit_is_left_out() -> None:
    """As without records: one position says how many bytes; what is around it is sealed."""
    fed = _Fed(START, longest=1000)
    fed.write(b"1 one\n" + b"x" * 5000 + b"\n2 two\n")
    fed.end()
    assert [piece.src.skipped for piece, _ in fed.taken if piece.src.gap] == [5001]
    assert fed.entries() == [b"1 one", b"2 two"]
    assert fed.taken[-1][0].src.offset == 6 + 5001 + 6


@pytest.mark.parametrize("room", [10, 60, 300])
def test_the_escaped_form_fits_the_room(room: int) -> None:
    """Escaping makes entries longer: as many are taken as have room then."""
    fed = _Fed(START, block=1000)
    whole = b"1 \x01\x02\x03\n" * 40
    fed.write(whole)
    while fed.take(most=1, size=room):
        assert len(fed.taken[-1][1]) <= max(room, len(b"1 \\x01\\x02\\x03\n"))
    fed.end()
    _check(fed, whole)


_DOCKER = ["whole\n", "half ", "of it\n", "back\\slash\\n", ' quote " and \\\n', "n\n\n", "", "\n"]


@pytest.mark.parametrize(
    ("format_", "lines", "groups"),
    [
        (
            "cri",
            [
                b"2026-11-29T10:00:00Z stdout F whole",
                b"2026-11-29T10:00:00Z stdout P half ",
                b"2026-11-29T10:00:00Z stdout P and half ",
                b"2026-11-29T10:00:00Z stdout F end",
                b"2026-11-29T10:00:00Z stderr F P no part",
                b"2026-11-29T10:00:00Z stderr P:x tagged",
                b"2026-11-29T10:00:00Z stderr F",
                b"no such line P at all",
            ],
            [1, 3, 1, 2, 1],
        ),
        (
            "docker",
            [
                json.dumps({"log": text, "stream": "stdout"}, separators=(",", ":")).encode()
                for text in _DOCKER
            ],
            [1, 2, 2, 1, 2],
        ),
    ],
)
def test_parts_of_a_container_are_joined(
    format_: ContainerFormat, lines: list[bytes], groups: list[int]
) -> None:
    """Whatever the text holds, a part is known by its place in the line; the raw lines are kept."""
    fed = _Fed(ContainerLines(format_), block=10_000, longest=10_000)
    whole = b"".join(line + b"\n" for line in lines)
    fed.write(whole)
    fed.end()
    _check(fed, whole)
    assert [entry.count(b"\n") + 1 for entry in fed.entries()] == groups
