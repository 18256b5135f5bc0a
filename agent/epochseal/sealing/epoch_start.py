"""The lines around a new epoch's secret, which waits in the page's work area and is wiped there.

As with blocks (blocks.py), the key of the line after them is left in `page.next_key`, to be published.
"""

from __future__ import annotations

from epochseal.custody.ratchet_page import RatchetPage
from epochseal.format.seal_lines import EndReason
from epochseal.keys import SECRET_SIZE
from epochseal.sealing.chain import Chain, EpochStart


def epoch_line(chain: Chain, page: RatchetPage, start: EpochStart) -> bytes:
    """The `epoch` line of a start, made with the secret in `page.secret`.

    Args:
        chain: moves on by this line.
        page: for a carry, its `key` is the one of the epoch before; its work area is clean again afterwards.
        start: what the line states.
    """
    try:
        if start.link == "carry":
            page.carry[:] = page.key
        return chain.start(start, page.secret_and_carry, page.scratch, page.next_key)
    finally:
        page.secret_and_carry[:] = bytes(2 * SECRET_SIZE)


def turn_lines(chain: Chain, page: RatchetPage, reason: EndReason, start: EpochStart) -> tuple[bytes, bytes]:
    """The `end` line of the running epoch and the `epoch` line of the next: with both, nothing is between.

    Args:
        chain: moves on by two lines.
        page: its `key` is that of the `end` line, its `secret` the next epoch's; its work area is clean again
            afterwards, so that secret and carry are gone before anything is written.
        reason: why the epoch ends.
        start: what the `epoch` line states.
    """
    try:
        end = chain.end(reason, page.key, page.scratch, page.carry)
        return end, chain.start(start, page.secret_and_carry, page.scratch, page.next_key)
    finally:
        page.secret_and_carry[:] = bytes(2 * SECRET_SIZE)
