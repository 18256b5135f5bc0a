from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from epochseal.custody.memory import SecretPage
from epochseal.custody.ratchet_page import PAGE_SIZE, RatchetPage
from epochseal.encoding import b64encode
from epochseal.format.merkle import Frontier
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Abandoned, SourceMark
from epochseal.keys import MAX_WRAPPED, Issued
from epochseal.sealing.blocks import LINE_ROOM, longest_line
from epochseal.sealing.chain import Chain, EpochStart, Pace
from epochseal.sealing.epoch_start import turn_lines
from epochseal.sealing.saved_state import PendingBlock, SavedState, Staged

LARGE = 2**62
CALLS = tuple(Abandoned(LARGE - number, b64encode(bytes([number]) * 32), LARGE) for number in range(17))


@pytest.fixture
def page() -> Iterator[RatchetPage]:
    """A page of this process."""
    made = RatchetPage(SecretPage(PAGE_SIZE, private=True))
    yield made
    made.close()


def _chain() -> Chain:
    """A log with as many lines as there can be, less one, so that its frontier is the longest."""
    size = 2**62 - 1
    return Chain(
        origin="o" * 255,
        log=b"l" * 32,
        epoch=LARGE,
        epoch_index=LARGE,
        run=LARGE,
        segment=10**17,
        last_tag=b"t" * 32,
        tree=Frontier(size, [b"h" * 32] * size.bit_count()),
        entries=LARGE,
        segment_bytes=LARGE,
        epoch_entries=LARGE,
        epoch_bytes=LARGE,
        epoch_time=LARGE,
        interval=LARGE,
        max_overdue=LARGE,
    )


def test_the_largest_turn_fits_in_the_page(page: RatchetPage) -> None:
    """Both lines of a turn at once: the longest wrapped secret, the most calls, the deepest tree."""
    chain = _chain()
    start = EpochStart(
        "carry",
        Issued("k" * 255, b"w" * MAX_WRAPPED),
        chain.next_context(),
        chain.asked(),
        CALLS,
        10**17,
        Pace(LARGE, LARGE, LARGE, LARGE),
        LARGE,
    )
    end, epoch = turn_lines(chain, page, "interval", start)
    stem = f"{10**17}-99991231T235959Z"
    due = Checkpoint(chain.origin, LARGE, b"r" * 32)
    record = SavedState.encode(
        chain,
        [Staged(stem, LARGE, end), Staged(stem, 0, epoch)],
        (),
        stem=stem,
        epoch_place=(stem, 0),
        due=due,
        calls=CALLS,
        closed=False,
    )
    page.publish(record)
    saved = SavedState.decode(record)
    assert saved is not None
    assert saved.due() == due
    assert saved.chain(chain.tree) == chain
    assert not any(page.secret_and_carry)


@pytest.mark.parametrize("name", ["n" * 300, "n", "n" * 4000])
def test_the_largest_commit_fits_in_the_page(page: RatchetPage, name: str) -> None:
    """As many blocks as the loop takes, and no fewer than sixteen of sources with long names."""
    room = max(LINE_ROOM // longest_line(name, name), 1 if len(name) > 300 else 16)
    blocks = [PendingBlock(LARGE, b"d" * 32, LARGE, SourceMark(name, LARGE, name)) for _ in range(room)]
    page.publish(
        SavedState.encode(
            _chain(), (), blocks, stem="s", epoch_place=("s", 0), due=None, calls=CALLS, closed=False
        )
    )


def test_a_record_of_another_form_is_none() -> None:
    """One of another version, or of a program before this one, is no page; it is not a wrong one."""
    record = SavedState.encode(
        _chain(), (), (), stem="s", epoch_place=("s", 0), due=None, calls=(), closed=True
    )
    saved = SavedState.decode(record)
    assert saved is not None
    assert saved.due() is None
    other = msgspec.structs.replace(saved, version=2)
    assert SavedState.decode(msgspec.msgpack.encode(other)) is None
    assert SavedState.decode(record[:-1]) is None
    assert SavedState.decode(msgspec.msgpack.encode(["example.com/log", b"", 1])) is None
