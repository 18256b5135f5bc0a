"""The descriptors that are kept for sealing.

A log needs a few at any moment: a file that is replaced, a new pair of files, a courier. Whoever opens
descriptors because somebody outside wants it (a client that connects) asks `is_reserved`, and gives back what
lies in the reserve: so clients, however many, never stand in the way of what was already taken from them.
"""

from __future__ import annotations

import resource

RESERVED = 64
"""Descriptors that no client gets, or a quarter of all where there are few."""


def is_reserved(descriptor: int) -> bool:
    """Whether a descriptor that was just opened lies in the reserve.

    The system gives the lowest number that is free. So while all that was opened for clients lies below the
    reserve, at least as many numbers as it has are free for the rest.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft != resource.RLIM_INFINITY and descriptor >= soft - min(RESERVED, soft // 4)
