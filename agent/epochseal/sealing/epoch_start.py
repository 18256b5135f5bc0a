"""The line that begins an epoch: its secret goes from the mailbox through the page, and is wiped there.

As with blocks (blocks.py), the key of the line after it is left in `page.next_key`; the caller publishes it.
"""

from __future__ import annotations

from epochseal.custody.memory import SecretPage
from epochseal.custody.ratchet_page import RatchetPage
from epochseal.keys import SECRET_SIZE
from epochseal.sealing.chain import Chain, EpochStart


def epoch_line(chain: Chain, page: RatchetPage, mailbox: SecretPage, start: EpochStart) -> bytes:
    """The `epoch` line, made with the secret in `mailbox`, which is wiped.

    Args:
        chain: moves on by this line.
        page: its `key` is the carry of the epoch before; its work area is clean again afterwards.
        mailbox: holds the secret that a backend issued, in its first 32 bytes.
        start: what the line states.
    """
    try:
        page.secret[:] = mailbox.view[:SECRET_SIZE]
        mailbox.wipe()
        if start.link == "carry":
            page.carry[:] = page.key
        return chain.start(start, page.secret_and_carry, page.scratch, page.next_key)
    finally:
        page.secret_and_carry[:] = bytes(2 * SECRET_SIZE)
