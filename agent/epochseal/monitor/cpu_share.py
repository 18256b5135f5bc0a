"""A process that rests now and then, so that it takes no more than a share of one core."""

from __future__ import annotations

import time

_LONGEST_REST = 60.0


class CpuShare:
    """From now on this process takes `share` of one core, 0 to 1, wherever `rest` is called often enough."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._began, self._used = time.monotonic(), time.process_time()

    def rest(self) -> None:
        """Sleep until what was used since the beginning is no more than the share."""
        used = time.process_time() - self._used
        ahead = used / self._share - (time.monotonic() - self._began)
        if self._share < 1 and ahead > 0:
            time.sleep(min(ahead, _LONGEST_REST))
