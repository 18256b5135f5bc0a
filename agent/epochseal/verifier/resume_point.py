"""Verifying a log on from an epoch that was verified before, as if all before it had expired.

A monitor reads a log again and again. What stands before a resume point is not read then; the epoch that
begins there is, whole, and the checkpoint that was seen last lies in it or behind it. So what is remembered
of the log (docs/format.md, 13.8) binds that epoch to all that was verified before, and nothing else has to.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from epochseal.errors import EpochsealError
from epochseal.verifier.seal_files import SealFile


class ResumeMisfitError(EpochsealError):
    """The log is not as it was at the resume point: it has to be verified from its beginning."""


class ResumePoint(msgspec.Struct, frozen=True):
    """Where an epoch begins, and what was counted before it.

    Args:
        segment, stem: the segment that the epoch lies in.
        seal_start: where its epoch line begins in the seal file, in bytes.
        log_offset: where its entries begin in the log file, in bytes; None if it had none.
        leaf: of its epoch line, 32 bytes.
        size: of the tree before it.
        entries, entry_bytes, epochs, segments: how many of them lie before it; of segments, whole ones.
    """

    segment: int
    stem: str
    seal_start: int
    log_offset: int | None
    leaf: bytes
    size: int
    entries: int
    entry_bytes: int
    epochs: int
    segments: int

    def cut(self, lines: SealFile) -> SealFile:
        """The seal file of its segment, without the epochs before it.

        Raises:
            ResumeMisfitError: no epoch begins there now.
        """
        epochs = [epoch for epoch in lines.epochs if epoch.start >= self.seal_start]
        if not epochs or epochs[0].start != self.seal_start or epochs[0].header is None:
            raise ResumeMisfitError(f"no epoch begins at byte {self.seal_start} of {self.stem}.seal any more")
        return replace(lines, epochs=epochs)

    def compare(self, leaf: bytes, size: int, seen: int) -> None:
        """Hold the first epoch line that was read against it, and the tree before that.

        `seen` is the size of the largest checkpoint that is remembered.

        Raises:
            ResumeMisfitError: another epoch stands there, or what is remembered does not reach into it.
        """
        if (leaf, size) != (self.leaf, self.size):
            raise ResumeMisfitError(f"another epoch begins at byte {self.seal_start} of {self.stem}.seal")
        if seen <= self.size:
            raise ResumeMisfitError(f"no checkpoint of more than {self.size} lines is remembered")
