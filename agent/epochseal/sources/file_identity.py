"""How a log file is known again, whatever its name is by then (docs/tailing.md).

A file is known by device, inode and a digest of its first bytes and of those before the sealed offset. The
name says little (rotation moves it), the inode alone not enough (it is given to another file later), the
content alone neither (a copy has the same).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from epochseal.encoding import parse_decimal
from epochseal.errors import FormatError

# Never another number (docs/tailing.md states both). The identities that stand in logs were made with these:
# with others no file that was followed before would be known again, and each would be sealed once more, from
# its beginning.
HEAD = 256
TRAIL = 64
_HEX = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """`DEVICE-INODE-N-HEX`: what a file was when a number of its bytes were sealed (docs/tailing.md).

    HEX are the first 32 hex digits of the SHA-256 of the first N bytes and the last sealed bytes: `HEAD` and
    `TRAIL` of them, or all that are sealed.
    """

    device: int
    inode: int
    size: int
    digest: str

    @classmethod
    def of(cls, key: tuple[int, int], head: bytes, trail: bytes) -> Self:
        """The identity of a file with these first and last sealed bytes."""
        return cls(*key, len(head), _digest(head, trail))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it back out of a seal line.

        Raises:
            FormatError: `text` is no identity.
        """
        device, inode, size, digest = [*text.split("-"), "", "", ""][:4]
        found = cls(
            parse_decimal(device, "device"),
            parse_decimal(inode, "inode"),
            parse_decimal(size, "size"),
            digest,
        )
        if str(found) != text or found.size > HEAD:
            raise FormatError(f"not the identity of a file: {text[:80]!r}")
        return found

    def is_file(self, key: tuple[int, int]) -> bool:
        """Whether a file with this device and inode may be it; its content has to be compared.

        After a reboot the same disk may have another device number. So the inode alone decides, unless
        nothing was sealed of the file yet: then there is no content by which it could be told from another.
        """
        return key[1] == self.inode and (self.size > 0 or key[0] == self.device)

    def __str__(self) -> str:
        return f"{self.device}-{self.inode}-{self.size}-{self.digest}"


def ends(read_at: Callable[[int, int], bytes], offset: int) -> tuple[bytes, bytes]:
    """The first bytes of a content, and the last ones before `offset`: what its identity is made of.

    Args:
        read_at: gives so many bytes (its first argument) from a position (its second).
        offset: how many bytes are sealed.
    """
    return read_at(min(HEAD, offset), 0), read_at(min(TRAIL, offset), max(0, offset - TRAIL))


def holds(found: tuple[bytes, bytes], wanted: Identity, offset: int) -> bool:
    """Whether a content with these `ends` is what `wanted` was when `offset` bytes of it were sealed."""
    head, trail = found
    if (len(head), len(trail)) != (min(HEAD, offset), min(TRAIL, offset)):
        return False
    return _digest(head, trail) == wanted.digest


def _digest(head: bytes, trail: bytes) -> str:
    return hashlib.sha256(head + trail).hexdigest()[:_HEX]
