"""Who may come in where no place is left: a share is kept for every peer, and who is idle makes room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from epochseal.sources.client import Client

QUIET_SECONDS = 1.0
"""A client that has sent nothing for this long, and has nothing under way, makes room for another."""
PATIENCE_SECONDS = 1.0
"""A peer that has the most connections itself waits this long for one of its own to fall quiet."""


def who_makes_room(clients: Iterable[Client], peer: Hashable, now: float, *, waited: bool) -> Client | None:
    """Whose place a new client of `peer` gets; None if it is to wait.

    It is one of the peer that holds the most places, so no peer can take the last place of another: its
    longest quiet client, or, if the newcomer is another peer's or has waited, the one heard of longest ago.
    """
    staying = [client for client in clients if client.leaves_at is None and client.reads]
    places = Counter(client.peer for client in staying)
    if not places:
        return None
    most = max(places.values())
    own = places[peer] == most
    crowd = peer if own else max(places, key=places.__getitem__)
    theirs = [client for client in staying if client.peer == crowd]
    quiet = [client for client in theirs if client.is_quiet and now - client.read_at >= QUIET_SECONDS]
    if not quiet and own and not waited:
        return None
    return min(quiet or theirs, key=lambda client: client.read_at)
